//! The time of an event, as devices write it into a payload.

use crate::delivery::UnixMicros;
use crate::payload::{JsonKind, RawJson};
use thiserror::Error;

/// A value that is no time.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{found} is no time; a time is a text such as 2026-01-31T12:00:00Z (ISO 8601), or seconds since 1970")]
pub struct EventTimeError {
    found: Box<str>,
}

/// Values that are shown are cut after this many characters.
const SHOWN: usize = 40;

/// Reads a time. A text is a date and a clock as ISO 8601 has them, in extended or basic form: with a `T` or a blank
/// between them, with or without seconds, fraction (point or comma) and offset (`Z`, `+01:00`, `+0100`, `+01`, also after
/// a blank); or a date alone; or a date as RFC 2822 has it. Without an offset it is UTC. A number, which may stand in a
/// text, is the time since 1970-01-01T00:00:00Z in seconds, milliseconds from 10¹¹ on, microseconds from 10¹⁴ on,
/// nanoseconds from 10¹⁷ on. What is below a microsecond is cut off.
///
/// # Errors
/// It is none of them, or a day that does not exist.
pub fn event_time(value: &RawJson<'_>) -> Result<UnixMicros, EventTimeError> {
    let time = match value.kind() {
        JsonKind::String => value.as_str().and_then(|text| read_text(text.trim())),
        JsonKind::Integer | JsonKind::Number => since_1970(value.text()),
        JsonKind::Null | JsonKind::Boolean | JsonKind::Array | JsonKind::Object => None,
    };
    time.ok_or_else(|| EventTimeError { found: value.text().chars().take(SHOWN).collect::<String>().into() })
}

/// Eight digits are a date: as seconds they would all be in 1970.
fn read_text(text: &str) -> Option<UnixMicros> {
    iso_8601(text).or_else(|| since_1970(text)).or_else(|| rfc_2822(text))
}

fn since_1970(number: &str) -> Option<UnixMicros> {
    let numeric = |byte: u8| byte.is_ascii_digit() || b".-+eE".contains(&byte);
    if !number.starts_with(|first: char| first.is_ascii_digit() || first == '-') || !number.bytes().all(numeric) {
        return None;
    }
    if let Ok(whole) = number.parse::<i64>() {
        return match whole.unsigned_abs() {
            0..100_000_000_000 => Some(whole * 1_000_000),
            100_000_000_000..100_000_000_000_000 => Some(whole * 1_000),
            100_000_000_000_000..100_000_000_000_000_000 => Some(whole),
            _ => Some(whole.div_euclid(1_000)),
        };
    }
    let number: f64 = number.parse().ok()?;
    let micros = match number.abs() {
        seconds if seconds < 1e11 => number * 1e6,
        millis if millis < 1e14 => number * 1e3,
        micros if micros < 1e17 => number,
        nanos if nanos < 1e20 => number / 1e3,
        _ => return None,
    };
    // A double holds 2026 in seconds to less than a microsecond, so the nearest one is meant.
    Some(micros.round() as UnixMicros)
}

fn iso_8601(text: &str) -> Option<UnixMicros> {
    let (year, rest) = digits(text, 4)?;
    let (extended, rest) = after(rest, '-');
    let (month, rest) = digits(rest, 2)?;
    let rest = if extended { rest.strip_prefix('-')? } else { rest };
    let (day, rest) = digits(rest, 2)?;
    if rest.is_empty() {
        return instant([year, month, day], 0, 0);
    }
    let (seconds, micros) = clock(rest.strip_prefix(['T', 't', ' '])?)?;
    instant([year, month, day], seconds, micros)
}

/// `Fri, 27 Nov 2026 07:56:06 +0100 (CET)`; the weekday, the seconds and the comment may be absent.
fn rfc_2822(text: &str) -> Option<UnixMicros> {
    const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let date = text.split_once(',').map_or(text, |(_, date)| date).split('(').next()?;
    let mut words = date.split_ascii_whitespace();
    let (day, month, year) = (words.next()?, words.next()?, words.next()?);
    let (day, _) = digits(day, day.len()).filter(|_| day.len() <= 2)?;
    let month = MONTHS.into_iter().zip(1..).find(|(name, _)| month.eq_ignore_ascii_case(name))?.1;
    let (year, _) = digits(year, year.len()).filter(|_| year.len() == 4)?;
    let (time, zone) = (words.next()?, words.next().unwrap_or_default());
    let (seconds, micros) = clock(&format!("{time}{}", zone_offset(zone)))?;
    if words.next().is_some() {
        return None;
    }
    instant([year, month, day], seconds, micros)
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

/// Seconds since midnight UTC, beyond the day where the offset leads there, and microseconds.
fn clock(text: &str) -> Option<(i64, UnixMicros)> {
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
    Some((hour * 3_600 + minute * 60 + second - offset_seconds(offset)?, micros))
}

fn instant([year, month, day]: [i64; 3], seconds: i64, micros: UnixMicros) -> Option<UnixMicros> {
    if !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    Some((days_since_1970(year, month, day) * 86_400 + seconds) * 1_000_000 + micros)
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

fn offset_seconds(offset: &str) -> Option<i64> {
    let offset = offset.trim_start_matches(' ');
    if matches!(offset, "" | "Z" | "z") {
        return Some(0);
    }
    let (sign, clock) = offset.split_at_checked(1)?;
    let sign = match sign {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let (hours, rest) = digits(clock, 2)?;
    let (minutes, rest) = if rest.is_empty() { (0, rest) } else { digits(after(rest, ':').1, 2)? };
    (rest.is_empty() && hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
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

    fn read(json: &str) -> Option<UnixMicros> {
        event_time(&RawJson::parse(json).unwrap()).ok()
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
