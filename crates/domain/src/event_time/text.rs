//! Times, as devices write them into a payload.

use crate::delivery::UnixMicros;
use crate::payload::{JsonKind, RawJson};

/// A time as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrittenTime {
    /// A point in time.
    Instant(UnixMicros),
    /// What a clock on the wall showed; the point in time at which it would have shown that in UTC.
    Local(UnixMicros),
}

/// How a time is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeFormat {
    /// In any of the other ways; the size of a number says which.
    #[default]
    Auto,
    /// ISO 8601, and so RFC 3339.
    Iso8601,
    /// As in a mail.
    Rfc2822,
    /// A number since 1970-01-01T00:00:00Z.
    Since1970(TimeUnit),
}

/// What a number of a time counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    /// 10⁰ s.
    Seconds,
    /// 10⁻³ s.
    Milliseconds,
    /// 10⁻⁶ s.
    Microseconds,
    /// 10⁻⁹ s.
    Nanoseconds,
}

impl TimeFormat {
    pub(super) const NAMES: [&str; 7] =
        ["auto", "iso8601", "rfc2822", "seconds", "milliseconds", "microseconds", "nanoseconds"];

    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "auto" => TimeFormat::Auto,
            "iso8601" => TimeFormat::Iso8601,
            "rfc2822" => TimeFormat::Rfc2822,
            "seconds" => TimeFormat::Since1970(TimeUnit::Seconds),
            "milliseconds" => TimeFormat::Since1970(TimeUnit::Milliseconds),
            "microseconds" => TimeFormat::Since1970(TimeUnit::Microseconds),
            "nanoseconds" => TimeFormat::Since1970(TimeUnit::Nanoseconds),
            _ => return None,
        })
    }
}

/// Reads a time. A text is a date and a clock as ISO 8601 has them, in extended or basic form: with a `T` or a blank
/// between them, with or without seconds, fraction (point or comma) and offset (`Z`, `+01:00`, `+0100`, `+01`, also after
/// a blank); or a date alone; or a date as RFC 2822 has it. A number, which may stand in a text, is the time since
/// 1970-01-01T00:00:00Z: in seconds, milliseconds from 10¹¹ on, microseconds from 10¹⁴ on, nanoseconds from 10¹⁷ on,
/// unless the format says which. What is below a microsecond is cut off. `None`: it is none of them, or a day that does not
/// exist.
#[must_use]
pub fn read_time(value: &RawJson<'_>, format: TimeFormat) -> Option<WrittenTime> {
    match value.kind() {
        JsonKind::String => read_text(value.as_str()?.trim(), format),
        JsonKind::Integer | JsonKind::Number => read_number(value.text(), format),
        JsonKind::Null | JsonKind::Boolean | JsonKind::Array | JsonKind::Object => None,
    }
}

fn read_text(text: &str, format: TimeFormat) -> Option<WrittenTime> {
    match format {
        // Eight digits are a date: as seconds they would all be in 1970.
        TimeFormat::Auto => iso_8601(text).or_else(|| read_number(text, format)).or_else(|| rfc_2822(text)),
        TimeFormat::Iso8601 => iso_8601(text),
        TimeFormat::Rfc2822 => rfc_2822(text),
        TimeFormat::Since1970(_) => read_number(text, format),
    }
}

fn read_number(number: &str, format: TimeFormat) -> Option<WrittenTime> {
    let numeric = |byte: u8| byte.is_ascii_digit() || b".-+eE".contains(&byte);
    if !number.starts_with(|first: char| first.is_ascii_digit() || first == '-') || !number.bytes().all(numeric) {
        return None;
    }
    let unit = match format {
        TimeFormat::Auto => likely_unit(number.parse().ok()?)?,
        TimeFormat::Since1970(unit) => unit,
        TimeFormat::Iso8601 | TimeFormat::Rfc2822 => return None,
    };
    if let Ok(whole) = number.parse::<i64>() {
        return match unit {
            TimeUnit::Seconds => whole.checked_mul(1_000_000),
            TimeUnit::Milliseconds => whole.checked_mul(1_000),
            TimeUnit::Microseconds => Some(whole),
            TimeUnit::Nanoseconds => Some(whole.div_euclid(1_000)),
        }
        .map(WrittenTime::Instant);
    }
    let number: f64 = number.parse().ok()?;
    let micros = match unit {
        TimeUnit::Seconds => number * 1e6,
        TimeUnit::Milliseconds => number * 1e3,
        TimeUnit::Microseconds => number,
        TimeUnit::Nanoseconds => number / 1e3,
    };
    // A double holds 2026 in seconds to less than a microsecond, so the nearest one is meant.
    (micros.abs() < 1e18).then_some(WrittenTime::Instant(micros.round() as UnixMicros))
}

/// As seconds, 10¹¹ would be in the year 5138.
fn likely_unit(number: f64) -> Option<TimeUnit> {
    Some(match number.abs() {
        seconds if seconds < 1e11 => TimeUnit::Seconds,
        millis if millis < 1e14 => TimeUnit::Milliseconds,
        micros if micros < 1e17 => TimeUnit::Microseconds,
        nanos if nanos < 1e20 => TimeUnit::Nanoseconds,
        _ => return None,
    })
}

fn iso_8601(text: &str) -> Option<WrittenTime> {
    let (year, rest) = digits(text, 4)?;
    let (extended, rest) = after(rest, '-');
    let (month, rest) = digits(rest, 2)?;
    let rest = if extended { rest.strip_prefix('-')? } else { rest };
    let (day, rest) = digits(rest, 2)?;
    if rest.is_empty() {
        return time([year, month, day], &Clock::default());
    }
    time([year, month, day], &clock(rest.strip_prefix(['T', 't', ' '])?)?)
}

/// `Fri, 27 Nov 2026 07:56:06 +0100 (CET)`; the weekday, the seconds and the comment may be absent.
fn rfc_2822(text: &str) -> Option<WrittenTime> {
    const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let date = text.split_once(',').map_or(text, |(_, date)| date).split('(').next()?;
    let mut words = date.split_ascii_whitespace();
    let (day, month, year) = (words.next()?, words.next()?, words.next()?);
    let (day, _) = digits(day, day.len()).filter(|_| day.len() <= 2)?;
    let month = MONTHS.into_iter().zip(1..).find(|(name, _)| month.eq_ignore_ascii_case(name))?.1;
    let (year, _) = digits(year, year.len()).filter(|_| year.len() == 4)?;
    let (hours, zone) = (words.next()?, words.next().unwrap_or_default());
    let clock = clock(&format!("{hours}{}", zone_offset(zone)))?;
    if words.next().is_some() {
        return None;
    }
    time([year, month, day], &clock)
}

/// The names that RFC 2822 knows, as offsets.
fn zone_offset(zone: &str) -> &str {
    match zone {
        "GMT" | "UT" | "UTC" => "Z",
        "EDT" => "-0400",
        "EST" | "CDT" => "-0500",
        "CST" | "MDT" => "-0600",
        "MST" | "PDT" => "-0700",
        "PST" => "-0800",
        offset => offset,
    }
}

/// That many digits, and what follows them.
fn digits(text: &str, count: usize) -> Option<(i64, &str)> {
    let (number, rest) = text.split_at_checked(count)?;
    let number = number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok())??;
    Some((number, rest))
}

/// Whether the text begins so, and what follows.
fn after(text: &str, first: char) -> (bool, &str) {
    text.strip_prefix(first).map_or((false, text), |rest| (true, rest))
}

/// A time of day.
#[derive(Default)]
struct Clock {
    /// Since midnight.
    seconds: i64,
    micros: UnixMicros,
    /// From UTC, in seconds; none where it is not said.
    offset: Option<i64>,
}

fn clock(text: &str) -> Option<Clock> {
    let (hour, rest) = digits(text, 2)?;
    let (extended, rest) = after(rest, ':');
    let (minute, rest) = digits(rest, 2)?;
    let seconds = if extended { rest.strip_prefix(':').map(|rest| digits(rest, 2)) } else { Some(digits(rest, 2)) };
    let (second, micros, offset) = match seconds.filter(|found| extended || found.is_some()) {
        Some(found) => {
            let (second, rest) = found?;
            let (micros, offset) = fraction(rest)?;
            (second, micros, offset)
        }
        None => (0, 0, rest),
    };
    // RFC 3339 lets a leap second be 60; it counts as the next one.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some(Clock { seconds: hour * 3_600 + minute * 60 + second, micros, offset: offset_seconds(offset)? })
}

fn time([year, month, day]: [i64; 3], clock: &Clock) -> Option<WrittenTime> {
    if !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    let micros =
        |offset| (days_since_1970(year, month, day) * 86_400 + clock.seconds - offset) * 1_000_000 + clock.micros;
    Some(match clock.offset {
        Some(offset) => WrittenTime::Instant(micros(offset)),
        None => WrittenTime::Local(micros(0)),
    })
}

/// `.25Z` as 250,000 µs and `Z`.
fn fraction(text: &str) -> Option<(UnixMicros, &str)> {
    let Some(rest) = text.strip_prefix(['.', ',']) else { return Some((0, text)) };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (fraction, offset) = rest.split_at(digits);
    let micros =
        fraction.bytes().chain([b'0'; 6]).take(6).fold(0, |sum, digit| sum * 10 + UnixMicros::from(digit - b'0'));
    (digits > 0).then_some((micros, offset))
}

/// In seconds; the inner one is none where there is no offset.
fn offset_seconds(offset: &str) -> Option<Option<i64>> {
    let offset = offset.trim_start_matches(' ');
    match offset {
        "" => return Some(None),
        "Z" | "z" => return Some(Some(0)),
        _ => {}
    }
    let (sign, clock) = offset.split_at_checked(1)?;
    let sign = match sign {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let (hours, rest) = digits(clock, 2)?;
    let (minutes, rest) = if rest.is_empty() { (0, rest) } else { digits(after(rest, ':').1, 2)? };
    (rest.is_empty() && hours < 24 && minutes < 60).then_some(Some(sign * (hours * 3_600 + minutes * 60)))
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// In the Gregorian calendar. Years begin in March here, so that the leap day is the last of them.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let months_since_march = (month + 9) % 12;
    let days_before_month = (months_since_march * 153 + 2) / 5;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 719,468 days lie between the first of March of the year 0 and 1970.
    year * 365 + leap_days + days_before_month + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_as(json: &str, format: TimeFormat) -> Option<WrittenTime> {
        read_time(&RawJson::parse(json).unwrap(), format)
    }

    /// As if clocks on the wall showed UTC.
    fn read(json: &str) -> Option<UnixMicros> {
        read_as(json, TimeFormat::Auto).map(|time| match time {
            WrittenTime::Instant(at) | WrittenTime::Local(at) => at,
        })
    }

    #[test]
    fn a_time_is_local_unless_it_says_its_offset() {
        for local in ["2026-11-21", "2026-11-21T22:04", "20261121T220402.5", "Sat, 21 Nov 2026 22:04"] {
            assert!(matches!(read_as(&format!("{local:?}"), TimeFormat::Auto), Some(WrittenTime::Local(_))), "{local}");
        }
        for instant in ["2026-11-21T22:04Z", "2026-11-21T22:04 +01", "1795298642", "Sat, 21 Nov 2026 22:04 UT"] {
            let read = read_as(&format!("{instant:?}"), TimeFormat::Auto);
            assert!(matches!(read, Some(WrittenTime::Instant(_))), "{instant}");
        }
    }

    #[test]
    fn a_format_that_is_named_reads_no_other() {
        use TimeUnit::{Microseconds, Milliseconds, Nanoseconds, Seconds};
        for (json, unit, micros) in [
            ("20261121", Seconds, 20_261_121_000_000),
            ("\"86400.5\"", Seconds, 86_400_500_000),
            ("1500", Milliseconds, 1_500_000),
            ("1500.25", Microseconds, 1_500),
            ("-1", Nanoseconds, -1),
        ] {
            let read = read_as(json, TimeFormat::Since1970(unit));
            assert_eq!(read, Some(WrittenTime::Instant(micros)), "{json}");
        }
        assert_eq!(read_as("9223372036854775807", TimeFormat::Since1970(Seconds)), None);
        assert_eq!(read_as("1e300", TimeFormat::Since1970(Nanoseconds)), None);
        for (json, format) in [
            ("1795298642", TimeFormat::Iso8601),
            ("\"Sat, 21 Nov 2026 22:04 UT\"", TimeFormat::Iso8601),
            ("\"2026-11-21T22:04Z\"", TimeFormat::Rfc2822),
            ("\"2026-11-21T22:04Z\"", TimeFormat::Since1970(Seconds)),
        ] {
            assert_eq!(read_as(json, format), None, "{json}");
            assert!(read_as(json, TimeFormat::Auto).is_some(), "{json}");
        }
    }

    #[test]
    fn texts_are_read_as_rfc_3339_has_them() {
        for (text, micros) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-11-21T22:04:02Z", 1_795_298_642_000_000),
            ("2026-11-21 23:04:02.5+01:00", 1_795_298_642_500_000),
            ("2026-11-21t16:34:02.1234567-05:30", 1_795_298_642_123_456),
            ("2026-11-21T22:04:02", 1_795_298_642_000_000),
            ("2000-02-29T12:00:00Z", 951_825_600_000_000),
            ("1969-12-31T23:59:59.999999Z", -1),
            ("2016-12-31T23:59:60Z", 1_483_228_800_000_000),
        ] {
            assert_eq!(read(&format!("{text:?}")), Some(micros), "{text}");
        }
    }

    #[test]
    fn numbers_are_seconds_milliseconds_or_microseconds_since_1970() {
        for number in ["1795298642", "1795298642.0", "1795298642000", "1795298642000000", "1.795298642e9"] {
            assert_eq!(read(number), Some(1_795_298_642_000_000), "{number}");
        }
        assert_eq!(read("1795298642.123456"), Some(1_795_298_642_123_456));
        assert_eq!(read("-1"), Some(-1_000_000));
    }

    #[test]
    fn a_number_counts_in_a_text_too_and_nanoseconds_are_cut_off() {
        for text in ["1795298642", "1795298642.0", "1795298642000", " 1795298642000000 ", "1795298642000000999"] {
            assert_eq!(read(&format!("{text:?}")), Some(1_795_298_642_000_000), "{text}");
        }
        assert_eq!(read("1795298642000001999"), Some(1_795_298_642_000_001));
        assert_eq!(read("-1795298642000000001"), Some(-1_795_298_642_000_001));
    }

    #[test]
    fn devices_write_offsets_fractions_and_dates_in_many_forms() {
        for text in [
            "2026-11-21T23:04:02+0100",
            "2026-11-21 23:04:02+01",
            "2026-11-21 23:04:02 +01:00",
            "2026-11-21 23:04:02,000+0100",
            "20261121T220402Z",
            "20261121T230402+0100",
            "20261121T220402.000",
            "Sat, 21 Nov 2026 23:04:02 +0100",
            "21 Nov 2026 22:04:02 GMT",
            "Sat, 21 Nov 2026 17:04:02 EST (New York)",
        ] {
            assert_eq!(read(&format!("{text:?}")), Some(1_795_298_642_000_000), "{text}");
        }
        for text in ["2026-11-21T22:04Z", "2026-11-21 23:04+01", "20261121T2204Z", "Sat, 21 Nov 2026 22:04 UT"] {
            assert_eq!(read(&format!("{text:?}")), Some(1_795_298_640_000_000), "{text}");
        }
        for text in ["2026-11-21", "20261121"] {
            assert_eq!(read(&format!("{text:?}")), Some(1_795_219_200_000_000), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for json in [
            "\"\"",
            "\"yesterday\"",
            "\"2026-13-01T00:00:00Z\"",
            "\"2026-02-29T00:00:00Z\"",
            "\"2026-1-1\"",
            "\"2026-0101\"",
            "\"2026-01-01T\"",
            "\"2026-01-01Z\"",
            "\"2026-01-01T12\"",
            "\"2026-01-01T12:\"",
            "\"2026-01-01T12:00:\"",
            "\"2026-01-01T12:00:0\"",
            "\"2026-01-01T24:00:00Z\"",
            "\"2026-01-01T00:00:00.Z\"",
            "\"2026-01-01T00:00:00+1\"",
            "\"2026-01-01T00:00:00+01:\"",
            "\"2026-01-01T00:00:00+01000\"",
            "\"32 Nov 2026 00:00 GMT\"",
            "\"1 Nov 26 00:00 GMT\"",
            "\"1 Now 2026 00:00 GMT\"",
            "\"inf\"",
            "\"NaN\"",
            "\"-\"",
            "\"２０26-01-01T00:00:00Z\"",
            "\"+026-01-01T00:00:00Z\"",
            "1e20",
            "1e999",
            "true",
            "null",
            "[]",
        ] {
            assert_eq!(read(json), None, "{json}");
        }
    }
}
