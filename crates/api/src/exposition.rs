//! Figures that are read when they are asked for instead of being counted: the actors', and the process's own.

use crate::metrics::{head, sample};
use hearthgate_supervision::{ActorHealth, ActorStatus, FailureKind};
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// Clock ticks a second in `/proc/self/stat`: fixed at 100 towards programs on every Linux architecture we build for.
const TICKS: f64 = 100.0;

static STARTED: LazyLock<SystemTime> = LazyLock::new(SystemTime::now);

/// A metric without labels whose value is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExposedFigure {
    /// Begins with `hearthgate_`; a counter's ends with `_total`.
    pub name: &'static str,
    /// In a few words.
    pub help: &'static str,
    /// Its value now.
    pub value: u64,
}

/// A figure of an actor's health.
type Figure = fn(&ActorHealth) -> u64;

pub(crate) fn actors(text: &mut String, actors: &[ActorHealth]) {
    if actors.is_empty() {
        return;
    }
    let families: [(&str, &str, &str, Figure); 4] = [
        ("hearthgate_actor_up", "gauge", "1 when the actor takes messages", |h| {
            u64::from(h.status == ActorStatus::Running)
        }),
        ("hearthgate_actor_parked", "gauge", "1 when the actor failed too often and waits to be resumed", |h| {
            u64::from(h.status == ActorStatus::Parked)
        }),
        ("hearthgate_actor_unresponsive", "gauge", "1 when the actor does not take messages though it should", |h| {
            u64::from(h.status == ActorStatus::Unresponsive)
        }),
        ("hearthgate_actor_restarts_total", "counter", "starts of the actor after the first", |h| h.restarts),
    ];
    for (name, kind, help, figure) in families {
        head(text, name, kind, help);
        actors
            .iter()
            .for_each(|health| sample(text, name, &format!("actor=\"{}\"", escaped(&health.name)), figure(health)));
    }
    failures(text, actors);
}

fn failures(text: &mut String, actors: &[ActorHealth]) {
    let name = "hearthgate_actor_failures_total";
    head(text, name, "counter", "panics and errors that ended the actor, by kind: bug, dependency, resource");
    for health in actors {
        for kind in FailureKind::ALL {
            let labels = format!("actor=\"{}\",kind=\"{}\"", escaped(&health.name), kind.as_str());
            sample(text, name, &labels, health.failures.of(kind));
        }
    }
}

/// Counters are known by their names.
pub(crate) fn figures(text: &mut String, figures: &[ExposedFigure]) {
    for ExposedFigure { name, help, value } in figures {
        gauge(text, name, if name.ends_with("_total") { "counter" } else { "gauge" }, help, value);
    }
}

/// What `/proc` tells of this process; nothing where there is none.
pub(crate) fn process(text: &mut String) {
    if let Some(kib) = resident_kib() {
        gauge(text, "hearthgate_process_resident_memory_bytes", "gauge", "resident memory", kib * 1024);
    }
    if let Some(seconds) = cpu_seconds() {
        gauge(text, "hearthgate_process_cpu_seconds_total", "counter", "user and system time", seconds);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        gauge(text, "hearthgate_process_open_fds", "gauge", "open file descriptors", open.count());
    }
    let started = STARTED.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    gauge(text, "hearthgate_start_time_seconds", "gauge", "Unix time at which the API was opened", started);
}

/// To be called once at start.
pub(crate) fn note_start() {
    LazyLock::force(&STARTED);
}

fn gauge(text: &mut String, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
    head(text, name, kind, help);
    sample(text, name, "", value);
}

/// Not from `statm`, which counts in pages: their size differs between machines.
fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Fields 14 and 15 of proc(5)'s stat; the name in field 2 may hold blanks, so they are counted behind it.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS)
}

fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}
