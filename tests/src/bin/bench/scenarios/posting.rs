//! POST_ENDPOINT over kept connections to a loopback endpoint, one call at a time and several.

use super::readings;
use crate::endpoint::Endpoint;
use crate::load::{self, Load};
use crate::report::{Figure, Round, Target};
use crate::subject::{Setup, Subject, flow, options};
use crate::{PATIENCE, Plan, limits};
use anyhow::ensure;
use hearthgate_tests::broker::Mosquitto;
use std::time::{Duration, Instant};

const TOPIC: &str = "bench/posting";

pub(super) async fn round(plan: &Plan) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for parallel in [1, 4] {
        let endpoint = Endpoint::start()?;
        let messages = plan.messages / 4;
        let limit = limits::bare_posts(&endpoint, messages, plan.payload, parallel).await?;
        let run = post(plan, &endpoint, messages, parallel).await?;
        let name = format!("POST_ENDPOINT, {parallel} at a time");
        let mut figure = Figure::new(name, "/s", Some(Target::OfLimit(0.7)));
        figure.rounds.push(Round { limit: Some(limit), ..run });
        let mut bare = Figure::new(format!("bare reqwest loop, {parallel} at a time"), "/s", None);
        bare.rounds.push(Round::of(limit));
        figures.extend([bare, figure]);
    }
    Ok(figures)
}

async fn post(plan: &Plan, endpoint: &Endpoint, messages: u64, parallel: u64) -> anyhow::Result<Round> {
    let broker = Mosquitto::start();
    let more = options("BENCH", &format!("{{\"concurrency\":{parallel}}}"));
    let flows = vec![flow("BENCH", TOPIC, "POST_ENDPOINT", &endpoint.url), more];
    let subject =
        Subject::start(Setup { broker: Some(&broker), tap: None, database: None, toml: String::new(), flows }).await?;
    let load =
        |messages| Load { port: broker.port, messages, qos: 1, rate: None, content: readings(TOPIC, plan.payload) };
    endpoint.expect(1);
    while endpoint.count() == 0 {
        load::join(load::publish(load(1)))?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await; // what was published more than once has come by now
    for messages in [(messages / 20).max(1), messages] {
        let cpu = subject.process().cpu_seconds()?;
        endpoint.expect(messages);
        let since = Instant::now();
        let publisher = load::publish(load(messages));
        while endpoint.count() < messages {
            let count = endpoint.count();
            ensure!(since.elapsed() < PATIENCE, "void: {count} of {messages} messages arrived");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let seconds = since.elapsed().as_secs_f64();
        load::join(publisher)?;
        let run = subject.round(messages, seconds, cpu)?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        endpoint.verify()?;
        if messages > 1 && messages == run_size(plan) {
            return Ok(run);
        }
    }
    anyhow::bail!("no run")
}

fn run_size(plan: &Plan) -> u64 {
    plan.messages / 4
}
