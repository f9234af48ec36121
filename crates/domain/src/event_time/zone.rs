//! Time zones: what a clock on the wall showed, as a point in time.

use crate::delivery::UnixMicros;
use crate::suggestion::nearest_word;
use jiff::Timestamp;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A time zone of the IANA database, whose rules are part of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventZone(TimeZone);

/// A name that no time zone has.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{name:?} is no time zone; it is a name such as \"Europe/Berlin\" or \"UTC\"{}", meant(.nearest.as_deref()))]
pub struct TimeZoneError {
    name: Box<str>,
    nearest: Option<Box<str>>,
}

fn meant(nearest: Option<&str>) -> String {
    nearest.map(|word| format!("; did you mean {word:?}?")).unwrap_or_default()
}

impl EventZone {
    /// Coordinated Universal Time.
    pub const UTC: EventZone = EventZone(TimeZone::UTC);

    /// The point in time at which a clock of this zone showed what a clock of UTC shows at `shown`. An hour that comes
    /// twice, when summer time ends, is the first one, unless the second is less than half of it from `near`. An hour that
    /// is left out, when summer time begins, is counted on from the hour before. `None` for a year that no calendar has.
    #[must_use]
    pub fn instant(&self, shown: UnixMicros, near: UnixMicros) -> Option<UnixMicros> {
        let clock = Offset::UTC.to_datetime(Timestamp::from_microsecond(shown).ok()?);
        let at = |offset: Offset| shown - i64::from(offset.seconds()) * 1_000_000;
        Some(match self.0.to_ambiguous_timestamp(clock).offset() {
            AmbiguousOffset::Unambiguous { offset } => at(offset),
            AmbiguousOffset::Gap { before, .. } => at(before),
            AmbiguousOffset::Fold { before, after } => {
                let (first, second) = (at(before), at(after));
                let is_second = near.abs_diff(second) < second.abs_diff(first) / 2;
                if is_second { second } else { first }
            }
        })
    }
}

impl FromStr for EventZone {
    type Err = TimeZoneError;

    fn from_str(name: &str) -> Result<Self, TimeZoneError> {
        let known = TimeZoneDatabase::bundled();
        known.get(name).map(EventZone).map_err(|_| {
            let names: Vec<String> = known.available().map(|name| name.to_string()).collect();
            let nearest = nearest_word(name, names.iter().map(String::as_str)).map(Into::into);
            TimeZoneError { name: name.chars().take(60).collect::<String>().into(), nearest }
        })
    }
}

impl fmt::Display for EventZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.iana_name().unwrap_or("UTC"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds since 1970 of a UTC time of day, on the day whose midnight is given.
    fn at(day: i64, hour: i64, minute: i64) -> UnixMicros {
        (day + hour * 3_600 + minute * 60) * 1_000_000
    }

    /// 2026-03-29, when summer time begins in Berlin at 01:00 UTC.
    const SPRING: i64 = 1_774_742_400;
    /// 2026-10-25, when it ends at 01:00 UTC.
    const AUTUMN: i64 = 1_792_886_400;
    const LONG_AFTER: UnixMicros = UnixMicros::MAX;

    #[test]
    fn local_times_are_converted_by_the_rules_of_their_day() {
        let berlin: EventZone = "Europe/Berlin".parse().unwrap();
        for (shown, instant) in [
            (at(SPRING, 1, 59), at(SPRING, 0, 59)),
            (at(SPRING, 3, 0), at(SPRING, 1, 0)),
            (at(AUTUMN, 1, 59), at(AUTUMN, -1, 59)),
            (at(AUTUMN, 3, 0), at(AUTUMN, 2, 0)),
        ] {
            assert_eq!(berlin.instant(shown, LONG_AFTER), Some(instant), "{shown}");
        }
        assert_eq!(EventZone::UTC.instant(at(SPRING, 2, 30), LONG_AFTER), Some(at(SPRING, 2, 30)));
        let kathmandu: EventZone = "Asia/Kathmandu".parse().unwrap();
        assert_eq!(kathmandu.instant(at(SPRING, 5, 45), LONG_AFTER), Some(at(SPRING, 0, 0)));
    }

    #[test]
    fn an_hour_that_is_left_out_counts_on_from_the_hour_before() {
        let berlin: EventZone = "europe/berlin".parse().unwrap();
        assert_eq!(berlin.instant(at(SPRING, 2, 30), LONG_AFTER), Some(at(SPRING, 1, 30)));
    }

    #[test]
    fn of_an_hour_that_comes_twice_the_first_is_meant_unless_the_message_came_in_the_second() {
        let berlin: EventZone = "Europe/Berlin".parse().unwrap();
        let shown = at(AUTUMN, 2, 30);
        let (first, second) = (at(AUTUMN, 0, 30), at(AUTUMN, 1, 30));
        for (near, meant) in [
            (first, first),
            (second, second),
            (at(AUTUMN, 1, 1), second),
            (at(AUTUMN, 0, 59), first),
            (at(AUTUMN, 2, 1), first),
            (LONG_AFTER, first),
        ] {
            assert_eq!(berlin.instant(shown, near), Some(meant), "{near}");
        }
    }

    #[test]
    fn a_name_that_no_zone_has_is_refused_with_the_nearest_one() {
        let error = "Europe/Berln".parse::<EventZone>().unwrap_err().to_string();
        assert!(error.contains("did you mean \"Europe/Berlin\"?"), "{error}");
        assert!("".parse::<EventZone>().is_err());
        assert_eq!("europe/berlin".parse::<EventZone>().unwrap().to_string(), "Europe/Berlin");
        assert_eq!("UTC".parse::<EventZone>().unwrap().to_string(), "UTC");
        assert_eq!(EventZone::UTC.instant(UnixMicros::MAX, 0), None);
    }
}
