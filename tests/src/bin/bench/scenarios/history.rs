//! What keeping history costs: the index of `data`, retention and rollups beside live messages, and a year of readings.
//!
//! A year is 100 sensors every 10 s: 7 days of rows, and windows of 15 minutes for 365 days. A tenth of it, 10 sensors, is
//! written by SQL into the tables that the gateway made; its size counts ten times.

use super::storing;
use crate::Plan;
use crate::load::{self, Content, Load};
use crate::report::{Figure, Round, Target};
use crate::subject::{FarEnd, Setup, Subject, options};
use anyhow::{Context, ensure};
use hearthgate_tests::database::Database;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

const TOPIC: &str = "bench/history/s1";
const DROP_INDEX: &str = "DROP INDEX data_flow_attribute_received";
/// What is written is this part of a year's readings.
const FRACTION: f64 = 10.0;
const SENSORS: u64 = 10;
/// Rows of these sensors in 7 days, one every 10 s.
const RAW_ROWS: u64 = SENSORS * 7 * 86_400 / 10;
/// Windows of these sensors in 365 days.
const WINDOWS: u64 = SENSORS * 365 * 96;

pub(super) async fn round(plan: &Plan) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for name in ["SQLite", "MariaDB", "PostgreSQL"] {
        let on = if name == "MariaDB" { " ON data" } else { "" };
        let without = storing::store(plan, None, database(name).await, &[format!("{DROP_INDEX}{on}")]).await?;
        let with = storing::store(plan, None, database(name).await, &[]).await?;
        let what = format!("STORE_DB to {name}, with the index of data (of without)");
        let mut figure = Figure::new(what, "/s", Some(Target::OfLimit(0.7)));
        figure.rounds.push(Round { limit: Some(without.value), ..with });
        figures.push(figure);
    }
    let plain = beside_old_rows(plan, "").await?;
    let kept = beside_old_rows(plan, r#","retention":"1d","rollups":[{"every":"15m"}]"#).await?;
    let mut figure =
        Figure::new("while old rows are summed up and purged (of without)", "/s", Some(Target::OfLimit(0.9)));
    figure.rounds.push(Round { limit: Some(plain.value), ..kept });
    figures.push(figure);
    let (megabytes, milliseconds) = year().await?;
    let mut size =
        Figure::new("a year of 100 sensors in SQLite, a tenth times ten", "MB", Some(Target::AtMost(1_000.0)));
    size.rounds.push(Round::of(megabytes));
    let mut query =
        Figure::new("a year of a sensor read back, with the program's start", "ms", Some(Target::AtMost(100.0)));
    query.rounds.push(Round::of(milliseconds));
    figures.extend([size, query]);
    Ok(figures)
}

async fn database(name: &str) -> Option<Database> {
    match name {
        "MariaDB" => Some(Database::mariadb().await),
        "PostgreSQL" => Some(Database::postgres().await),
        _ => None,
    }
}

/// A flow with a table of its own.
fn flow(more: &str) -> Vec<String> {
    let flow = "INSERT INTO flows (code, description, topic, action, payload_schema) VALUES \
                ('BENCH', '', 'bench/history/{sensor}', 'STORE_DB', '{\"t\":\"float\",\"n\":\"int\",\"unit\":\"string\"}')";
    let table = format!(r#"{{"table":"bench","attributes":false{more}}}"#);
    vec![flow.to_owned(), options("BENCH", &table)]
}

async fn started(more: &str) -> anyhow::Result<Subject> {
    Subject::start(Setup { broker: None, tap: None, database: None, toml: String::new(), flows: flow(more) }).await
}

fn content(payload: usize) -> Content {
    Box::new(move |number, topic, bytes| {
        topic.push_str(TOPIC);
        load::reading(number, payload, bytes);
    })
}

/// Rows of ten days ago, one every 10 s for each sensor, into a table that is there.
fn old_rows(rows: u64) -> String {
    format!(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {}) \
         INSERT INTO bench (flow_code, received_at, last_msg_id, sensor, t, n, unit) \
         SELECT 'BENCH', strftime('%Y-%m-%d %H:%M:%S', 'now', '-10 days', '+' || (i / {SENSORS} * 10) || ' seconds') || '.000000', \
         -i, 's' || (i % {SENSORS}), 20 + (i % 100) / 10.0, i, 'C' FROM n",
        rows - 1
    )
}

/// Messages a second into a flow's table that also has rows from long ago.
async fn beside_old_rows(plan: &Plan, more: &str) -> anyhow::Result<Round> {
    let subject = started(more).await?;
    let load = |messages| Load { port: subject.port, messages, qos: 1, rate: None, content: content(plan.payload) };
    let far_end = FarEnd::flow("BENCH");
    subject.warm_up(&far_end, plan.messages, load).await?;
    subject.database.execute(&old_rows(plan.messages)).await;
    let newest = "SELECT COUNT(*) FROM bench WHERE last_msg_id > 0";
    let before = subject.database.number(newest).await;
    let run = subject.measure(&far_end, load(plan.messages)).await?;
    let stored = subject.database.number(newest).await - before;
    ensure!(stored == i64::try_from(plan.messages)?, "void: {stored} rows for {} messages", plan.messages);
    Ok(run)
}

/// Size of a year, in MB, and how long it takes to read a sensor's year back, in ms.
async fn year() -> anyhow::Result<(f64, f64)> {
    let subject = started(r#","rollups":[{"every":"15m"}]"#).await?;
    load::join(load::publish(Load { port: subject.port, messages: 1, qos: 1, rate: None, content: content(60) }))?;
    let since = Instant::now();
    // Made when the historian looks for the first time at what was stored.
    while subject.database.try_number("SELECT COUNT(*) FROM bench_15m").await.is_none() {
        ensure!(since.elapsed() < crate::PATIENCE, "no table of windows; log:\n{}", subject.gateway.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    subject.database.execute(&old_rows(RAW_ROWS)).await;
    let mut columns = String::new();
    let mut values = String::new();
    for field in ["t", "n"] {
        for kind in ["min", "max", "mean", "sum", "count", "first", "last"] {
            write!(columns, ", {field}_{kind}")?;
            write!(values, ", 20 + (i % 1000) / 7.0")?;
        }
    }
    let windows = format!(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {}) \
         INSERT INTO bench_15m (flow_code, window_start, sensor{columns}) \
         SELECT 'BENCH', strftime('%Y-%m-%d %H:00:00', 'now', '-365 days', '+' || (i / {SENSORS} * 900) || ' seconds') || '.000000', \
         's' || (i % {SENSORS}){values} FROM n",
        WINDOWS - 1
    );
    subject.database.execute(&windows).await;
    let pages = "SELECT (SELECT page_count FROM pragma_page_count) * (SELECT page_size FROM pragma_page_size)";
    let bytes = subject.database.number(pages).await as f64 * FRACTION;
    // The historian would sum all of it up; what is asked for is there already.
    let mut command = subject.home.command();
    command.args(["data", "BENCH", "--since", "365d", "--every", "1d", "--key", "sensor=s1", "--field", "t"]);
    let since = Instant::now();
    let output = command.output().context("reading back")?;
    let milliseconds = since.elapsed().as_secs_f64() * 1e3;
    let lines = String::from_utf8_lossy(&output.stdout).lines().count();
    ensure!(output.status.success() && lines > 300, "void: {lines} lines of a year: {output:?}");
    Ok((bytes / 1e6, milliseconds))
}
