//! Routing with validation and no action, as two figures.
//!
//! Kept back: each message is matched, parsed and checked against the flow's schema, and the flow's `on_change` finds nothing
//! new in it, so that nobody wants it: nothing is journaled. Journaled: the same without `on_change`, and the action writes
//! to the log below the log's level, so that each message is written to the journal and synced before it is acknowledged.

use super::readings;
use crate::load::Load;
use crate::report::{Figure, Round, Target};
use crate::subject::{FarEnd, Setup, Subject, flow, options};
use crate::{Plan, limits};
use hearthgate_tests::broker::Mosquitto;

const TOPIC: &str = "bench/routing";

pub(super) async fn round(plan: &Plan) -> anyhow::Result<Vec<Figure>> {
    let broker = Mosquitto::start();
    let limit = limits::bare_subscriber(&broker, plan.messages, 1, readings(TOPIC, plan.payload)).await?;
    let mut bare = Figure::new("bare subscriber, QoS 1", "/s", None);
    bare.rounds.push(Round::of(limit));
    let mut figures = vec![bare];
    let kept_back = r#"{"on_change":["unit"]}"#;
    let logged = r#"{"actions":[{"type":"LOG","level":"trace"}]}"#;
    let runs = [
        ("validated, kept back, QoS 1", "STORE_DB", kept_back, "outcome=\"kept_back\""),
        ("validated and journaled, QoS 1", "LOG", logged, "outcome=\"ok\""),
    ];
    for (name, action, more, outcome) in runs {
        let run = route(plan, &broker, action, more, FarEnd::Desk(outcome)).await?;
        let mut figure = Figure::new(name, "/s", Some(Target::OfLimit(0.9)));
        figure.rounds.push(Round { limit: Some(limit), ..run });
        figures.push(figure);
    }
    Ok(figures)
}

async fn route(plan: &Plan, broker: &Mosquitto, action: &str, more: &str, far_end: FarEnd) -> anyhow::Result<Round> {
    let load =
        |messages| Load { port: broker.port, messages, qos: 1, rate: None, content: readings(TOPIC, plan.payload) };
    let flows = vec![flow("BENCH", TOPIC, action, ""), options("BENCH", more)];
    let subject =
        Subject::start(Setup { broker: Some(broker), tap: None, database: None, toml: String::new(), flows }).await?;
    // The first message is new to the flow and is no part of what is counted.
    subject.warm_up(&far_end, plan.messages, load).await?;
    subject.measure(&far_end, load(plan.messages)).await
}
