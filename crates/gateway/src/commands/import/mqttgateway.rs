//! The Python library "mqttgateway": each of its configuration files becomes an interface.

use super::library_file::LibraryFile;
use super::library_map::{find_class, read_map, resolved};
use super::writing::{quoted, tell_next};
use crate::commands::new_files::{refuse_configured, write_configuration, write_new};
use crate::exit::{CommandFailure, ExitStatus};
use anyhow::Context;
use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Options that the rest of the program or the interface's section takes up.
const TAKEN: [(&str, &[&str]); 2] = [
    ("MQTT", &["host", "port", "keepalive", "mapping", "mapfilename", "root", "topics"]),
    ("LOG", &["logfilename", "filelevel", "consolelevel", "filenum", "filesize"]),
];

/// Writes the configuration and copies the maps.
///
/// # Errors
/// A file can't be read or used; the files name several brokers or bear one name; the target is there.
pub(super) fn run(paths: &[PathBuf], folder: &Path, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    refuse_configured(folder)?;
    let files = paths.iter().map(|path| LibraryFile::read(path)).collect::<Result<Vec<_>, _>>()?;
    refuse_equal_names(&files)?;
    let mut text = heading(&files)?;
    let mut maps = Vec::new();
    for file in &files {
        let map = read_map(file)?;
        text += &interface(file, map.is_some())?;
        maps.extend(map.map(|map| (folder.join(map_path(file)), map)));
    }
    for (path, map) in &maps {
        write_new(path, map, 0o644)?;
    }
    let written = write_configuration(folder, &text)?;
    tell_next(&written, out)?;
    Ok(ExitStatus::Ok)
}

fn refuse_equal_names(files: &[LibraryFile]) -> Result<(), CommandFailure> {
    for (index, file) in files.iter().enumerate() {
        if let Some(other) = files[..index].iter().find(|other| other.name() == file.name()) {
            let (first, second) = (other.path.display(), file.path.display());
            let problem = format!("{first} and {second} would both be the interface {}; rename one", file.name());
            return Err(CommandFailure::Usage(problem));
        }
    }
    Ok(())
}

/// What stands once for all interfaces: broker and log.
fn heading(files: &[LibraryFile]) -> anyhow::Result<String> {
    let names: Vec<String> = files.iter().map(|file| file.path.display().to_string()).collect();
    let mut text = format!("# From {} by `hearthgate import mqttgateway`.\n", names.join(", "));
    let servers = files.iter().map(server).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = servers.first() else { return Ok(text) };
    if let Some(at) = servers.iter().position(|server| server != first) {
        let (one, other) = (&names[0], &names[at]);
        let problem = format!(
            "{one} is at the broker {first}, {other} at {}; import each into a --folder of its own",
            servers[at]
        );
        return Err(CommandFailure::Usage(problem).into());
    }
    // Writing to a String does not fail.
    let _ = writeln!(text, "\n[mqtt]\nserver = {}", quoted(first));
    let silences = files.iter().map(|file| number(file, "MQTT", "keepalive")).collect::<Result<Vec<_>, _>>()?;
    text += &match silences.into_iter().flatten().min() {
        Some(seconds @ 1..=64_800) => format!("keep_alive = \"{seconds}s\"\n"),
        Some(seconds) => format!("# keepalive: {seconds} is not between 1 s and 18 h\n"),
        None => String::new(),
    };
    text += &log(files)?;
    Ok(text)
}

fn server(file: &LibraryFile) -> Result<String, CommandFailure> {
    let host = file.get("MQTT", "host").unwrap_or("127.0.0.1");
    let port = number(file, "MQTT", "port")?.unwrap_or(1883);
    Ok(if host.contains(':') { format!("mqtt://[{host}]:{port}") } else { format!("mqtt://{host}:{port}") })
}

fn number(file: &LibraryFile, section: &str, option: &str) -> Result<Option<u64>, CommandFailure> {
    let Some(text) = file.get(section, option) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        CommandFailure::Config(format!("{}: [{section}] {option}: {text:?} is no whole number", file.path.display()))
    })
}

fn log(files: &[LibraryFile]) -> anyhow::Result<String> {
    let mut text = "\n[log]\n".to_owned();
    let levels = files.iter().flat_map(|file| {
        let of_file = file.get("LOG", "logfilename").and_then(|_| file.get("LOG", "filelevel"));
        [file.get("LOG", "consolelevel"), of_file]
    });
    if let Some(level) = levels.flatten().filter_map(level).max() {
        let _ = writeln!(text, "level = {}", quoted(level.1));
    }
    let mut with_file = files.iter().filter(|file| file.get("LOG", "logfilename").is_some());
    if let Some(file) = with_file.next() {
        let name = file.get("LOG", "logfilename").unwrap_or_default();
        // Its own file: the library may still write to the other one.
        let _ = writeln!(text, "# The library's: {}", resolved(file, name, "log").display());
        text += "file = \"log/hearthgate.log\"\n";
        if let Some(size) = number(file, "LOG", "filesize")?.filter(|size| *size > 0) {
            let _ = writeln!(text, "max_size = \"{size}KiB\"");
        }
        if let Some(count) = number(file, "LOG", "filenum")? {
            let _ = writeln!(text, "keep = {count}");
        }
    }
    for file in with_file {
        let _ = writeln!(text, "# The log of {} goes into the same file.", file.path.display());
    }
    Ok(text)
}

/// How talkative the level is, and what we call it.
fn level(name: &str) -> Option<(u8, &'static str)> {
    match name.to_uppercase().as_str() {
        "CRITICAL" | "ERROR" => Some((1, "error")),
        "WARN" | "WARNING" => Some((2, "warn")),
        "INFO" => Some((3, "info")),
        "DEBUG" => Some((4, "debug")),
        _ => None,
    }
}

fn map_path(file: &LibraryFile) -> PathBuf {
    Path::new("maps").join(format!("{}.json", file.name()))
}

fn interface(file: &LibraryFile, has_map: bool) -> anyhow::Result<String> {
    let mut text = format!("\n# {}\n[interfaces.{}]\n", file.path.display(), file.name());
    let class = find_class(file);
    if class.is_none() {
        text += "# Its class was not found beside the file: name it in `command`, and remove the next line.\nenabled = false\n";
    }
    let target = class.as_deref().unwrap_or("MODULE:CLASS");
    let directory = std::path::absolute(file.folder()).context("finding the working directory")?;
    let _ = writeln!(text, "kind = \"exec\"\ncommand = [\"python3\", \"-m\", \"hearthgate_exec\", {}]", quoted(target));
    let _ = writeln!(text, "directory = {}", quoted(&directory.to_string_lossy()));
    if has_map {
        let _ = writeln!(text, "map = {}", quoted(&map_path(file).to_string_lossy()));
    } else {
        let topics = file.get("MQTT", "topics").unwrap_or_default().split(',').map(str::trim);
        let topics: Vec<String> = topics.filter(|topic| !topic.is_empty()).map(quoted).collect();
        let root = file.get("MQTT", "root").unwrap_or_default();
        let _ = writeln!(text, "root = {}\ntopics = [{}]", quoted(root), topics.join(", "));
    }
    text += "# The library carries out retained commands too; that is `accept_retained = true`.\n\
             # The library publishes with QoS 0.\nqos = 0\n";
    text += &leftovers(file);
    let _ = writeln!(text, "\n[interfaces.{}.params]", file.name());
    for (option, value) in file.section("INTERFACE") {
        let _ = writeln!(text, "{} = {}", quoted(option), quoted(value));
    }
    Ok(text)
}

/// A comment for each option that has no counterpart, so that nothing is lost unseen.
fn leftovers(file: &LibraryFile) -> String {
    let mut text = String::new();
    for (section, taken) in TAKEN {
        let left = file.section(section).filter(|(option, value)| !taken.contains(option) && !value.is_empty());
        for (option, value) in left {
            let why = match option {
                "clientid" => "not taken over while the library runs: two clients with one id disconnect each other",
                "emailhost" | "emailport" | "emailaddress" => {
                    "no counterpart: watch the gateway by its metrics or status topics"
                }
                _ => "no counterpart",
            };
            // A value may have several lines.
            let _ = writeln!(text, "# [{section}] {option}: {} ({why})", value.replace('\n', " "));
        }
    }
    text
}
