//! What it costs to read fields: ten numbers of each message into the flow's own table, as they stand in the payload, by
//! pointers, and by expressions. Through the embedded broker, so that the reading is what is left to be done.

use super::Plan;
use crate::load::{self, Content, Load};
use crate::report::{Figure, Round, Target};
use crate::subject::{FarEnd, Setup, Subject, options};
use anyhow::ensure;
use std::io::Write as _;

const TOPIC: &str = "bench/fields";
const FIELDS: usize = 10;

pub(super) async fn round(plan: &Plan) -> anyhow::Result<Vec<Figure>> {
    let plain = store(plan, "").await?;
    let by_pointer = store(plan, &fields(|index| format!(r#""/f{index}""#))).await?;
    let by_expression = store(plan, &fields(|index| format!(r#"{{"expr":"payload.f{index}"}}"#))).await?;
    let mut figures = vec![Figure::new("ten fields as they stand, embedded broker", "/s", None)];
    figures[0].rounds.push(plain);
    for (name, run, target) in [
        ("ten fields by pointers (of those as they stand)", by_pointer, 0.8),
        ("ten fields by expressions (of those as they stand)", by_expression, 0.4),
    ] {
        let mut figure = Figure::new(name, "/s", Some(Target::OfLimit(target)));
        figure.rounds.push(Round { limit: Some(plain.value), ..run });
        figures.push(figure);
    }
    Ok(figures)
}

/// The option `fields`, with a comma before it.
fn fields(source: impl Fn(usize) -> String) -> String {
    let rules: Vec<String> = (0..FIELDS).map(|index| format!(r#""f{index}":{}"#, source(index))).collect();
    format!(r#","fields":{{{}}}"#, rules.join(","))
}

async fn store(plan: &Plan, more: &str) -> anyhow::Result<Round> {
    let types: Vec<String> = (0..FIELDS).map(|index| format!(r#""f{index}":"float""#)).collect();
    let flow = format!(
        "INSERT INTO flows (code, description, topic, action, payload_schema) \
         VALUES ('BENCH', '', '{TOPIC}', 'STORE_DB', '{{{}}}')",
        types.join(",")
    );
    let table = format!(r#"{{"table":"bench","attributes":false{more}}}"#);
    let flows = vec![flow, options("BENCH", &table)];
    let subject = Subject::start(Setup { broker: None, tap: None, database: None, toml: String::new(), flows }).await?;
    let load = |messages| Load { port: subject.port, messages, qos: 1, rate: None, content: content() };
    let far_end = FarEnd::flow("BENCH");
    subject.warm_up(&far_end, plan.messages, load).await?;
    let rows = "SELECT COUNT(*) FROM bench WHERE f9 = 9.5";
    let before = subject.database.number(rows).await;
    let run = subject.measure(&far_end, load(plan.messages)).await?;
    let stored = subject.database.number(rows).await - before;
    ensure!(stored == i64::try_from(plan.messages)?, "void: {stored} rows for {} messages", plan.messages);
    Ok(run)
}

/// Ten numbers, of which the first tells messages apart.
fn content() -> Content {
    Box::new(|number, topic, payload| {
        topic.push_str(TOPIC);
        // A write to a vector does not fail.
        drop(write!(payload, "{{\"f0\":{}", load::shown(number)));
        for index in 1..FIELDS {
            drop(write!(payload, ",\"f{index}\":{index}.5"));
        }
        payload.push(b'}');
    })
}
