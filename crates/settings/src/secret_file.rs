//! Files that hold a secret. They may lie on a network folder that does not answer: reading them must hold nobody up.

use crate::text_file::{TextFileError, read_bounded_file};
use crate::types::ByteSize;
use std::collections::HashSet;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use thiserror::Error;

/// How long reading may take.
const TIME_LIMIT: Duration = Duration::from_secs(2);
/// No secret is longer.
const SIZE_LIMIT: ByteSize = ByteSize(64 << 10);

/// Those that are being read: each that does not answer holds one thread, however often it is asked for.
static IN_PROGRESS: LazyLock<Mutex<HashSet<PathBuf>>> = LazyLock::new(Mutex::default);

/// Before it is looked again whether another reading of the same file has ended.
const PAUSE: Duration = Duration::from_millis(5);

/// Why a secret is not read from its file.
#[derive(Debug, Error)]
pub enum SecretFileError {
    /// It is not below the folder that it must be in.
    #[error("it is not below {}", .0.display())]
    Outside(PathBuf),
    /// Nothing came within two seconds.
    #[error("it does not answer: it is on a network folder that is away")]
    Unanswered,
    /// It is no text of at most 64 KiB, or is not there.
    #[error(transparent)]
    Text(#[from] TextFileError),
}

impl From<io::Error> for SecretFileError {
    fn from(error: io::Error) -> Self {
        TextFileError::from(error).into()
    }
}

/// What stands in the file, without its last line break.
///
/// # Errors
/// [`SecretFileError`], never [`SecretFileError::Outside`].
pub fn read_secret_file(path: &Path) -> Result<String, SecretFileError> {
    read_within(TIME_LIMIT, path, None)
}

/// The same for a file that must lie below `folder`, wherever links and `..` lead; a relative path starts there.
///
/// # Errors
/// [`SecretFileError`].
pub fn read_secret_below(folder: &Path, path: &Path) -> Result<String, SecretFileError> {
    let path = path.strip_prefix(folder).unwrap_or(path);
    // Before the disk is asked, so that nobody learns which other files there are.
    if !path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(SecretFileError::Outside(folder.to_owned()));
    }
    read_within(TIME_LIMIT, &folder.join(path), Some(folder))
}

fn read_within(limit: Duration, path: &Path, folder: Option<&Path>) -> Result<String, SecretFileError> {
    let (path, folder) = (path.to_owned(), folder.map(Path::to_owned));
    let until = Instant::now() + limit;
    // Several may ask at once; the file is read by one after the other.
    while !in_progress(|paths| paths.insert(path.clone())) {
        if Instant::now() >= until {
            return Err(SecretFileError::Unanswered);
        }
        thread::sleep(PAUSE);
    }
    let (result, read) = mpsc::sync_channel(1);
    let asked = path.clone();
    let reading = move || {
        let text = read_text(&asked, folder.as_deref());
        in_progress(|paths| paths.remove(&asked));
        // Who asked may not wait any more.
        let _ = result.send(text);
    };
    if let Err(error) = thread::Builder::new().name("secret file".to_owned()).spawn(reading) {
        in_progress(|paths| paths.remove(&path));
        return Err(error.into());
    }
    read.recv_timeout(limit).unwrap_or(Err(SecretFileError::Unanswered))
}

fn in_progress(change: impl FnOnce(&mut HashSet<PathBuf>) -> bool) -> bool {
    change(&mut IN_PROGRESS.lock().unwrap_or_else(PoisonError::into_inner))
}

fn read_text(path: &Path, folder: Option<&Path>) -> Result<String, SecretFileError> {
    let mut text = match folder {
        Some(folder) => read_bounded_file(&target_below(folder, path)?, SIZE_LIMIT)?,
        None => read_bounded_file(path, SIZE_LIMIT)?,
    };
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text)
}

/// Where all links of the path lead, if that is below the folder.
fn target_below(folder: &Path, path: &Path) -> Result<PathBuf, SecretFileError> {
    let target = path.canonicalize()?;
    if target.starts_with(folder.canonicalize()?) {
        Ok(target)
    } else {
        Err(SecretFileError::Outside(folder.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_secret_is_what_stands_before_the_last_line_break() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, "s3cret\r\n").unwrap();
        assert_eq!(read_secret_file(&path).unwrap(), "s3cret");
        fs::write(&path, vec![b'x'; 100_000]).unwrap();
        assert_eq!(read_secret_file(&path).unwrap_err().to_string(), "it has more than 64KiB");
    }

    #[test]
    fn a_pipe_that_nobody_writes_to_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert_eq!(read_secret_file(&path).unwrap_err().to_string(), "it is no regular file");
    }

    #[test]
    fn neither_dots_nor_links_lead_out_of_the_folder() {
        let around = tempfile::tempdir().unwrap();
        let folder = around.path().join("flows");
        fs::create_dir_all(folder.join("deeper")).unwrap();
        fs::write(around.path().join("other"), "not for flows").unwrap();
        fs::write(folder.join("mine"), "mine\n").unwrap();
        symlink(folder.join("mine"), folder.join("deeper/inside")).unwrap();
        symlink("../other", folder.join("file")).unwrap();
        symlink("..", folder.join("up")).unwrap();
        let read = |path: &str| read_secret_below(&folder, Path::new(path));
        let absolute = folder.join("mine").display().to_string();
        for path in ["mine", "./mine", "deeper/inside", &absolute] {
            assert_eq!(read(path).unwrap(), "mine", "{path}");
        }
        let beside = format!("{}/../other", folder.display());
        for path in ["../other", "deeper/../../other", "/etc/hostname", "/none/such", &beside, "file", "up/other"] {
            let error = read(path).unwrap_err();
            assert!(matches!(&error, SecretFileError::Outside(of) if of == &folder), "{path}: {error}");
        }
        assert!(matches!(read("absent"), Err(SecretFileError::Text(TextFileError::Io(_)))));
        assert!(matches!(read("deeper"), Err(SecretFileError::Text(TextFileError::Irregular))));
    }
}
