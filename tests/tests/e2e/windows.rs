//! Windows of rollups equal a recomputation from the raw rows, bit for bit, after many `kill -9`, with late readings, with a
//! clock that is set, and across the end of summer time.
//!
//! `HEARTHGATE_TEST_KILLS` says how often the gateway is killed.

use crate::clock::{library, under_clock};
use crate::flows::told;
use hearthgate_tests::client::Client;
use hearthgate_tests::database::Database;
use hearthgate_tests::gateway::{Gateway, Home};
use hearthgate_tests::{http, until};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

const KILLS: u32 = 20;
/// Readings of each flow between two kills.
const EACH: usize = 25;
/// Room and start of a window, in microseconds.
type WindowKey = (String, i64);
/// Min, max, mean, sum, count, first, last, and the share of time that `on` was true, as bits.
type WindowBits = [u64; 8];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Sqlite,
    MariaDb,
    Postgres,
}

impl Dialect {
    /// Microseconds since 1970 of a column with a time, as a double: exact until the year 2255.
    fn micros(self, column: &str) -> String {
        match self {
            Dialect::Sqlite => format!(
                "CAST(CAST(strftime('%s', {column}) AS INTEGER) * 1000000 + CAST(substr({column}, 21, 6) AS INTEGER) AS REAL)"
            ),
            Dialect::MariaDb => format!("TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {column}) + 0e0"),
            Dialect::Postgres => format!("CAST(round(extract(epoch FROM {column}) * 1000000) AS double precision)"),
        }
    }

    fn truth(self) -> &'static str {
        match self {
            Dialect::Sqlite => "CAST(lit AS REAL)",
            Dialect::MariaDb => "lit + 0e0",
            Dialect::Postgres => "CAST(CAST(lit AS int) AS double precision)",
        }
    }
}

/// A gateway whose clock can be set, where libfaketime is installed.
struct Site {
    home: Home,
    library: Option<PathBuf>,
    database: Database,
    dialect: Dialect,
}

impl Site {
    async fn new(dialect: Dialect) -> Self {
        let home = Home::new();
        let server = match dialect {
            Dialect::Sqlite => None,
            Dialect::MariaDb => Some(Database::mariadb().await),
            Dialect::Postgres => Some(Database::postgres().await),
        };
        let url = server.as_ref().map_or(String::new(), |database| format!("[database]\nurl = \"{}\"\n", database.url));
        home.configure(&format!("[broker]\nenabled = true\n{url}"));
        let library = library();
        if library.is_none() {
            eprintln!("SKIPPED: the clock is not set, since the package libfaketime is not installed");
        }
        std::fs::write(home.path().join("clock"), "+0").expect("setting the clock");
        let mut gateway = home.start();
        gateway.wait_for_log(&["flows loaded"]);
        let database = match server {
            Some(database) => database,
            None => Database::sqlite(home.path()).await,
        };
        let schema = r#"{"t":"float","lit":"bool"}"#;
        // By the time of the event, which is local time where summer time ends; and by the time of receipt.
        let timed = r#"{"table":"timed","event_time":{"from":"/at","zone":"Europe/Berlin","unreadable":"refuse"},
            "fields":{"t":"/t","lit":"/lit"},"rollups":[{"every":"15m"},{"every":"1d"}]}"#;
        let plain = r#"{"table":"plain","rollups":[{"every":"1m"}]}"#;
        for (code, topic, options) in [("TIMED", "timed/{room}", timed), ("PLAIN", "plain/{room}", plain)] {
            told(&home, &["flow", "add", code, "--topic", topic, "--schema", schema, "--options", options]);
        }
        drop(gateway.kill());
        Site { home, library, database, dialect }
    }

    fn start(&self) -> Gateway {
        self.home.start_with(|command| {
            if let Some(library) = &self.library {
                under_clock(command, &self.home, library);
            }
        })
    }

    fn set_clock(&self, offset: &str) {
        std::fs::write(self.home.path().join("clock"), offset).expect("setting the clock");
    }

    /// Computes all windows that are over, in two days from now.
    fn finish(&self) {
        self.set_clock("+2d");
        let mut command = self.home.command();
        if let Some(library) = &self.library {
            under_clock(&mut command, &self.home, library);
        }
        let output = command.args(["db", "purge"]).output().expect("running the command line");
        assert!(output.status.success(), "{output:?}");
    }

    /// The windows of a table, from itself.
    async fn stored(&self, table: &str) -> BTreeMap<WindowKey, WindowBits> {
        let query = format!(
            "SELECT room, {}, t_min, t_max, t_mean, t_sum, t_count, t_first, t_last, lit_share FROM {table}",
            self.dialect.micros("window_start")
        );
        let rows = self.database.reals(&query).await;
        let count = rows.len();
        let window = |(room, values): (String, Vec<f64>)| {
            let bits = std::array::from_fn(|at| values[at + 1].to_bits());
            ((room, values[0] as i64), bits)
        };
        let windows: BTreeMap<_, _> = rows.into_iter().map(window).collect();
        assert_eq!(windows.len(), count, "a window of {table} is there twice");
        windows
    }

    /// The same from the raw rows.
    async fn recomputed(&self, table: &str, time: &str, minutes: i64) -> BTreeMap<WindowKey, WindowBits> {
        let length = minutes * 60_000_000;
        let (micros, truth) = (self.dialect.micros(time), self.dialect.truth());
        let query = format!("SELECT room, {micros}, t, {truth} FROM {table} ORDER BY {time}, id");
        let mut groups: BTreeMap<WindowKey, Vec<(i64, f64, bool)>> = BTreeMap::new();
        for (room, values) in self.database.reals(&query).await {
            let at = values[0] as i64;
            groups.entry((room, at.div_euclid(length) * length)).or_default().push((at, values[1], values[2] != 0.0));
        }
        groups.into_iter().map(|((room, start), rows)| ((room, start), sum_up(&rows, start + length))).collect()
    }
}

/// What readings in the order of their times come to.
fn sum_up(rows: &[(i64, f64, bool)], end: i64) -> WindowBits {
    let values = || rows.iter().map(|(_, value, _)| *value);
    let sum = values().skip(1).fold(rows[0].1, |sum, value| sum + value);
    let count = rows.len() as f64;
    let (mut held, mut lit) = (0, 0);
    for (index, (at, _, is_lit)) in rows.iter().enumerate() {
        let until = rows.get(index + 1).map_or(end, |(next, ..)| *next);
        held += until - at;
        lit += if *is_lit { until - at } else { 0 };
    }
    let (min, max) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    let share = lit as f64 / held as f64;
    [min, max, sum / count, sum, count, rows[0].1, rows[rows.len() - 1].1, share].map(f64::to_bits)
}

fn reading() -> String {
    // The night in which summer time ends: some come hours late, and the hour from two to three is there twice.
    let (hour, minute, second) = (fastrand::u8(0..6), fastrand::u8(0..60), fastrand::u8(0..60));
    let micros = fastrand::u32(1..999_999);
    format!(
        r#"{{"t":{:?},"lit":{},"at":"2026-10-25T{hour:02}:{minute:02}:{second:02}.{micros:06}"}}"#,
        20.0 + (fastrand::f64() - 0.5) / 3.0,
        fastrand::bool()
    )
}

async fn windows_equal_a_recomputation_after_many_kills(dialect: Dialect) {
    let kills =
        std::env::var("HEARTHGATE_TEST_KILLS").ok().map(|kills| kills.parse::<u32>().expect("a number of kills"));
    let kills = kills.unwrap_or(KILLS);
    let site = Site::new(dialect).await;
    for kill in 0..kills {
        let mut gateway = site.start();
        gateway.wait_for_log(&["flows loaded"]);
        let mut client = Client::connect(site.home.mqtt, "sensor").await;
        for _ in 0..EACH {
            let room = ["hall", "Hall", "kitchen"][fastrand::usize(0..3)];
            client.publish(&format!("timed/{room}"), reading()).await;
            client.publish(&format!("plain/{room}"), r#"{"t":0.1,"lit":true}"#).await;
        }
        client.confirmed(2 * EACH).await;
        if kill % 4 == 3 {
            site.set_clock(["+0", "-3600", "+5400", "-90"][fastrand::usize(0..4)]);
        }
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..800))).await;
        gateway.kill();
    }
    site.set_clock("+0");
    let gateway = site.start();
    until("ready", async || http::is_ready(site.home.http).then_some(())).await;
    let all = i64::from(kills) * EACH as i64;
    until("all readings", async || {
        let rows = "SELECT (SELECT COUNT(*) FROM timed) + (SELECT COUNT(*) FROM plain)";
        (site.database.try_number(rows).await? >= 2 * all).then_some(())
    })
    .await;
    assert_eq!(site.database.number("SELECT COUNT(*) FROM timed").await, all, "each once");
    let (status, log) = gateway.terminate();
    assert!(status.success() && !log.contains("the history is not kept"), "{log}");
    site.finish();
    for (windows, table, time, minutes) in [
        ("timed_15m", "timed", "event_time", 15),
        ("timed_1d", "timed", "event_time", 24 * 60),
        ("plain_1m", "plain", "received_at", 1),
    ] {
        let (stored, wanted) = (site.stored(windows).await, site.recomputed(table, time, minutes).await);
        // Without libfaketime the last minute is not over yet.
        let is_over =
            |start: i64| site.library.is_some() || start < chrono::Utc::now().timestamp_micros() - 180_000_000;
        let wanted: BTreeMap<_, _> = wanted.into_iter().filter(|((_, start), _)| is_over(*start)).collect();
        let stored: BTreeMap<_, _> = stored.into_iter().filter(|((_, start), _)| is_over(*start)).collect();
        assert!(!wanted.is_empty() || site.library.is_none(), "{windows}");
        assert_eq!(stored, wanted, "{windows}");
    }
    let days = "SELECT COUNT(DISTINCT window_start) FROM timed_15m";
    // From 22:00 UTC to 05:00, since two to three o'clock is the first of the two.
    assert!(site.database.number(days).await >= 20, "windows on both sides of the change");
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_equal_a_recomputation_after_many_kills_on_sqlite() {
    windows_equal_a_recomputation_after_many_kills(Dialect::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_equal_a_recomputation_after_many_kills_on_mariadb() {
    windows_equal_a_recomputation_after_many_kills(Dialect::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_equal_a_recomputation_after_many_kills_on_postgresql() {
    windows_equal_a_recomputation_after_many_kills(Dialect::Postgres).await;
}
