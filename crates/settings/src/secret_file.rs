//! Files that hold a secret. They may be pipes that nobody writes to, or lie on a network folder that does not answer:
//! reading them must hold nobody up.

use std::collections::HashSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// How long reading may take.
const TIME_LIMIT: Duration = Duration::from_secs(2);
/// No secret is longer.
const SIZE_LIMIT: u64 = 64 << 10;

/// Those that are being read: each that does not answer holds one thread, however often it is asked for.
static IN_PROGRESS: LazyLock<Mutex<HashSet<PathBuf>>> = LazyLock::new(Mutex::default);

/// Before it is looked again whether another reading of the same file has ended.
const PAUSE: Duration = Duration::from_millis(5);

/// What stands in the file, without its last line break.
///
/// # Errors
/// It can't be read, is too long, is no text, or does not answer within two seconds.
pub fn read_secret_file(path: &Path) -> io::Result<String> {
    read_within(path, TIME_LIMIT)
}

fn read_within(path: &Path, limit: Duration) -> io::Result<String> {
    let path = path.to_owned();
    let until = Instant::now() + limit;
    // Several may ask at once; the file is read by one after the other.
    while !in_progress(|paths| paths.insert(path.clone())) {
        if Instant::now() >= until {
            return Err(unanswered());
        }
        thread::sleep(PAUSE);
    }
    let (result, read) = mpsc::sync_channel(1);
    let asked = path.clone();
    let reading = move || {
        let text = read_text(&asked);
        in_progress(|paths| paths.remove(&asked));
        // Who asked may not wait any more.
        let _ = result.send(text);
    };
    if let Err(error) = thread::Builder::new().name("secret file".to_owned()).spawn(reading) {
        in_progress(|paths| paths.remove(&path));
        return Err(error);
    }
    read.recv_timeout(limit).unwrap_or_else(|_| Err(unanswered()))
}

fn in_progress(change: impl FnOnce(&mut HashSet<PathBuf>) -> bool) -> bool {
    change(&mut IN_PROGRESS.lock().unwrap_or_else(PoisonError::into_inner))
}

fn unanswered() -> io::Error {
    let reason = "it does not answer: it is a pipe that nobody writes to, or on a network folder that is away";
    io::Error::new(io::ErrorKind::TimedOut, reason)
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(SIZE_LIMIT + 1).read_to_string(&mut text)?;
    if text.len() as u64 > SIZE_LIMIT {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {SIZE_LIMIT} bytes")));
    }
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_what_stands_before_the_last_line_break() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "s3cret\r\n").unwrap();
        assert_eq!(read_secret_file(&path).unwrap(), "s3cret");
        std::fs::write(&path, vec![b'x'; 100_000]).unwrap();
        assert_eq!(read_secret_file(&path).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_pipe_that_nobody_writes_to_holds_nobody_up_and_takes_one_thread() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        for _ in 0..3 {
            let error = read_within(&path, Duration::from_millis(20)).unwrap_err();
            assert!(error.to_string().contains("pipe"), "{error}");
        }
        // The reader is let go of.
        std::fs::write(&path, "late").unwrap();
    }
}
