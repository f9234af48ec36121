//! Torture of the real binary. Run it by `cargo xtask torture`.

#![expect(clippy::print_stdout, reason = "the table is this program's answer")]

use anyhow::ensure;
use clap::{Parser, ValueEnum};
use hearthgate_tests::torture::{self, BrokerKind, DatabaseKind, Fault, Payloads, Plan};
use rumqttc::QoS;
use std::process::ExitCode;

/// Drives the gateway under load while everything around it fails, and accounts for every message.
///
/// A run begins with fresh services and a fresh gateway. A publisher with a persistent session publishes without pause;
/// meanwhile the faults come in random order, the lasting ones (database, endpoint, full disk) overlapping the others.
/// Of twenty messages one each is also posted to an endpoint, published once more, stored by a second flow, retained; one is
/// refused by the flows' schemas, two are held back or not, one is a command for an interface, and one a status. In the end
/// every message must be stored once, in order, posted under one webhook-id, have reached a subscriber, or be a dead letter;
/// no command may have been executed late or twice. The exit status is 1 if that does not hold, or the gateway ended by itself.
///
/// The gateway is the binary that HEARTHGATE_BIN names. Only a test build (target/debug after `cargo test --no-run`) can
/// make its actors fail; with another one those faults are counted as skipped.
#[derive(Parser)]
#[command(name = "torture")]
struct Arguments {
    /// How often the gateway is killed by `kill -9` in each run
    #[arg(long, default_value_t = 100)]
    kills: usize,
    /// How often each other fault is injected in each run [default: a tenth of the kills, at least 2]
    #[arg(long)]
    others: Option<usize>,
    /// QoS of publishing
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    qos: u8,
    /// sqlite, mariadb, postgres, or all: a run for each
    #[arg(long, value_parser = choice::<DatabaseKind>, default_value = "sqlite")]
    database: AllOr<DatabaseKind>,
    /// mosquitto, embedded, or all: a run for each, with `--database all` the embedded one with SQLite only
    #[arg(long, value_parser = choice::<BrokerKind>, default_value = "mosquitto")]
    broker: AllOr<BrokerKind>,
    /// distinct, equal, or both: a run for each
    #[arg(long, value_parser = choice::<Payloads>, default_value = "distinct")]
    payloads: AllOr<Payloads>,
    /// Kinds of faults, separated by commas [default: every one that is possible here]
    #[arg(long, value_enum, value_delimiter = ',')]
    faults: Vec<Fault>,
    /// Of everything that is random; printed, so that a run can be repeated [default: random]
    #[arg(long)]
    seed: Option<u64>,
    /// Messages a second
    #[arg(long, default_value_t = 500)]
    rate: u64,
    /// Messages that the publisher has in flight at most
    #[arg(long, default_value_t = 200)]
    window: usize,
    /// Each run goes on until so many messages are sent, also after its last fault
    #[arg(long, default_value_t = 0)]
    messages: u64,
}

/// One by its name, or all.
fn choice<T: ValueEnum>(text: &str) -> Result<AllOr<T>, String> {
    if matches!(text, "all" | "both") {
        return Ok(AllOr::All);
    }
    T::from_str(text, true).map(AllOr::One)
}

/// A value, or all of them.
#[derive(Clone, Copy)]
enum AllOr<T> {
    All,
    One(T),
}

impl<T: ValueEnum + Copy> AllOr<T> {
    fn values(self) -> Vec<T> {
        match self {
            AllOr::All => T::value_variants().to_vec(),
            AllOr::One(value) => vec![value],
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    let faults = faults(&arguments)?;
    eprintln!("seed {seed}");
    let mut outcomes = Vec::new();
    let mut failed = false;
    for (database, broker, payloads) in combinations(&arguments) {
        let plan = Plan {
            kills: if faults.contains(&Fault::Kill) { arguments.kills } else { 0 },
            others: arguments.others.unwrap_or((arguments.kills / 10).max(2)),
            qos: if arguments.qos == 1 { QoS::AtLeastOnce } else { QoS::ExactlyOnce },
            database,
            broker,
            payloads,
            faults: faults.clone(),
            seed,
            rate: arguments.rate,
            window: arguments.window,
            messages: arguments.messages,
            verbose: true,
        };
        eprintln!("--- {plan}");
        let run = tokio::select! {
            run = torture::run(&plan) => run,
            // Everything that was started ends with the run.
            _ = tokio::signal::ctrl_c() => {
                eprintln!("interrupted");
                return Ok(ExitCode::FAILURE);
            }
        };
        match run {
            Ok(outcome) => {
                failed |= !outcome.is_clean();
                eprintln!("{}", torture::table(std::slice::from_ref(&outcome)));
                outcomes.push(outcome);
            }
            Err(reason) => {
                failed = true;
                eprintln!("FAILED: {reason:#}");
            }
        }
    }
    println!("{}", torture::table(&outcomes));
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn faults(arguments: &Arguments) -> anyhow::Result<Vec<Fault>> {
    if !arguments.faults.is_empty() {
        let wants_disk = arguments.faults.contains(&Fault::Disk);
        ensure!(!wants_disk || hearthgate_tests::is_root(), "a disk that can be full needs root: leave `disk` away");
        return Ok(arguments.faults.clone());
    }
    let mut faults = Fault::ALL.to_vec();
    if !hearthgate_tests::is_root() {
        eprintln!("SKIPPED: the disk is never full, since only root can mount one that can be");
        faults.retain(|fault| *fault != Fault::Disk);
    }
    Ok(faults)
}

fn combinations(arguments: &Arguments) -> Vec<(DatabaseKind, BrokerKind, Payloads)> {
    let mut all = Vec::new();
    for broker in arguments.broker.values() {
        let with_all = broker == BrokerKind::Mosquitto || matches!(arguments.database, AllOr::One(_));
        for database in arguments.database.values().into_iter().take(if with_all { usize::MAX } else { 1 }) {
            for payloads in arguments.payloads.values() {
                all.push((database, broker, payloads));
            }
        }
    }
    all
}
