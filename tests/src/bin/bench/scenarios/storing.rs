//! STORE_DB with three fields a message: from the first message to the last row committed.

use super::readings;
use crate::load::Load;
use crate::report::{Figure, Round, Target};
use crate::subject::{FarEnd, Setup, Subject, flow};
use crate::{Plan, limits};
use anyhow::ensure;
use hearthgate_tests::broker::Mosquitto;
use hearthgate_tests::database::Database;

const TOPIC: &str = "bench/storing";

pub(super) async fn sqlite(plan: &Plan) -> anyhow::Result<Vec<Figure>> {
    let broker = Mosquitto::start();
    let limit = limits::bare_subscriber(&broker, plan.messages, 1, readings(TOPIC, plan.payload)).await?;
    let stored = store(plan, Some(&broker), None, &[]).await?;
    let embedded = store(plan, None, None, &[]).await?;
    let mut with_mosquitto = Figure::new("STORE_DB to SQLite, Mosquitto", "/s", Some(Target::OfLimit(0.85)));
    with_mosquitto.rounds.push(Round { limit: Some(limit), ..stored });
    let name = "STORE_DB to SQLite, embedded broker (of Mosquitto's)";
    let mut with_embedded = Figure::new(name, "/s", Some(Target::OfLimit(1.0)));
    with_embedded.rounds.push(Round { limit: Some(stored.value), ..embedded });
    let mut peak = Figure::new("peak memory under STORE_DB", "MB", Some(Target::AtMost(64.0)));
    peak.rounds.push(Round::of(stored.peak_mb.unwrap_or(0.0).max(embedded.peak_mb.unwrap_or(0.0))));
    let mut bare = Figure::new("bare subscriber, QoS 1", "/s", None);
    bare.rounds.push(Round::of(limit));
    Ok(vec![bare, with_mosquitto, with_embedded, peak])
}

pub(super) async fn mariadb(plan: &Plan) -> anyhow::Result<Vec<Figure>> {
    server(plan, "MariaDB", Database::mariadb().await).await
}

pub(super) async fn postgres(plan: &Plan) -> anyhow::Result<Vec<Figure>> {
    server(plan, "PostgreSQL", Database::postgres().await).await
}

async fn server(plan: &Plan, name: &str, database: Database) -> anyhow::Result<Vec<Figure>> {
    let url = database.url.clone();
    let broker = Mosquitto::start();
    let stored = store(plan, Some(&broker), Some(database), &[]).await?;
    // Into the same table with the same index, after the gateway has ended.
    let limit = limits::bare_inserts(&url, plan.messages, plan.payload).await?;
    let mut figure = Figure::new(format!("STORE_DB to {name}, Mosquitto"), "/s", Some(Target::OfLimit(0.8)));
    figure.rounds.push(Round { limit: Some(limit), ..stored });
    let mut bare = Figure::new(format!("bare 1,500-row INSERTs, {name}"), "/s", None);
    bare.rounds.push(Round::of(limit));
    Ok(vec![bare, figure])
}

/// Messages a second into `data`, after these statements.
pub(super) async fn store(
    plan: &Plan,
    broker: Option<&Mosquitto>,
    database: Option<Database>,
    statements: &[String],
) -> anyhow::Result<Round> {
    let flows = [&[flow("BENCH", TOPIC, "STORE_DB", "")], statements].concat();
    let subject = Subject::start(Setup { broker, tap: None, database, toml: String::new(), flows }).await?;
    let load =
        |messages| Load { port: subject.port, messages, qos: 1, rate: None, content: readings(TOPIC, plan.payload) };
    let far_end = FarEnd::flow("BENCH");
    subject.warm_up(&far_end, plan.messages, load).await?;
    let rows = "SELECT COUNT(*) FROM data WHERE flow_code = 'BENCH'";
    let before = subject.database.number(rows).await;
    let run = subject.measure(&far_end, load(plan.messages)).await?;
    let stored = subject.database.number(rows).await - before;
    ensure!(stored == 3 * i64::try_from(plan.messages)?, "void: {stored} rows for {} messages", plan.messages);
    let distinct =
        "SELECT COUNT(DISTINCT attribute_value) FROM data WHERE flow_code = 'BENCH' AND attribute_name = 'n'";
    let distinct = subject.database.number(distinct).await;
    ensure!(distinct == i64::try_from(plan.messages)?, "void: {distinct} different ones of {} messages", plan.messages);
    Ok(run)
}
