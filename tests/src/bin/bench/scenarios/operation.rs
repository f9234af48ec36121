//! Starting and doing nothing.

use crate::PATIENCE;
use crate::process::Process;
use crate::report::{Figure, Round, Target};
use anyhow::ensure;
use hearthgate_tests::broker::Mosquitto;
use hearthgate_tests::gateway::{Gateway, Home};
use hearthgate_tests::http::is_ready;
use std::time::{Duration, Instant};

/// Until everything that a start leaves behind is done.
const SETTLE: Duration = Duration::from_secs(5);
const WATCH: Duration = Duration::from_secs(10);

/// From the start of the process to `/readyz` saying yes, embedded broker and SQLite.
pub(super) async fn start() -> anyhow::Result<Vec<Figure>> {
    let home = Home::new();
    let target = Some(Target::AtMost(150.0));
    let mut figures = Vec::new();
    for name in ["start to ready, tables to be made", "start to ready"] {
        let (gateway, time) = ready(&home).await?;
        let (status, log) = gateway.terminate();
        ensure!(status.success(), "the gateway ended with {status}:\n{log}");
        let mut figure = Figure::new(name, "ms", target);
        figure.rounds.push(Round::of(time.as_secs_f64() * 1e3));
        figures.push(figure);
    }
    Ok(figures)
}

async fn ready(home: &Home) -> anyhow::Result<(Gateway, Duration)> {
    let since = Instant::now();
    let gateway = home.start();
    // Until it listens there is nobody to ask.
    while !is_ready(home.http) {
        ensure!(since.elapsed() < PATIENCE, "it does not become ready:\n{}", gateway.log());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok((gateway, since.elapsed()))
}

pub(super) async fn idle() -> anyhow::Result<Vec<Figure>> {
    let broker = Mosquitto::start();
    let away = Home::new();
    away.configure(&format!("[mqtt]\nserver = \"mqtt://127.0.0.1:{}\"\n", broker.port));
    let mut figures = watch(&away, "Mosquitto", 20.0).await?;
    figures.extend(watch(&Home::new(), "embedded broker", 30.0).await?);
    Ok(figures)
}

async fn watch(home: &Home, with: &str, most_mb: f64) -> anyhow::Result<Vec<Figure>> {
    let (gateway, _) = ready(home).await?;
    let process = Process(gateway.pid());
    tokio::time::sleep(SETTLE).await;
    let (cpu, wake_ups) = (process.cpu_seconds()?, process.wake_ups()?);
    tokio::time::sleep(WATCH).await;
    let (cpu, wake_ups) = (process.cpu_seconds()? - cpu, process.wake_ups()? - wake_ups);
    let mut memory = Figure::new(format!("idle, {with}, resident"), "MB", Some(Target::AtMost(most_mb)));
    memory.rounds.push(Round::of(process.resident_mb()?));
    // One tick of the kernel's count in ten seconds.
    let mut processor = Figure::new(format!("idle, {with}, CPU in {WATCH:?}"), "ms", Some(Target::AtMost(10.0)));
    processor.rounds.push(Round::of(cpu * 1e3));
    let mut woken = Figure::new(format!("idle, {with}, threads woken"), "/s", None);
    woken.rounds.push(Round::of(wake_ups as f64 / WATCH.as_secs_f64()));
    Ok(vec![memory, processor, woken])
}
