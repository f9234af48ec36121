//! One line of the log that comes again and again: what is its cause, how often it came, and when that is told.

use hearthgate_domain::duration::RoundedDuration;
use std::fmt;
use std::time::{Duration, Instant};
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// Fields that tell of one message or one attempt, and are no part of a cause.
const OF_ONE: [&str; 7] = ["attempt", "retry_in", "seq", "letter", "count", "bytes", "pause"];
/// What goes on is told at least so often.
const HOUR: Duration = Duration::from_secs(3_600);

/// A line as it is logged, with what it has in common with others of its cause.
#[derive(Default)]
pub(super) struct LineText {
    line: String,
    fields: String,
    cause: String,
    topic: String,
    has_reason: bool,
}

impl LineText {
    pub(super) fn of(event: &Event<'_>) -> Self {
        let mut text = LineText::default();
        event.record(&mut text);
        text
    }

    /// A line with a reason is about that reason, whatever topic it came by.
    pub(super) fn cause(&self) -> (&str, &str, &str) {
        (&self.line, &self.cause, if self.has_reason { "" } else { &self.topic })
    }

    pub(super) fn into_line(self) -> String {
        self.line + &self.fields
    }
}

impl Visit for LineText {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let name = field.name();
        if name == "message" {
            self.line = format!("{value:?}");
            return;
        }
        let text = format!(" {name}={value:?}");
        self.fields.push_str(&text);
        self.has_reason |= name == "reason";
        match name {
            "topic" => self.topic = text,
            _ if OF_ONE.contains(&name) => {}
            _ => self.cause.push_str(&text),
        }
    }
}

/// How often a cause has come since it began.
pub(super) struct RepeatCounts {
    level: Level,
    text: String,
    first: Instant,
    last: Instant,
    count: u64,
    /// The count that was told last, and when.
    told: u64,
    told_at: Instant,
}

/// A line with its count.
pub(super) struct RepeatedLine {
    pub(super) level: Level,
    text: String,
    count: u64,
    span: Duration,
}

impl RepeatCounts {
    pub(super) fn begin(level: Level, text: String, now: Instant) -> Self {
        RepeatCounts { level, text, first: now, last: now, count: 1, told: 1, told_at: now }
    }

    /// It came again. Answers a line the 10th, 100th, 1000th, … time.
    pub(super) fn repeat(&mut self, now: Instant) -> Option<RepeatedLine> {
        self.count += 1;
        self.last = now;
        let is_power = self.count >= 10 && 10_u64.pow(self.count.ilog10()) == self.count;
        is_power.then(|| self.tell(now))
    }

    pub(super) fn has_ended(&self, now: Instant, quiet: Duration) -> bool {
        now.saturating_duration_since(self.last) >= quiet
    }

    pub(super) fn is_held_back(&self) -> bool {
        self.count > self.told
    }

    /// What nobody was told yet, at the end.
    pub(super) fn summary(mut self) -> Option<RepeatedLine> {
        self.is_held_back().then(|| self.tell(self.last))
    }

    pub(super) fn hourly(&mut self, now: Instant) -> Option<RepeatedLine> {
        let is_due = self.is_held_back() && now.saturating_duration_since(self.told_at) >= HOUR;
        is_due.then(|| self.tell(now))
    }

    /// When something is to be told of it, if it does not come again before.
    pub(super) fn due(&self, quiet: Duration) -> Option<Instant> {
        self.is_held_back().then(|| (self.last + quiet).min(self.told_at + HOUR))
    }

    fn tell(&mut self, now: Instant) -> RepeatedLine {
        self.told = self.count;
        self.told_at = now;
        let span = self.last.saturating_duration_since(self.first);
        RepeatedLine { level: self.level, text: self.text.clone(), count: self.count, span }
    }
}

impl fmt::Display for RepeatedLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} … {} times in {}", self.text, self.count, RoundedDuration(self.span))
    }
}
