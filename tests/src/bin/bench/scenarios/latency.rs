//! Latency at a fixed rate: from the receipt to the committed row, and from the publisher to the device.

use super::readings;
use crate::load::{self, Load};
use crate::report::{Figure, Round, Target};
use crate::subject::{FarEnd, Setup, Subject, flow};
use crate::tap::Tap;
use crate::{PATIENCE, Plan};
use anyhow::{Context, ensure};
use hearthgate_tests::broker::Mosquitto;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const TOPIC: &str = "bench/latency";

pub(super) async fn round(plan: &Plan) -> anyhow::Result<Vec<Figure>> {
    let broker = Mosquitto::start();
    let (rate, messages) = (plan.rate, plan.messages / 4);
    let mut figures = Vec::new();
    let rows = to_row(plan, &broker, messages).await?;
    figures.extend(shown(&format!("receipt to committed row at {rate}/s"), rows, Some(25.0))?);
    let tap = Tap::start(broker.port)?;
    let commands = to_device(plan, Some(&broker), Some(&tap), messages).await?;
    figures.extend(shown(&format!("receipt to device at {rate}/s, Mosquitto"), commands, Some(2.0))?);
    let commands = to_device(plan, Some(&broker), None, messages).await?;
    figures.extend(shown(&format!("publisher to device at {rate}/s, Mosquitto"), commands, None)?);
    let commands = to_device(plan, None, None, messages).await?;
    figures.extend(shown(&format!("publisher to device at {rate}/s, embedded"), commands, Some(2.0))?);
    Ok(figures)
}

/// p50, p99 and p99.9 of latencies in microseconds; a target is the p99's.
fn shown(name: &str, mut micros: Vec<i64>, p99_at_most: Option<f64>) -> anyhow::Result<Vec<Figure>> {
    ensure!(!micros.is_empty(), "no latencies");
    micros.sort_unstable();
    let figure = |(quantile, words, target): (f64, &str, Option<Target>)| {
        let mut figure = Figure::new(format!("{name}, {words}"), "ms", target);
        let at = ((micros.len() as f64 * quantile) as usize).min(micros.len() - 1);
        figure.rounds.push(Round::of(micros[at] as f64 / 1e3));
        figure
    };
    let target = p99_at_most.map(Target::AtMost);
    Ok([(0.5, "p50", None), (0.99, "p99", target), (0.999, "p99.9", None)].map(figure).into())
}

/// From `received_at` to the first look at the database that shows the message's number; the looks are 1 ms apart, so
/// the truth is up to that much better.
async fn to_row(plan: &Plan, broker: &Mosquitto, messages: u64) -> anyhow::Result<Vec<i64>> {
    let flows = vec![flow("BENCH", TOPIC, "STORE_DB", "")];
    let subject =
        Subject::start(Setup { broker: Some(broker), tap: None, database: None, toml: String::new(), flows }).await?;
    let load =
        |messages, rate| Load { port: broker.port, messages, qos: 1, rate, content: readings(TOPIC, plan.payload) };
    let far_end = FarEnd::flow("BENCH");
    subject.warm_up(&far_end, messages, |messages| load(messages, None)).await?;
    let before = subject.quiet(&far_end).await?;
    let publisher = load::publish(load(messages, Some(plan.rate)));
    let since = Instant::now();
    let mut looks: Vec<(u64, i64)> = Vec::new();
    let mut stored = before;
    while stored < before + messages {
        ensure!(since.elapsed() < PATIENCE, "void: {} of {messages} messages arrived", stored - before);
        let count = subject.database.number("SELECT last_msg_id FROM flows WHERE code = 'BENCH'").await.unsigned_abs();
        if count > stored {
            stored = count;
            looks.push((count, micros(SystemTime::now())?));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    load::join(publisher)?;
    let query = format!(
        "SELECT last_msg_id || ' ' || (CAST(strftime('%s', received_at) AS INTEGER) * 1000000 \
         + CAST(substr(received_at, 21, 6) AS INTEGER)) \
         FROM data WHERE flow_code = 'BENCH' AND attribute_name = 'n' AND last_msg_id > {before} ORDER BY last_msg_id"
    );
    let mut latencies = Vec::with_capacity(messages as usize);
    let mut look = looks.iter();
    let mut current = look.next().context("no look")?;
    for row in subject.database.texts(&query).await? {
        let (number, received_at) = row.split_once(' ').context("a number and a time")?;
        let (number, received_at): (u64, i64) = (number.parse()?, received_at.parse()?);
        while current.0 < number {
            current = look.next().context("no look")?;
        }
        latencies.push(current.1 - received_at);
    }
    ensure!(latencies.len() as u64 == messages, "void: {} rows of {messages} messages", latencies.len());
    Ok(latencies)
}

fn micros(time: SystemTime) -> anyhow::Result<i64> {
    Ok(i64::try_from(time.duration_since(UNIX_EPOCH)?.as_micros())?)
}

/// To the line that the device reads: from the publisher's write, so with what the broker takes, or from the time that a
/// tap tells, just before the message is written to the gateway's socket.
async fn to_device(
    plan: &Plan,
    broker: Option<&Mosquitto>,
    tap: Option<&Tap>,
    messages: u64,
) -> anyhow::Result<Vec<i64>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let toml = format!(
        r#"
[interfaces.device]
kind = "tcp"
root = "home"
topics = ["home/#"]
address = "{}"
[interfaces.device.frame]
delimiter = "\n"
[[interfaces.device.send]]
action = "light_on"
write = "{{n}}\n"
"#,
        listener.local_addr()?
    );
    let subject = Subject::start(Setup { broker, tap, database: None, toml, flows: Vec::new() }).await?;
    let (device, _) = listener.accept().context("waiting for the gateway")?;
    let payload = plan.payload;
    let load = |messages| Load {
        port: subject.port,
        messages,
        qos: 1,
        rate: Some(plan.rate),
        content: Box::new(move |number, topic, bytes| {
            topic.push_str("home/lighting//kitchen/lamp/panel/C");
            load::command(number, payload, bytes);
        }),
    };
    subject.warm_up(&FarEnd::Interfaces, messages, load).await?;
    subject.quiet(&FarEnd::Interfaces).await?;
    let device = device_lines(&device, messages)?;
    let sent = load::join(load::publish(load(messages)))?;
    let arrived = load::join(device)?;
    let sent = tap.map_or(Ok(sent), |tap| tap.receipts(messages))?;
    Ok(sent.iter().zip(arrived).map(|(sent, arrived)| arrived.duration_since(*sent).as_micros() as i64).collect())
}

/// When the line of each message came; what came before is passed over.
fn device_lines(
    device: &std::net::TcpStream,
    messages: u64,
) -> anyhow::Result<std::thread::JoinHandle<anyhow::Result<Vec<Instant>>>> {
    // What was said while everything warmed up.
    let mut old = [0; 65_536];
    device.set_nonblocking(true)?;
    while matches!(std::io::Read::read(&mut &*device, &mut old), Ok(1..)) {}
    device.set_nonblocking(false)?;
    device.set_read_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(device.try_clone()?);
    Ok(std::thread::spawn(move || {
        let mut times = Vec::with_capacity(messages as usize);
        let mut line = Vec::new();
        while (times.len() as u64) < messages {
            line.clear();
            lines.read_until(b'\n', &mut line)?;
            let number = load::number_at(&line);
            ensure!(number == Some(times.len() as u64), "void: message {number:?} came in place {}", times.len());
            times.push(Instant::now());
        }
        Ok(times)
    }))
}
