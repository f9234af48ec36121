//! The clock is set back an hour while the gateway runs, and again while it does not.

use crate::opening::{READINGS, reading, temperatures};
use hearthgate_tests::database::Database;
use hearthgate_tests::gateway::{Gateway, Home};
use hearthgate_tests::publisher::{Options, Publisher};
use hearthgate_tests::{PATIENCE, http, until};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const EACH: usize = 100;

/// Debian's package `libfaketime`; it is asked for the time in the place of the system.
pub(crate) fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    let mut files = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1"));
    files.find(|file| file.is_file())
}

/// Lets a command of this folder live by the offset in its file `clock`.
pub(crate) fn under_clock(command: &mut Command, home: &Home, library: &Path) {
    command
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", home.path().join("clock"))
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("DONT_FAKE_MONOTONIC", "1");
}

fn start(home: &Home, library: &Path) -> Gateway {
    home.start_with(|command| under_clock(command, home, library))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_loses_and_doubles_nothing() {
    let Some(library) = library() else {
        eprintln!("SKIPPED: the clock is not set back, since the package libfaketime is not installed");
        return;
    };
    let home = Home::new();
    let set_clock = |offset: &str| fs::write(home.path().join("clock"), offset).expect("setting the clock");
    set_clock("+0");
    let mut gateway = start(&home, &library);
    until("ready", async || http::is_ready(home.http).then_some(())).await;
    let database = Database::sqlite(home.path()).await;
    let publisher = Publisher::start(Options::new(home.mqtt, "device"));
    for (round, offset) in ["+0", "-3600", "-7200", "-7200"].into_iter().enumerate() {
        set_clock(offset);
        for index in round * EACH..(round + 1) * EACH {
            publisher.publish("sensors/aht10", reading(index, 1)).await;
        }
        publisher.all_acknowledged(PATIENCE).await.expect("all acknowledgements");
        if round > 0 {
            // The journal must not be read again, nor a consumer's position be taken for an older one.
            gateway.kill();
            gateway = start(&home, &library);
        }
    }
    let all = 4 * EACH;
    until("all", async || (database.number(READINGS).await >= all as i64).then_some(())).await;
    assert_eq!(temperatures(&database).await, (0..all).collect::<Vec<_>>());
    database.assert_numbers_without_gap_or_repeat("AHT10_SENSOR").await;
    let earlier = "SELECT COUNT(*) FROM data later JOIN data earlier ON earlier.last_msg_id = later.last_msg_id - 100 \
                   WHERE earlier.attribute_name = 'humidity' AND later.attribute_name = 'humidity' \
                   AND later.received_at < earlier.received_at";
    assert!(database.number(earlier).await >= 2 * EACH as i64, "the clock was set back");
    // It was started a moment ago, and must be able to hear the signal.
    until("ready", async || http::is_ready(home.http).then_some(())).await;
    let (status, log) = gateway.terminate();
    assert!(status.success() && !log.contains("panicked"), "{log}");
}
