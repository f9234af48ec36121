//! A board at the other end of a serial line, on a pseudo-terminal.

use crate::PATIENCE;
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

/// The line is unplugged when this value is dropped.
pub struct Board(OwnedFd);

impl Board {
    /// Plugs the line in: `port` leads to it from now on.
    #[must_use]
    pub fn plug_in(port: &Path) -> Board {
        // Not inherited: a gateway that held its own line could never see it unplugged.
        let board = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a pseudo-terminal");
        grantpt(&board).expect("its rights");
        unlockpt(&board).expect("its other end");
        let name = ptsname(&board, Vec::new()).expect("its name");
        let fresh = port.with_extension("new");
        symlink(OsStr::from_bytes(name.to_bytes()), &fresh).expect("a link to it");
        std::fs::rename(&fresh, port).expect("the link in its place");
        fcntl_setfl(&board, OFlags::NONBLOCK).expect("a line that does not block");
        Board(board)
    }

    /// Writes to the line.
    ///
    /// # Panics
    /// When nobody reads.
    pub async fn says(&self, frames: &[u8]) {
        let mut left = frames;
        let since = Instant::now();
        while !left.is_empty() {
            match rustix::io::write(&self.0, left) {
                Ok(written) => left = &left[written..],
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
            assert!(since.elapsed() < PATIENCE, "nobody reads the line");
        }
    }

    /// Reads from the line.
    ///
    /// # Panics
    /// When nobody writes so much.
    pub async fn hears(&self, length: usize) -> Vec<u8> {
        let mut heard = Vec::new();
        let since = Instant::now();
        while heard.len() < length {
            let mut bytes = vec![0; length - heard.len()];
            match rustix::io::read(&self.0, &mut bytes[..]) {
                Ok(read) => heard.extend_from_slice(&bytes[..read]),
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
            assert!(since.elapsed() < PATIENCE, "nobody writes to the line; so far {heard:?}");
        }
        heard
    }
}
