//! What a flow makes of one message.

use super::Flow;
use crate::delivery::UnixMicros;
use crate::event_time::{EventMoment, EventZone, TimedMessage};
use crate::payload::JsonPayload;
use crate::reading::{MessageSource, ReadingProblem, RecordOutcome};
use crate::schema::SchemaViolation;
use std::borrow::Cow;

/// Whether a flow takes a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordVerdict {
    /// It fits.
    Accepted,
    /// It is passed over, and nothing is wrong; why.
    Skipped(String),
    /// It becomes a dead letter.
    Refused(ReadingProblem),
}

impl Flow {
    /// The record that a payload holds: a JSON object. Without options that say otherwise, the payload, unread.
    ///
    /// # Errors
    /// It holds none, or several, or one that is to be skipped.
    pub fn record<'a>(&self, topic: &str, payload: &'a [u8]) -> Result<Cow<'a, [u8]>, ReadingProblem> {
        let Some(reading) = &self.reading else { return Ok(Cow::Borrowed(payload)) };
        match reading.read(&self.source(topic, payload))? {
            RecordOutcome::Record(record) => Ok(Cow::Owned(record.into_bytes())),
            RecordOutcome::Skipped(reason) => Err(ReadingProblem { pointer: String::new(), reason }),
        }
    }

    /// What a message is to others, unless a template says: its record where the options make one, else its payload.
    ///
    /// # Errors
    /// As [`Flow::record`].
    pub fn outgoing<'a>(&self, topic: &str, payload: &'a [u8]) -> Result<Cow<'a, [u8]>, ReadingProblem> {
        match self.reading.as_ref().is_some_and(|reading| reading.makes_record()) {
            true => self.record(topic, payload),
            false => Ok(Cow::Borrowed(payload)),
        }
    }

    /// Reads and checks the one record of a payload.
    #[must_use]
    pub fn judge(&self, topic: &str, payload: &[u8]) -> RecordVerdict {
        let refuse = |problem: ReadingProblem| match &self.reading {
            Some(reading) if reading.skips_unfit() => RecordVerdict::Skipped(format!("unfit: {problem}")),
            Some(_) | None => RecordVerdict::Refused(problem),
        };
        let source = self.source(topic, payload);
        let checked = match &self.reading {
            Some(reading) => match reading.admit(&source) {
                Ok(RecordOutcome::Record(record)) => self.check(topic, payload, record.as_bytes()),
                Ok(RecordOutcome::Skipped(reason)) => return RecordVerdict::Skipped(reason),
                Err(problem) => Err(problem),
            },
            None => self.check(topic, payload, payload),
        };
        checked.map_or_else(refuse, |()| RecordVerdict::Accepted)
    }

    /// A message as the reading wants it.
    #[must_use]
    pub fn source<'a>(&'a self, topic: &'a str, payload: &'a [u8]) -> MessageSource<'a> {
        MessageSource { flow_code: &self.code, topic, captures: self.topic.captures(topic).collect(), payload }
    }

    /// Checks the record of a payload: against the schema, and whether it has the time that it needs.
    ///
    /// # Errors
    /// What does not fit.
    pub fn check_record(&self, topic: &str, payload: &[u8], record: &JsonPayload<'_>) -> Result<(), ReadingProblem> {
        self.schema.validate(record).map_err(|violations| ReadingProblem::of_violations(&violations))?;
        if self.event_time.as_ref().is_some_and(|time| time.refuses()) {
            // In whatever zone it is read, and whenever it came.
            self.event_time(topic, payload, record, 0, &EventZone::UTC)?;
        }
        Ok(())
    }

    /// The time of a record's event. It came at `received_at`; a time without an offset is of `zone`, unless the flow names
    /// another.
    ///
    /// # Errors
    /// There is none that can be read, and the flow refuses such messages.
    pub fn event_time(
        &self,
        topic: &str,
        payload: &[u8],
        record: &JsonPayload<'_>,
        received_at: UnixMicros,
        zone: &EventZone,
    ) -> Result<EventMoment, ReadingProblem> {
        let Some(time) = &self.event_time else { return Ok(EventMoment::default()) };
        let message = TimedMessage { source: self.source(topic, payload), record, received_at };
        time.read(&message, self.reading.as_deref(), zone)
    }

    fn check(&self, topic: &str, payload: &[u8], record: &[u8]) -> Result<(), ReadingProblem> {
        self.check_record(topic, payload, &JsonPayload::parse(record)?)
    }
}

impl ReadingProblem {
    /// All violations in one sentence, with the place of the first.
    #[must_use]
    pub fn of_violations(violations: &[SchemaViolation]) -> Self {
        let pointer = violations.first().map(|violation| violation.pointer.clone()).unwrap_or_default();
        let reasons: Vec<String> = violations.iter().map(ToString::to_string).collect();
        ReadingProblem { pointer, reason: reasons.join("; ") }
    }
}
