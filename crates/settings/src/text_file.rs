//! Text files that people write: the configuration, maps, secrets.

use crate::types::ByteSize;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use thiserror::Error;

/// No configuration and no map is longer.
const SIZE_LIMIT: ByteSize = ByteSize(16 << 20);

/// Why a file is not read as a text.
#[derive(Debug, Error)]
pub enum TextFileError {
    /// It is a folder, a pipe or a device, which may never end.
    #[error("it is no regular file")]
    Irregular,
    /// It has more bytes than such a file may have.
    #[error("it has more than {0}")]
    TooLong(ByteSize),
    /// It is no UTF-8.
    #[error("it is no UTF-8 text")]
    NotText,
    /// The system's reason.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The text of a regular file of at most 16 MiB, without its byte order mark.
///
/// # Errors
/// [`TextFileError`].
pub fn read_text_file(path: &Path) -> Result<String, TextFileError> {
    read_bounded_file(path, SIZE_LIMIT)
}

/// The same for another bound.
///
/// # Errors
/// [`TextFileError`].
pub(crate) fn read_bounded_file(path: &Path, limit: ByteSize) -> Result<String, TextFileError> {
    // Before it is opened, which can wait for ever at a pipe and has effects at a device.
    if !fs::metadata(path)?.is_file() {
        return Err(TextFileError::Irregular);
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(limit.0 + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit.0 {
        return Err(TextFileError::TooLong(limit));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| TextFileError::NotText)?;
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_of_a_bounded_length_is_read_and_its_mark_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let read = |path: &Path| read_bounded_file(path, ByteSize(9)).map_err(|error| error.to_string());
        fs::write(&path, "\u{feff}a = 1\n").unwrap();
        assert_eq!(read(&path).unwrap(), "a = 1\n");
        fs::write(&path, "0123456789").unwrap();
        assert_eq!(read(&path).unwrap_err(), "it has more than 9B");
        fs::write(&path, b"\xff\xfe").unwrap();
        assert_eq!(read(&path).unwrap_err(), "it is no UTF-8 text");
        for never_ending in [folder.path(), Path::new("/dev/zero")] {
            assert_eq!(read(never_ending).unwrap_err(), "it is no regular file");
        }
    }
}
