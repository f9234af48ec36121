//! The benchmark: the real binary against a bare rumqttc subscriber, on the same broker, in the same run.
//!
//! Run it by `cargo xtask bench`. Each scenario is run in turn with the bare subscriber, so that both see the same
//! machine; every message is counted at the far end, and a run that lost or repeated one is void.

#![expect(clippy::print_stdout, reason = "the table is this program's answer")]

use anyhow::{Context, bail, ensure};
use hearthgate_tests::broker::Mosquitto;
use hearthgate_tests::database::Database;
use hearthgate_tests::gateway::{Gateway, Home};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use std::time::{Duration, Instant};

const TOPIC: &str = "sensors/aht10";
const PATIENCE: Duration = Duration::from_secs(120);

struct Plan {
    messages: u64,
    rounds: usize,
}

/// What one run of a scenario cost.
struct Run {
    seconds: f64,
    cpu_seconds: f64,
    peak_kib: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().map_or(Ok(default), |text| text.parse::<u64>().with_context(|| name.to_owned()))
    };
    let plan = Plan {
        messages: number("HEARTHGATE_BENCH_MESSAGES", 200_000)?,
        rounds: usize::try_from(number("HEARTHGATE_BENCH_ROUNDS", 5)?)?,
    };
    println!("{} messages of 60 bytes at QoS 1 a run, median of {} (least to most)", plan.messages, plan.rounds);
    let mut bare = Vec::new();
    let mut stored = Vec::new();
    let mut embedded = Vec::new();
    warm_up().await?;
    for round in 1..=plan.rounds {
        eprintln!("round {round} of {}", plan.rounds);
        let broker = Mosquitto::start();
        bare.push(bare_subscriber(broker.port, plan.messages).await?);
        stored.push(store(Some(&Mosquitto::start()), plan.messages).await?);
        embedded.push(store(None, plan.messages).await?);
    }
    let limit = report("bare subscriber, Mosquitto", &plan, &mut bare, None);
    report("STORE_DB to SQLite, Mosquitto", &plan, &mut stored, Some(limit));
    report("STORE_DB to SQLite, embedded broker", &plan, &mut embedded, Some(limit));
    Ok(())
}

async fn warm_up() -> anyhow::Result<()> {
    let broker = Mosquitto::start();
    bare_subscriber(broker.port, 20_000).await?;
    store(Some(&broker), 20_000).await?;
    Ok(())
}

/// Prints a line of the table; answers the median rate.
fn report(scenario: &str, plan: &Plan, runs: &mut [Run], limit: Option<f64>) -> f64 {
    let rate = |run: &Run| plan.messages as f64 / run.seconds;
    runs.sort_by(|a, b| rate(a).total_cmp(&rate(b)));
    let median = &runs[runs.len() / 2];
    let ratio = limit.map_or(String::new(), |limit| format!("{:.2} of the bare subscriber", rate(median) / limit));
    println!(
        "{scenario:<38} {:>8.0}/s ({:.0} to {:.0})  {:>5.2} CPU s/100,000  {:>6.1} MiB peak  {ratio}",
        rate(median),
        rate(&runs[0]),
        rate(&runs[runs.len() - 1]),
        median.cpu_seconds * 100_000.0 / plan.messages as f64,
        median.peak_kib as f64 / 1024.0,
    );
    rate(median)
}

fn options(id: &str, port: u16) -> MqttOptions {
    let mut options = MqttOptions::new(id, "127.0.0.1", port);
    options.set_inflight(2_000);
    options.set_keep_alive(Duration::from_secs(60));
    options
}

/// Receives, acknowledges, drops: what the broker can do at all.
async fn bare_subscriber(port: u16, messages: u64) -> anyhow::Result<Run> {
    let (client, mut events) = AsyncClient::new(options("bare", port), 100);
    client.subscribe(TOPIC, QoS::AtLeastOnce).await?;
    while !matches!(events.poll().await?, Event::Incoming(Packet::SubAck(_))) {}
    let publisher = publisher(port, messages);
    let since = Instant::now();
    let mut received = 0;
    while received < messages {
        ensure!(since.elapsed() < PATIENCE, "the bare subscriber got {received} of {messages} messages");
        if let Event::Incoming(Packet::Publish(_)) = events.poll().await? {
            received += 1;
        }
    }
    let seconds = since.elapsed().as_secs_f64();
    publisher.join().map_err(|_| anyhow::anyhow!("the publisher failed"))??;
    Ok(Run { seconds, cpu_seconds: 0.0, peak_kib: 0 })
}

/// From the first message to the last row committed, counted in the database.
async fn store(broker: Option<&Mosquitto>, messages: u64) -> anyhow::Result<Run> {
    let home = Home::new();
    if let Some(broker) = broker {
        home.configure(&format!("[mqtt]\nserver = \"mqtt://127.0.0.1:{}\"\n", broker.port));
    }
    let port = broker.map_or(home.mqtt, |broker| broker.port);
    let mut gateway = home.start_with(|command| {
        command.env("HEARTHGATE__LOG__LEVEL", "info");
    });
    gateway.wait_for_log(&["flows loaded"]);
    let database = Database::sqlite(home.path()).await;
    database.execute("UPDATE flows SET payload_schema = '{\"t\":\"float\",\"h\":\"float\",\"n\":\"int\"}'").await;
    gateway.signal("HUP");
    gateway.wait_for_log(&["flows reloaded"]);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = cpu_seconds(&gateway)?;
    let since = Instant::now();
    let publisher = publisher(port, messages);
    loop {
        let stored = database.number("SELECT last_msg_id FROM flows WHERE code = 'AHT10_SENSOR'").await;
        if stored >= i64::try_from(messages)? {
            break;
        }
        if since.elapsed() > PATIENCE {
            bail!("{stored} of {messages} messages were stored; log:\n{}", gateway.log());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let seconds = since.elapsed().as_secs_f64();
    publisher.join().map_err(|_| anyhow::anyhow!("the publisher failed"))??;
    let run = Run { seconds, cpu_seconds: cpu_seconds(&gateway)? - before, peak_kib: peak_kib(&gateway)? };
    let rows = database.number("SELECT COUNT(*) FROM data").await;
    ensure!(rows == i64::try_from(messages * 3)?, "void: {rows} rows for {messages} messages of 3 fields");
    Ok(run)
}

/// A load generator on a thread of its own; it ends when everything is acknowledged.
fn publisher(port: u16, messages: u64) -> std::thread::JoinHandle<anyhow::Result<()>> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let (client, mut events) = AsyncClient::new(options("publisher", port), 2_000);
            let feed = async {
                for n in 0..messages {
                    let n = 1_000_000_000 + n;
                    let payload = format!("{{\"t\":21.500000000,\"h\":65.2000000000000000000,\"n\":{n}}}");
                    client.publish(TOPIC, QoS::AtLeastOnce, false, payload).await?;
                }
                anyhow::Ok(())
            };
            let confirm = async {
                let mut confirmed = 0;
                while confirmed < messages {
                    if let Event::Incoming(Packet::PubAck(_)) = events.poll().await? {
                        confirmed += 1;
                    }
                }
                anyhow::Ok(())
            };
            tokio::try_join!(feed, confirm)?;
            Ok(())
        })
    })
}

fn cpu_seconds(gateway: &Gateway) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", gateway.pid()))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(ticks as f64 / 100.0)
}

fn peak_kib(gateway: &Gateway) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
