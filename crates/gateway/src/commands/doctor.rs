//! `doctor`: what a bug report needs, in one text, with every secret hidden.

use super::{check, config, control};
use crate::cli::ConfigCommand;
use crate::exit::ExitStatus;
use anyhow::Context;
use chrono::{SecondsFormat, Utc};
use hearthgate_settings::LoadedSettings;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes the report to `file`, or to `out`. A configuration that can't be read is a part of the report.
///
/// # Errors
/// Writing fails.
pub fn run(
    load: &dyn Fn() -> anyhow::Result<LoadedSettings>,
    file: Option<&Path>,
    out: &mut dyn Write,
) -> anyhow::Result<ExitStatus> {
    let mut text = Vec::new();
    report(load, &mut text)?;
    match file.filter(|file| *file != Path::new("-")) {
        Some(file) => {
            let writing = || format!("writing {}", file.display());
            let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
            opened.and_then(|mut opened| opened.write_all(&text)).with_context(writing)?;
            writeln!(out, "written: {}; read it before you send it", file.display())?;
        }
        None => out.write_all(&text)?,
    }
    Ok(ExitStatus::Ok)
}

fn report(load: &dyn Fn() -> anyhow::Result<LoadedSettings>, out: &mut Vec<u8>) -> anyhow::Result<()> {
    head("program", out)?;
    writeln!(out, "hearthgate {}, {}", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH)?;
    writeln!(out, "at {}", Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true))?;
    head("machine", out)?;
    lines_of("/proc/version", &[""], out)?;
    lines_of("/etc/os-release", &["PRETTY_NAME="], out)?;
    lines_of("/proc/meminfo", &["MemTotal:", "MemAvailable:"], out)?;
    lines_of("/proc/loadavg", &[""], out)?;
    let loaded = match load() {
        Ok(loaded) => loaded,
        Err(error) => {
            head("configuration", out)?;
            writeln!(out, "can't be read: {error:#}")?;
            return Ok(());
        }
    };
    head("configuration (what differs from the defaults)", out)?;
    part(|out| config::run(&ConfigCommand::Show { changed: true, json: false }, load, out), out)?;
    head("check", out)?;
    part(|out| check::run(&loaded, false, false, out), out)?;
    head("status", out)?;
    part(|out| control::status(&loaded.settings, false, out), out)?;
    head("state folder", out)?;
    sizes(&loaded.settings.gateway.state_dir, 0, out)?;
    Ok(())
}

fn head(what: &str, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\n=== {what}")
}

/// One part of the report; what it can't tell is told in its place.
fn part(write: impl FnOnce(&mut dyn Write) -> anyhow::Result<ExitStatus>, out: &mut Vec<u8>) -> anyhow::Result<()> {
    if let Err(error) = write(out) {
        writeln!(out, "{error:#}")?;
    }
    Ok(())
}

fn lines_of(file: &str, beginnings: &[&str], out: &mut dyn Write) -> io::Result<()> {
    // Absent on systems that have none.
    let text = fs::read_to_string(file).unwrap_or_default();
    for line in text.lines().filter(|line| beginnings.iter().any(|beginning| line.starts_with(beginning))) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Names and sizes, two levels deep.
fn sizes(folder: &Path, depth: usize, out: &mut dyn Write) -> io::Result<()> {
    let items = match fs::read_dir(folder) {
        Ok(items) => items,
        Err(error) => return writeln!(out, "{}: {error}", folder.display()),
    };
    let mut items: Vec<_> = items.flatten().map(|item| item.path()).collect();
    items.sort();
    for path in items {
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        writeln!(out, "{:indent$}{name}  {}", "", metadata.len(), indent = depth * 2)?;
        if metadata.is_dir() && depth < 1 {
            sizes(&path, depth + 1, out)?;
        }
    }
    Ok(())
}
