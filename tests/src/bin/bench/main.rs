//! The benchmark: the real binary beside what its surroundings can do at all, in turn on the same machine.
//!
//! Run it by `cargo xtask bench`. Each round of a scenario measures the limit first (a bare subscriber, bare INSERTs, a bare
//! HTTP loop) and then the gateway, so that both see the same machine. Every message is counted at the far end; a run that
//! lost or repeated one is void and ends the benchmark with an error.

mod endpoint;
mod limits;
mod load;
mod machine;
mod process;
mod report;
mod scenarios;
mod seen;
mod subject;
mod tap;

use anyhow::{Context, ensure};
use clap::{Parser, ValueEnum};
use report::Report;
use std::path::PathBuf;
use std::time::Duration;

/// How long one run may take before it is void.
const PATIENCE: Duration = Duration::from_secs(180);

#[derive(Clone, Debug, Parser)]
#[command(name = "bench", about = "Measures the gateway beside what its surroundings can do at all")]
struct Plan {
    /// Only these; may be given several times
    #[arg(long, value_enum)]
    scenario: Vec<Scenario>,
    /// Messages of a run; posting and latency, which are slower, take a quarter of it
    #[arg(long, default_value_t = 200_000)]
    messages: u64,
    /// Rounds of each scenario; the table shows the median
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Also write all figures of all rounds into this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// Size of a message's JSON, in bytes
    #[arg(long, default_value_t = 60)]
    payload: usize,
    /// Messages a second where the rate is fixed (latency)
    #[arg(long, default_value_t = 5_000)]
    rate: u64,
    /// Flows beside the ten that are compared with, in the scenario of many flows
    #[arg(long, default_value_t = 10_000)]
    flows: u64,
    /// Dummy interfaces that the messages of the mapping scenario are spread over
    #[arg(long, default_value_t = 1)]
    interfaces: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// MQTT to a dummy interface, and from a device to MQTT
    Mapping,
    /// Validated and journaled, and nothing to be done
    Routing,
    /// STORE_DB to SQLite, with Mosquitto and with the embedded broker
    Sqlite,
    /// STORE_DB to MariaDB
    Mariadb,
    /// STORE_DB to PostgreSQL
    Postgres,
    /// POST_ENDPOINT to a loopback endpoint
    Post,
    /// Ten fields as they stand, by pointers, and by expressions
    Fields,
    /// Ten flows against many
    Flows,
    /// What indexes, retention and rollups cost, and a year of readings
    History,
    /// At a fixed rate
    Latency,
    /// From the start to ready
    Start,
    /// Nothing to do
    Idle,
}

fn main() -> anyhow::Result<()> {
    let plan = Plan::parse();
    ensure!(plan.messages >= 1_000 && plan.rounds >= 1, "at least 1,000 messages and 1 round");
    ensure!((load::SMALLEST..=1 << 20).contains(&plan.payload), "--payload: {} bytes at least", load::SMALLEST);
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        anyhow::bail!("a TLS provider was installed before");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(&plan))
}

async fn measure(plan: &Plan) -> anyhow::Result<()> {
    let mut report = Report::new(plan);
    for scenario in Scenario::value_variants() {
        if plan.scenario.is_empty() || plan.scenario.contains(scenario) {
            let before = report.figures.len();
            scenarios::run(*scenario, plan, &mut report).await.with_context(|| format!("scenario {scenario:?}"))?;
            for figure in &report.figures[before..] {
                eprintln!("{}", figure.line());
            }
        }
    }
    report.print();
    if let Some(path) = &plan.json {
        std::fs::write(path, report.to_json()).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
