//! What a flow makes of one message.

use super::Flow;
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
            Some(reading) => match reading.key(&source).and_then(|_| reading.read(&source)) {
                Ok(RecordOutcome::Record(record)) => self.check(record.as_bytes()),
                Ok(RecordOutcome::Skipped(reason)) => return RecordVerdict::Skipped(reason),
                Err(problem) => Err(problem),
            },
            None => self.check(payload),
        };
        checked.map_or_else(refuse, |()| RecordVerdict::Accepted)
    }

    /// A message as the reading wants it.
    #[must_use]
    pub fn source<'a>(&'a self, topic: &'a str, payload: &'a [u8]) -> MessageSource<'a> {
        MessageSource { flow_code: &self.code, topic, captures: self.topic.captures(topic).collect(), payload }
    }

    fn check(&self, record: &[u8]) -> Result<(), ReadingProblem> {
        let record = JsonPayload::parse(record)?;
        self.schema.validate(&record).map_err(|violations| ReadingProblem::of_violations(&violations))
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
