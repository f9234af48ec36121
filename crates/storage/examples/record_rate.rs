//! How many messages of three rows a second the record writer makes, beside bare 1,500-row INSERTs of the same rows.
//!
//! `cargo run --release -p hearthgate-storage --example record_rate -- URL [MESSAGES] [BATCH…]`
//! URL as in `[database] url`; the database should be an empty one, made for this.

#![expect(clippy::print_stdout, reason = "the figures are the answer")]

use hearthgate_domain::flow::FlowRow;
use hearthgate_storage::sql::{Database, DatabaseOptions, FlowRecord, RecordBatch, RecordWriter};
use sqlx::{AssertSqlSafe, Connection as _};
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;
use uuid::Uuid;

const BARE: usize = 500;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("usage: record_rate URL [MESSAGES] [BATCH…]")?;
    let messages: usize = arguments.next().map_or(Ok(100_000), |text| text.parse())?;
    let mut batches = arguments.map(|text| text.parse()).collect::<Result<Vec<usize>, _>>()?;
    if batches.is_empty() {
        batches = vec![500, 1_000, 2_000];
    }
    let state = std::env::temp_dir().join(format!("record-rate-{}", Uuid::now_v7()));
    let options = DatabaseOptions::new(url.clone(), &state);
    let database = Database::open(&options).await?;
    let flow = ensure_flow(&database).await?;
    println!("{}", database.label());
    for round in 0..3 {
        println!("round {round}: bare {:>9.0} messages/s", bare(&url, messages).await?);
        for guest in [false, true] {
            let database = Database::open(&DatabaseOptions { guest, ..options.clone() }).await?;
            for &size in &batches {
                let rate = written(&database, flow, messages, size).await?;
                println!(
                    "round {round}: {} batches of {size:>5}: {rate:>9.0} messages/s",
                    if guest { "guest" } else { "own  " }
                );
            }
        }
    }
    println!("peak resident {}", peak_resident());
    std::fs::remove_dir_all(&state).ok();
    Ok(())
}

async fn ensure_flow(database: &Database) -> Result<i64, Box<dyn Error>> {
    if let Some(flow) = database.load_flows().await?.iter().find(|flow| flow.code == "RATE") {
        return Ok(flow.id);
    }
    let flow = FlowRow {
        code: "RATE".into(),
        topic: "rate".into(),
        action: "STORE_DB".into(),
        payload_schema: "{}".into(),
        enabled: true,
        ..FlowRow::default()
    };
    Ok(database.insert_flow(&flow).await?)
}

async fn written(database: &Database, flow: i64, messages: usize, size: usize) -> Result<f64, Box<dyn Error>> {
    let mut writer = RecordWriter::new(database, Uuid::now_v7())?;
    writer.recover().await?;
    let names: [Arc<str>; 3] = ["temperature".into(), "humidity".into(), "battery".into()];
    let code: Arc<str> = "RATE".into();
    let start = Instant::now();
    let mut next = 1_u64;
    let end = messages as u64;
    while next <= end {
        let through = end.min(next + size as u64 - 1);
        let records = (next..=through).map(|seq| one(seq, flow, &code, &names)).collect();
        writer.write(&RecordBatch { records, through }).await?;
        next = through + 1;
    }
    Ok(messages as f64 / start.elapsed().as_secs_f64())
}

fn one(seq: u64, flow_id: i64, flow_code: &Arc<str>, names: &[Arc<str>; 3]) -> FlowRecord {
    let values: [Arc<str>; 3] =
        [format!("{}.5", seq % 40).into(), format!("{}.20", seq % 100).into(), seq.to_string().into()];
    FlowRecord {
        seq,
        flow_id,
        flow_code: Arc::clone(flow_code),
        received_at: 1_795_264_496_000_000 + i64::try_from(seq).unwrap_or(0) * 10,
        store: true,
        fields: names.iter().cloned().zip(values).collect(),
        typed: None,
    }
}

/// 1,500-row INSERTs, each its own transaction, with the statement prepared.
async fn bare(url: &str, messages: usize) -> Result<f64, Box<dyn Error>> {
    let start = match url.split(':').next() {
        Some("sqlite") => bare_sqlite(url, messages).await?,
        Some("postgres" | "postgresql") => bare_postgres(url, messages).await?,
        _ => bare_mysql(url, messages).await?,
    };
    Ok(messages as f64 / start.elapsed().as_secs_f64())
}

macro_rules! bare {
    ($connection:expr, $values:expr, $messages:expr) => {{
        let insert: Arc<str> = format!(
            "INSERT INTO data (received_at, flow_code, attribute_name, attribute_value, last_msg_id) VALUES {}",
            (0..BARE * 3).map($values).collect::<Vec<_>>().join(",")
        )
        .into();
        let start = Instant::now();
        for batch in 0..$messages / BARE {
            let mut query = sqlx::query(AssertSqlSafe(Arc::clone(&insert)));
            for message in 0..BARE {
                let seq = (batch * BARE + message) as i64;
                let at = chrono::DateTime::from_timestamp_micros(1_795_264_496_000_000 + seq * 10).unwrap_or_default();
                for (name, value) in [
                    ("temperature", format!("{}.5", seq % 40)),
                    ("humidity", format!("{}.20", seq % 100)),
                    ("battery", seq.to_string()),
                ] {
                    query = query.bind(at.naive_utc()).bind("RATE").bind(name).bind(value).bind(seq as i32);
                }
            }
            query.execute(&mut $connection).await?;
        }
        start
    }};
}

fn question(_: usize) -> String {
    "(?,?,?,?,?)".into()
}

async fn bare_sqlite(url: &str, messages: usize) -> Result<Instant, Box<dyn Error>> {
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(url.trim_start_matches("sqlite:"))
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
        .synchronous(sqlx::sqlite::SqliteSynchronous::Full);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await?;
    Ok(bare!(connection, question, messages))
}

async fn bare_mysql(url: &str, messages: usize) -> Result<Instant, Box<dyn Error>> {
    let mut connection = sqlx::MySqlConnection::connect(&url.replacen("mariadb", "mysql", 1)).await?;
    Ok(bare!(connection, question, messages))
}

async fn bare_postgres(url: &str, messages: usize) -> Result<Instant, Box<dyn Error>> {
    let mut connection = sqlx::PgConnection::connect(url).await?;
    let dollars = |row: usize| {
        let at = row * 5;
        format!("(${},${},${},${},${})", at + 1, at + 2, at + 3, at + 4, at + 5)
    };
    Ok(bare!(connection, dollars, messages))
}

fn peak_resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("unknown");
    line.trim().to_owned()
}
