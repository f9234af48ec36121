//! Lengths of time as people write them: `500ms`, `5s`, `2m`, `1h30m`, `1.5h`, `7d`.

use serde::Serialize;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use thiserror::Error;

/// A length of time with whole milliseconds, at most a hundred years: what can be added to any clock without overflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(into = "String")]
pub struct BoundedDuration(Duration);

/// A text that is no length of time.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SpanError {
    /// It is none at all, or has parts of a millisecond.
    #[error("expected a duration such as \"5s\", \"500ms\" or \"1h30m\", found {0:?}")]
    Malformed(Box<str>),
    /// It is longer than a hundred years.
    #[error("the duration {0:?} is too long; at most 36500d")]
    TooLong(Box<str>),
}

/// Units, in milliseconds.
const UNITS: [(&str, u64); 8] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("min", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
    ("w", 604_800_000),
    ("y", 365 * 86_400_000),
];
/// Those that are written, the longest first.
const WRITTEN: [&str; 5] = ["d", "h", "m", "s", "ms"];
/// In milliseconds.
const LONGEST: u64 = 36_500 * 86_400_000;

impl BoundedDuration {
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

/// A length of time as a person says it, in its two largest units: `80 ms`, `23 s`, `2 min 3 s`, `3 d 4 h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundedDuration(pub Duration);

impl fmt::Display for RoundedDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < Duration::from_secs(1) {
            return write!(f, "{} ms", self.0.as_millis());
        }
        let seconds = (self.0 + Duration::from_millis(500)).as_secs();
        let (large, unit, small, below) = match seconds {
            0..60 => return write!(f, "{seconds} s"),
            60..3_600 => (seconds / 60, "min", seconds % 60, "s"),
            3_600..86_400 => (seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
            _ => (seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
        };
        match small {
            0 => write!(f, "{large} {unit}"),
            _ => write!(f, "{large} {unit} {small} {below}"),
        }
    }
}

impl<'de> Deserialize<'de> for BoundedDuration {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = BoundedDuration;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"5s\", \"500ms\" or \"1h30m\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<BoundedDuration, E> {
                text.parse().map_err(E::custom)
            }
        }
        from.deserialize_str(Text)
    }
}

impl FromStr for BoundedDuration {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let malformed = || SpanError::Malformed(text.into());
        let mut rest = text.trim();
        let mut total = Some(0_u64);
        if rest.is_empty() {
            return Err(malformed());
        }
        while !rest.is_empty() {
            let (number, after) = rest.split_at(count(rest, |byte| byte.is_ascii_digit() || byte == b'.'));
            let after = after.trim_start();
            let (unit, after) = after.split_at(count(after, |byte| byte.is_ascii_alphabetic()));
            let part = millis(number, factor(unit).ok_or_else(malformed)?).ok_or_else(malformed)?;
            total = part.zip(total).and_then(|(part, total)| total.checked_add(part));
            rest = after.trim_start();
        }
        let total = total.filter(|millis| *millis <= LONGEST).ok_or_else(|| SpanError::TooLong(text.into()))?;
        Ok(Self(Duration::from_millis(total)))
    }
}

/// How many bytes at the front are of a kind.
fn count(text: &str, is_of: impl Fn(u8) -> bool) -> usize {
    text.bytes().take_while(|byte| is_of(*byte)).count()
}

fn factor(unit: &str) -> Option<u64> {
    UNITS.iter().find(|(name, _)| *name == unit).map(|(_, millis)| *millis)
}

/// A number with or without a fraction, in milliseconds: `None` when it is no number or leaves a part of one,
/// `Some(None)` when it is too large to count.
fn millis(number: &str, factor: u64) -> Option<Option<u64>> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(fraction) || !is_number(whole) || whole.len() + fraction.len() == 0 {
        return None;
    }
    let mut millis = if whole.is_empty() { Some(0) } else { whole.parse().ok() };
    millis = millis.and_then(|whole: u64| whole.checked_mul(factor));
    let fraction = fraction.trim_end_matches('0');
    let scale = 10_u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = if fraction.is_empty() { 0 } else { fraction.parse::<u64>().ok()?.checked_mul(factor)? };
    if !part.is_multiple_of(scale) {
        return None;
    }
    Some(millis.and_then(|millis| millis.checked_add(part / scale)))
}

impl fmt::Display for BoundedDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if left == 0 {
            return f.write_str("0s");
        }
        for (unit, length) in WRITTEN.iter().filter_map(|unit| Some((unit, factor(unit)?))) {
            if left >= length {
                write!(f, "{}{unit}", left / length)?;
                left %= length;
            }
        }
        Ok(())
    }
}

impl From<BoundedDuration> for String {
    fn from(span: BoundedDuration) -> String {
        span.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_is_said_in_its_two_largest_units() {
        let said = |millis| RoundedDuration(Duration::from_millis(millis)).to_string();
        let millis = [80, 22_600, 59_700, 123_000, 3_600_000, 3_660_000, 273_600_000];
        let expected = ["80 ms", "23 s", "1 min", "2 min 3 s", "1 h", "1 h 1 min", "3 d 4 h"];
        assert_eq!(millis.map(said), expected);
    }

    #[test]
    fn lengths_of_time_are_read_and_written_alike() {
        for (text, millis) in
            [("0s", 0), ("500ms", 500), ("5s", 5_000), ("2m", 120_000), ("1h", 3_600_000), ("3d", 259_200_000)]
        {
            let span: BoundedDuration = text.parse().unwrap();
            assert_eq!(span.duration(), Duration::from_millis(millis));
            assert_eq!(span.to_string(), text);
        }
        for (text, written) in [
            ("1h30m", "1h30m"),
            ("90m", "1h30m"),
            ("1m 500ms", "1m500ms"),
            ("3600s", "1h"),
            ("2w", "14d"),
            ("2 min", "2m"),
        ] {
            assert_eq!(text.parse::<BoundedDuration>().unwrap().to_string(), written);
        }
        for (text, millis) in [("0.5s", 500), ("1.5h", 5_400_000), (".25s", 250), ("1.s", 1_000), ("1.0010s", 1_001)] {
            assert_eq!(text.parse::<BoundedDuration>().unwrap().duration(), Duration::from_millis(millis), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "5",
            "s",
            ".s",
            "1h30",
            "-5s",
            "1..5s",
            "1.5.5s",
            "5S",
            "5 parsecs",
            "1e9s",
            "0.5ms",
            "1.0001s",
            "٣s",
            "5s,",
            "0.00000000000000000000000001s",
        ] {
            assert!(matches!(text.parse::<BoundedDuration>(), Err(SpanError::Malformed(_))), "{text}");
        }
        for text in ["99999999999999999999s", "999999999999999999d", "36501d", "36500d 1ms"] {
            assert!(matches!(text.parse::<BoundedDuration>(), Err(SpanError::TooLong(_))), "{text}");
        }
    }
}
