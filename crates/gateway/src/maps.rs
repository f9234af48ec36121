//! Keyword maps of interfaces: from a file, from inside the program, or none.

use hearthgate_domain::mapping::{KeywordMaps, MapError};
use hearthgate_domain::topic::{FilterError, TopicFilter};
use hearthgate_interfaces::InterfaceConfig;
use hearthgate_settings::{BUILTIN_DUMMY, DUMMY_MAP, TextFileError, read_text_file};
use std::path::{Path, PathBuf};

/// Why an interface has no usable map.
#[derive(Debug, thiserror::Error)]
pub enum MapLoadError {
    /// The file is not there, or is no text.
    #[error("can't read the map file {}: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: TextFileError,
    },
    /// What the file says is wrong.
    #[error("{}: {problem}", file.display())]
    Refused {
        /// The file, or [`BUILTIN_DUMMY`].
        file: PathBuf,
        /// What is wrong, and in which line.
        problem: MapError,
    },
    /// A topic of an interface without a map is no filter.
    #[error("topics: {0}")]
    Topics(FilterError),
    /// The root of an interface without a map can be none.
    #[error("root: {0}")]
    Root(MapError),
}

/// The maps of an interface.
///
/// # Errors
/// [`MapLoadError`].
pub fn of(config: &InterfaceConfig) -> Result<KeywordMaps, MapLoadError> {
    match &config.map {
        Some(name) if name.as_os_str() == BUILTIN_DUMMY => parse(name, DUMMY_MAP),
        Some(file) => read(file),
        None => {
            let topics: Result<Vec<TopicFilter>, _> =
                config.topics.iter().map(|topic| TopicFilter::parse(topic)).collect();
            let topics = topics.map_err(MapLoadError::Topics)?;
            KeywordMaps::none(config.root.as_deref().unwrap_or_default(), topics).map_err(MapLoadError::Root)
        }
    }
}

/// Reads a map file.
///
/// # Errors
/// [`MapLoadError::Unreadable`], [`MapLoadError::Refused`].
pub fn read(file: &Path) -> Result<KeywordMaps, MapLoadError> {
    parse(file, &text(file)?)
}

/// The text of a map file.
///
/// # Errors
/// [`MapLoadError::Unreadable`].
pub fn text(file: &Path) -> Result<String, MapLoadError> {
    read_text_file(file).map_err(|source| MapLoadError::Unreadable { file: file.to_owned(), source })
}

/// The maps in the text of a file.
///
/// # Errors
/// [`MapLoadError::Refused`].
pub fn parse(file: &Path, text: &str) -> Result<KeywordMaps, MapLoadError> {
    KeywordMaps::from_json(text).map_err(|problem| MapLoadError::Refused { file: file.to_owned(), problem })
}
