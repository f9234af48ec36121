//! Values that carry their unit or their rule: durations, sizes, addresses, URLs.

use hearthgate_domain::duration::{BoundedDuration, SpanError};
use hearthgate_domain::event_time::{EventZone, TimeZoneError};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;
use thiserror::Error;

/// Implements `Deserialize` and `JsonSchema` for a type that is written as text and read by `FromStr`.
macro_rules! read_from_text {
    ($type:ty, $name:literal, $expected:literal, $schema:tt) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                from.deserialize_str(Text)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}
pub(crate) use read_from_text;

/// A length of time, written as `"500ms"`, `"5s"`, `"1h30m"`, `"7d"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DurationText(pub Duration);

impl DurationText {
    /// For settings where zero means never.
    #[must_use]
    pub fn unless_zero(self) -> Option<Duration> {
        (!self.0.is_zero()).then_some(self.0)
    }
}

impl FromStr for DurationText {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        text.parse().map(|span: BoundedDuration| Self(span.duration()))
    }
}

impl From<DurationText> for Duration {
    fn from(period: DurationText) -> Duration {
        period.0
    }
}

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        BoundedDuration::new(self.0).fmt(f)
    }
}

read_from_text!(DurationText, "Duration", "a duration such as \"5s\", \"500ms\" or \"1h30m\"", {
    "type": "string",
    "pattern": "^\\s*([0-9.]+\\s*(ms|s|m|min|h|d|w)\\s*)+$",
    "examples": ["500ms", "5s", "1h30m", "7d"]
});

/// A number of bytes, written as `"64KiB"`, `"16MiB"`, `"1GB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// The size as a count for buffers in memory; saturates on 32-bit machines.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// A text that is no number of bytes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ByteSizeError {
    /// It has no unit that we know, or no number before it.
    #[error("expected a size such as \"64KiB\", \"16MiB\" or \"1GiB\", found \"{0}\"")]
    Malformed(Box<str>),
    /// It is 2^60 bytes or more.
    #[error("the size \"{0}\" is too large")]
    TooLarge(Box<str>),
}

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, ByteSizeError> {
        let wrong = || ByteSizeError::Malformed(text.into());
        let (number, unit) = leading_number(text.trim()).ok_or_else(wrong)?;
        let factor: u64 = match unit {
            "B" => 1,
            "kB" | "KB" => 1000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            _ => return Err(wrong()),
        };
        let bytes = number * factor as f64;
        if bytes >= (1_u64 << 60) as f64 {
            return Err(ByteSizeError::TooLarge(text.into()));
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked: 0 to 2^60")]
        Ok(Self(bytes as u64))
    }
}

fn leading_number(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest.trim_start()))
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
            if self.0 >= 1 << shift && self.0.is_multiple_of(1 << shift) {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}B", self.0)
    }
}

read_from_text!(ByteSize, "Size", "a size such as \"64KiB\", \"16MiB\" or \"1GiB\"", {
    "type": "string",
    "pattern": "^\\s*[0-9.]+\\s*(B|kB|KB|MB|GB|KiB|MiB|GiB|TiB)$",
    "examples": ["64KiB", "16MiB", "1GiB"]
});

/// An address and port to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAddress(pub SocketAddr);

impl ListenAddress {
    /// Whether two listeners can't be open at the same time. An unspecified address takes all of this machine.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        let takes_all = self.0.ip().is_unspecified() || other.0.ip().is_unspecified();
        self.0.port() != 0 && self.0.port() == other.0.port() && (takes_all || self.0.ip() == other.0.ip())
    }
}

/// A text that is no address with a port.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("expected an IP address and a port such as \"127.0.0.1:1883\" or \"[::]:1883\", found \"{0}\"")]
pub struct ListenAddressError(Box<str>);

impl FromStr for ListenAddress {
    type Err = ListenAddressError;

    fn from_str(text: &str) -> Result<Self, ListenAddressError> {
        let text = text.trim();
        let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        numeric.as_deref().unwrap_or(text).parse().map(Self).map_err(|_| ListenAddressError(text.into()))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

read_from_text!(ListenAddress, "Listen", "an IP address and a port such as \"127.0.0.1:1883\"", {
    "type": "string",
    "examples": ["127.0.0.1:1883", "[::]:1883"]
});

/// A time zone, by its name in the IANA database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeZoneName(pub EventZone);

impl FromStr for TimeZoneName {
    type Err = TimeZoneError;

    fn from_str(name: &str) -> Result<Self, TimeZoneError> {
        name.parse().map(Self)
    }
}

read_from_text!(TimeZoneName, "TimeZone", "a time zone such as \"Europe/Berlin\"", {
    "type": "string",
    "examples": ["UTC", "Europe/Berlin"]
});

/// On, off, or decided by the rest of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoSwitch {
    /// Always on.
    On,
    /// Always off.
    Off,
    /// On when something else needs it.
    Auto,
}

impl<'de> Deserialize<'de> for AutoSwitch {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct BoolOrAuto;
        impl Visitor<'_> for BoolOrAuto {
            type Value = AutoSwitch;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or \"auto\"")
            }
            fn visit_bool<E: de::Error>(self, on: bool) -> Result<AutoSwitch, E> {
                Ok(if on { AutoSwitch::On } else { AutoSwitch::Off })
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<AutoSwitch, E> {
                match text {
                    "true" => Ok(AutoSwitch::On),
                    "false" => Ok(AutoSwitch::Off),
                    "auto" => Ok(AutoSwitch::Auto),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }
        }
        from.deserialize_any(BoolOrAuto)
    }
}

impl JsonSchema for AutoSwitch {
    fn schema_name() -> Cow<'static, str> {
        "Switch".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"enum": [true, false, "auto"]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_size_without_a_unit_is_refused() {
        for text in ["", "5", "MiB", "5 mib", "-1MiB", "99999999TiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text:?} was accepted");
        }
        assert_eq!("1.5KiB".parse::<ByteSize>().unwrap(), ByteSize(1536));
    }

    #[test]
    fn localhost_is_an_address_to_listen_on_and_a_host_name_is_not() {
        assert_eq!("localhost:1883".parse::<ListenAddress>().unwrap().0.port(), 1883);
        assert!("broker.home:1883".parse::<ListenAddress>().is_err());
        assert!("127.0.0.1".parse::<ListenAddress>().is_err());
    }

    proptest! {
        #[test]
        fn a_printed_duration_reads_back(millis in 0_u64..10_000_000_000) {
            let period = DurationText(Duration::from_millis(millis));
            let back = period.to_string().parse::<DurationText>().unwrap().0;
            prop_assert_eq!(back, period.0);
        }

        #[test]
        fn a_printed_size_reads_back(bytes in 0_u64..1 << 50) {
            prop_assert_eq!(ByteSize(bytes).to_string().parse::<ByteSize>().unwrap(), ByteSize(bytes));
        }

        #[test]
        fn no_text_makes_a_value_panic(text in ".*") {
            let read = (text.parse::<DurationText>(), text.parse::<ByteSize>(), text.parse::<ListenAddress>());
            prop_assert!(format!("{read:?}").len() > 1, "it has a debug form");
        }
    }
}
