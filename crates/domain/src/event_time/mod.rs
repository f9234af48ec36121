//! The time of an event: where a flow finds it in a message, how it is written there, and in which time zone.

mod options;
mod text;
mod zone;

pub use text::{TimeFormat, TimeUnit, WrittenTime, read_time};
pub use zone::{EventZone, TimeZoneError};

use crate::delivery::UnixMicros;
use crate::payload::{JsonPayload, RawJson};
use crate::reading::{FieldPointer, MessageSource, ReadingProblem, RecordReading};

/// Values that are shown are cut after this many characters.
const SHOWN: usize = 40;

/// How a flow reads the time of its events: the option `event_time`.
#[derive(Debug, PartialEq, Eq)]
pub struct EventTimeReading {
    source: TimeSource,
    format: TimeFormat,
    /// Of times without an offset; none for what the configuration says.
    zone: Option<EventZone>,
    unreadable: UnreadableTime,
}

#[derive(Debug, PartialEq, Eq)]
enum TimeSource {
    /// Of the record.
    Field(Box<str>),
    /// From the element, or, with `^` before it, from the payload.
    Pointer(FieldPointer),
}

/// What becomes of a message whose time can't be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum UnreadableTime {
    /// It has none.
    #[default]
    Null,
    /// That of its receipt.
    ReceivedAt,
    /// It becomes a dead letter.
    Refuse,
}

/// A message whose time is asked for.
#[derive(Clone, Debug)]
pub struct TimedMessage<'a> {
    /// The message as it came.
    pub source: MessageSource<'a>,
    /// Its record.
    pub record: &'a JsonPayload<'a>,
    /// When it came.
    pub received_at: UnixMicros,
}

/// The time of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventMoment {
    /// What is stored; none for NULL.
    pub time: Option<UnixMicros>,
    /// What is wrong with the time that the message tells.
    pub problem: Option<String>,
}

impl EventTimeReading {
    /// Whether a message without a time that can be read is a dead letter.
    #[must_use]
    pub fn refuses(&self) -> bool {
        self.unreadable == UnreadableTime::Refuse
    }

    /// The field of the record that holds the time, unless a pointer says where it is.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        match &self.source {
            TimeSource::Field(name) => Some(name),
            TimeSource::Pointer(_) => None,
        }
    }

    /// The time of a message's event. `zone` is that of times without an offset, unless the flow names another. A time that
    /// is absent or null is no problem of the message's.
    ///
    /// # Errors
    /// There is none that can be read, and the flow refuses such messages.
    pub fn read(
        &self,
        message: &TimedMessage<'_>,
        reading: Option<&RecordReading>,
        zone: &EventZone,
    ) -> Result<EventMoment, ReadingProblem> {
        let (time, problem) = match self.find(message, reading)? {
            Some(json) => match self.instant(&RawJson::parse(&json)?, message.received_at, zone) {
                Some(time) => (Some(time), None),
                None if json == "null" => (None, None),
                None => (None, Some(format!("{} is no time that can be read", shown(&json)))),
            },
            None => (None, None),
        };
        match (time, self.unreadable) {
            (Some(_), _) | (None, UnreadableTime::Null) => Ok(EventMoment { time, problem }),
            (None, UnreadableTime::ReceivedAt) => Ok(EventMoment { time: Some(message.received_at), problem }),
            (None, UnreadableTime::Refuse) => {
                let reason = problem.unwrap_or_else(|| format!("there is no time at {}", self.place()));
                Err(ReadingProblem { pointer: self.pointer_text(), reason: format!("event_time: {reason}") })
            }
        }
    }

    /// Where the time is looked for, for people.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.source {
            TimeSource::Field(name) => name.to_string(),
            TimeSource::Pointer(pointer) => pointer.to_string(),
        }
    }

    fn pointer_text(&self) -> String {
        match &self.source {
            TimeSource::Field(name) => format!("/{}", name.replace('~', "~0").replace('/', "~1")),
            TimeSource::Pointer(pointer) => pointer.pointer().to_string(),
        }
    }

    /// The value as JSON.
    fn find(
        &self,
        message: &TimedMessage<'_>,
        reading: Option<&RecordReading>,
    ) -> Result<Option<String>, ReadingProblem> {
        match (&self.source, reading) {
            (TimeSource::Field(name), _) => Ok(message.record.get(name).map(|value| value.text().to_owned())),
            (TimeSource::Pointer(pointer), Some(reading)) => reading.value_at(&message.source, pointer),
            (TimeSource::Pointer(pointer), None) => {
                Ok(pointer.pointer().find_in(message.record).map(|value| value.text().to_owned()))
            }
        }
    }

    fn instant(&self, value: &RawJson<'_>, received_at: UnixMicros, zone: &EventZone) -> Option<UnixMicros> {
        match read_time(value, self.format)? {
            WrittenTime::Instant(time) => Some(time),
            WrittenTime::Local(shown) => self.zone.as_ref().unwrap_or(zone).instant(shown, received_at),
        }
    }
}

fn shown(json: &str) -> String {
    json.chars().take(SHOWN).collect()
}

#[cfg(test)]
mod tests;
