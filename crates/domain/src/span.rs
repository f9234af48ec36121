//! Lengths of time as people write them: `500ms`, `5s`, `2m`, `1h30m`, `1d`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use thiserror::Error;

/// A length of time with whole milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Span(Duration);

/// A text that is no length of time.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is no length of time; write whole numbers with ms, s, m, h or d, such as \"30s\" or \"1h30m\"")]
pub struct SpanError {
    text: Box<str>,
}

/// Units, the longest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Span {
    /// From a duration; what is below a millisecond is cut off.
    #[must_use]
    pub const fn new(duration: Duration) -> Self {
        Self(Duration::from_millis(duration.as_millis() as u64))
    }

    /// As a duration.
    #[must_use]
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let error = || SpanError { text: text.into() };
        let mut rest = text.trim();
        let mut total = Some(0_u64).filter(|_| !rest.is_empty());
        while !rest.is_empty() {
            let (number, after) = rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count());
            let (unit, after) = after.split_at(after.bytes().take_while(u8::is_ascii_alphabetic).count());
            let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(error)?;
            let number: u64 = number.parse().map_err(|_| error())?;
            total = number.checked_mul(*millis).zip(total).and_then(|(part, total)| total.checked_add(part));
            rest = after.trim_start();
        }
        total.map(|millis| Self(Duration::from_millis(millis))).ok_or_else(error)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis() as u64;
        let whole = UNITS.iter().find(|(_, unit)| millis > 0 && millis.is_multiple_of(*unit));
        let (name, unit) = whole.unwrap_or(&("s", 1_000));
        write!(f, "{}{name}", millis / unit)
    }
}

impl From<Span> for String {
    fn from(span: Span) -> String {
        span.to_string()
    }
}

impl TryFrom<String> for Span {
    type Error = SpanError;

    fn try_from(text: String) -> Result<Self, SpanError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_and_written_alike() {
        for (text, millis) in
            [("0s", 0), ("500ms", 500), ("5s", 5_000), ("2m", 120_000), ("1h", 3_600_000), ("3d", 259_200_000)]
        {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.duration(), Duration::from_millis(millis));
            assert_eq!(span.to_string(), text);
        }
        assert_eq!("1h30m".parse::<Span>().unwrap().to_string(), "90m");
        assert_eq!("1m 500ms".parse::<Span>().unwrap().duration(), Duration::from_millis(60_500));
        assert_eq!("90s".parse::<Span>().unwrap().to_string(), "90s");
        assert_eq!("3600s".parse::<Span>().unwrap().to_string(), "1h");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in
            ["", "5", "s", "5 s", "1h30", "-5s", "1.5s", "5S", "5min", "99999999999999999999s", "999999999999999999d"]
        {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
