//! The map and the class that belong to a configuration file of the Python library.

use super::library_file::{LibraryFile, read_text};
use crate::exit::CommandFailure;
use hearthgate_domain::mapping::KeywordMaps;
use std::path::{Path, PathBuf};

/// The text of the map file, if mapping is switched on.
///
/// # Errors
/// [`CommandFailure::Config`]: the map can't be read, or has a fault, told with its line.
pub(super) fn read_map(file: &LibraryFile) -> Result<Option<String>, CommandFailure> {
    let is_on = file.get("MQTT", "mapping").is_some_and(is_true);
    let Some(name) = file.get("MQTT", "mapfilename").filter(|_| is_on) else { return Ok(None) };
    let path = resolved(file, name, "map");
    let text = read_text(&path)?;
    match KeywordMaps::from_json(&text) {
        Ok(_) => Ok(Some(text)),
        Err(error) => Err(CommandFailure::Config(format!("{}: {error}", path.display()))),
    }
}

/// A path by the library's rules: `.` and what ends in `/` stand for the default name in that folder.
pub(super) fn resolved(file: &LibraryFile, given: &str, extension: &str) -> PathBuf {
    let given = match given {
        "." => "./",
        ".." => "../",
        given => given,
    };
    let path = file.folder().join(given);
    if given.ends_with('/') { path.join(format!("{}.{extension}", file.name())) } else { path }
}

/// `MODULE:CLASS` of the interface beside the configuration file, as the library's own samples name them.
pub(super) fn find_class(file: &LibraryFile) -> Option<String> {
    let name = file.name();
    let module = format!("{}_interface", name.strip_suffix("2mqtt").unwrap_or(&name));
    let source = read_text(&file.folder().join(Path::new(&module).with_extension("py"))).ok()?;
    let class = source.lines().find_map(|line| line.strip_prefix("class "))?;
    let end = class.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    Some(format!("{module}:{}", &class[..end]))
}

fn is_true(text: &str) -> bool {
    ["1", "yes", "true", "on"].contains(&text.to_lowercase().as_str())
}
