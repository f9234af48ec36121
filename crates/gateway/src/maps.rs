//! Keyword maps of interfaces: from a file, from inside the program, or none.

use hearthgate_domain::mapping::KeywordMaps;
use hearthgate_domain::topic::TopicFilter;
use hearthgate_interfaces::InterfaceConfig;
use hearthgate_settings::{BUILTIN_DUMMY, DUMMY_MAP};
use std::path::Path;

/// The maps of an interface.
///
/// # Errors
/// A sentence that names the file and, where there is one, the line.
pub fn of(config: &InterfaceConfig) -> Result<KeywordMaps, String> {
    match &config.map {
        Some(name) if name.as_os_str() == BUILTIN_DUMMY => {
            KeywordMaps::from_json(DUMMY_MAP).map_err(|error| format!("{BUILTIN_DUMMY}: {error}"))
        }
        Some(file) => read(file),
        None => {
            let topics: Result<Vec<TopicFilter>, _> =
                config.topics.iter().map(|topic| TopicFilter::parse(topic)).collect();
            let topics = topics.map_err(|error| format!("topics: {error}"))?;
            KeywordMaps::none(config.root.as_deref().unwrap_or_default(), topics)
                .map_err(|error| format!("root: {error}"))
        }
    }
}

/// Reads a map file.
///
/// # Errors
/// A sentence that names the file and, where there is one, the line.
pub fn read(file: &Path) -> Result<KeywordMaps, String> {
    parse(file, &text(file)?)
}

/// The text of a map file.
///
/// # Errors
/// A sentence that names the file.
pub fn text(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|error| format!("can't read the map file {}: {error}", file.display()))
}

/// The maps in the text of a file.
///
/// # Errors
/// A sentence that names the file and, where there is one, the line.
pub fn parse(file: &Path, text: &str) -> Result<KeywordMaps, String> {
    KeywordMaps::from_json(text).map_err(|error| format!("{}: {error}", file.display()))
}
