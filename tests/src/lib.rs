//! What the end-to-end tests share: the gateway as a child process, private services, clients, and waiting for conditions.
//!
//! Nothing here stands in for something real: brokers, databases, endpoints and devices are the real ones.

#![expect(
    clippy::disallowed_methods,
    reason = "no actor is here that a task could belong to; one that ends early shows in what is waited for"
)]

pub mod board;
pub mod broker;
pub mod browser;
pub mod client;
pub mod database;
pub mod endpoint;
pub mod gateway;
pub mod http;
pub mod mail_server;
pub mod nginx;
pub mod proxy;
pub mod publisher;
pub mod server;
pub mod snapshot;
pub mod subscriber;
pub mod tmpfs;
pub mod torture;
pub mod wire;

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a condition may take to come true. Generous: the machine may be busy; a test never waits this long when
/// all is well.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A TCP port that was free a moment ago.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// Root runs the databases as their own users, and may mount.
#[must_use]
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata) == 0)
}

/// A copy of a folder, with owners, modes and times as they are.
///
/// # Panics
/// It cannot be made.
pub fn copy_folder(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().expect("running cp");
    assert!(copied.success(), "copying {} to {}", from.display(), to.display());
}

/// Asks again and again until there is an answer.
///
/// # Panics
/// When there is none within [`PATIENCE`]: the test has failed.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(since.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
