//! What a run has shown, and the table of several.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

/// Of a run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// In words.
    pub plan: String,
    /// For the same again.
    pub seed: u64,
    /// Messages handed to the publisher.
    pub sent: u64,
    /// To the publisher, by its broker.
    pub acknowledged: u64,
    /// By Mosquitto, with our session, before we had acknowledged them.
    pub forgotten: u64,
    /// Times that a message came again, from the publisher to the embedded broker or from Mosquitto to the gateway.
    pub redelivered: u64,
    /// Messages in the database.
    pub stored: usize,
    /// Distinct webhook-ids answered with 200.
    pub delivered: usize,
    /// Calls with a webhook-id that had been answered with 200 before.
    pub repeated_calls: usize,
    /// Messages that the subscriber has received, with repetitions.
    pub received: usize,
    /// Messages that a flow was to publish, and that the subscriber has not.
    pub published_lost: usize,
    /// Messages that flows have held back.
    pub held_back: usize,
    /// Commands published.
    pub commands: usize,
    /// Commands that the interface's program has been given.
    pub executed: usize,
    /// Of those, the ones that it was given too late.
    pub executed_late: usize,
    /// Of those, the ones that it was given twice.
    pub executed_twice: usize,
    /// Messages that the flows' schemas refuse.
    pub dead: usize,
    /// Dead letters of messages that were good.
    pub unexpected_letters: usize,
    /// See the module `torture`.
    pub lost: usize,
    /// See the module `torture`.
    pub duplicated: usize,
    /// Stored after a message that was published later.
    pub misordered: usize,
    /// Of the gateway, not asked for and not for a full disk.
    pub unexpected_ends: usize,
    /// From `kill -9` until messages can go end to end.
    pub restarts: Times,
    /// Greatest resident memory of a gateway, in KiB.
    pub peak_kib: u64,
    /// Faults by kind.
    pub injected: BTreeMap<String, usize>,
    /// Faults that the binary could not do, or that came while nobody could be asked.
    pub skipped: BTreeMap<String, usize>,
    /// How long it took.
    pub seconds: f64,
    /// What is wrong, in words.
    pub complaints: Vec<String>,
    /// Where the gateway's folder was copied to, if something is wrong.
    pub kept: Option<PathBuf>,
}

impl Outcome {
    pub(super) fn complain(&mut self, text: String) {
        self.complaints.push(text);
    }

    /// Nothing lost, nothing twice, and nothing else to complain about.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost == 0
            && self.duplicated == 0
            && self.misordered == 0
            && self.published_lost == 0
            && self.executed_late == 0
            && self.executed_twice == 0
            && self.unexpected_ends == 0
            && self.complaints.is_empty()
    }
}

/// Median and longest of some times.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// Half of them are shorter.
    pub median: Duration,
    /// The longest.
    pub longest: Duration,
}

impl Times {
    pub(super) fn of(times: &[Duration]) -> Self {
        let mut times = times.to_vec();
        times.sort_unstable();
        Times {
            median: times.get(times.len() / 2).copied().unwrap_or_default(),
            longest: times.last().copied().unwrap_or_default(),
        }
    }
}

/// One line for each run, and below it what else is to be said.
#[must_use]
pub fn table(outcomes: &[Outcome]) -> String {
    let mut text = format!(
        "{:<30} {:>8} {:>8} {:>8} {:>9} {:>6} {:>6} {:>10} {:>9} {:>15} {:>8} {:>6}\n",
        "run",
        "sent",
        "acked",
        "stored",
        "delivered",
        "dead",
        "LOST",
        "DUPLICATED",
        "forgotten",
        "restart p50/max",
        "memory",
        "time"
    );
    for outcome in outcomes {
        let restart =
            format!("{:.2}/{:.2} s", outcome.restarts.median.as_secs_f64(), outcome.restarts.longest.as_secs_f64());
        let line = writeln!(
            text,
            "{:<30} {:>8} {:>8} {:>8} {:>9} {:>6} {:>6} {:>10} {:>9} {restart:>15} {:>4} MiB {:>4.0} s",
            outcome.plan,
            outcome.sent,
            outcome.acknowledged,
            outcome.stored,
            outcome.delivered,
            outcome.dead,
            outcome.lost,
            outcome.duplicated,
            outcome.forgotten,
            outcome.peak_kib / 1024,
            outcome.seconds,
        );
        line.expect("writing to a string");
    }
    for outcome in outcomes {
        text.push_str(&outcome.remarks());
    }
    text
}

impl Outcome {
    fn remarks(&self) -> String {
        let counts = |counts: &BTreeMap<String, usize>| {
            counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
        };
        let mut text = format!(
            "{} (seed {}): {}; {} packets came again, {} calls were repeated, {} messages held back\n  \
             {} of {} commands executed, LATE {}, TWICE {}; {} published messages received, LOST {}\n",
            self.plan,
            self.seed,
            counts(&self.injected),
            self.redelivered,
            self.repeated_calls,
            self.held_back,
            self.executed,
            self.commands,
            self.executed_late,
            self.executed_twice,
            self.received,
            self.published_lost
        );
        if !self.skipped.is_empty() {
            text.push_str(&format!(
                "  SKIPPED, not possible with this binary or at that moment: {}\n",
                counts(&self.skipped)
            ));
        }
        if self.misordered > 0 {
            text.push_str(&format!("  OUT OF ORDER: {}\n", self.misordered));
        }
        if self.unexpected_ends > 0 {
            text.push_str(&format!("  THE GATEWAY ENDED BY ITSELF: {} times\n", self.unexpected_ends));
        }
        for complaint in &self.complaints {
            text.push_str(&format!("  {complaint}\n"));
        }
        if let Some(folder) = &self.kept {
            text.push_str(&format!("  the gateway's folder is kept in {}\n", folder.display()));
        }
        text
    }
}
