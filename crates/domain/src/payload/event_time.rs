//! The time of an event, as devices write it into a payload.

use crate::delivery::Micros;
use crate::payload::{Json, JsonKind};
use thiserror::Error;

/// A value that is no time.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{found} is no time; a time is a text such as 2026-01-31T12:00:00Z (RFC 3339), or seconds since 1970")]
pub struct EventTimeError {
    found: Box<str>,
}

/// Values that are shown are cut after this many characters.
const SHOWN: usize = 40;

/// Reads a time: a text as RFC 3339 has it, also with a blank for the `T` or without an offset, which then is UTC; or a
/// number, the time since 1970-01-01T00:00:00Z in seconds, milliseconds from 10¹¹ on, microseconds from 10¹⁴ on. What is
/// below a microsecond is cut off.
///
/// # Errors
/// It is neither, or a day that does not exist.
pub fn event_time(value: &Json<'_>) -> Result<Micros, EventTimeError> {
    let time = match value.kind() {
        JsonKind::String => value.as_str().and_then(|text| rfc_3339(&text)),
        JsonKind::Integer | JsonKind::Number => value.text().parse().ok().and_then(since_1970),
        JsonKind::Null | JsonKind::Boolean | JsonKind::Array | JsonKind::Object => None,
    };
    time.ok_or_else(|| EventTimeError { found: value.text().chars().take(SHOWN).collect::<String>().into() })
}

fn since_1970(number: f64) -> Option<Micros> {
    let micros = match number.abs() {
        seconds if seconds < 1e11 => number * 1e6,
        millis if millis < 1e14 => number * 1e3,
        micros if micros < 1e17 => number,
        _ => return None,
    };
    // A double holds 2026 in seconds to less than a microsecond, so the nearest one is meant.
    Some(micros.round() as Micros)
}

fn rfc_3339(text: &str) -> Option<Micros> {
    let (date, rest) = text.split_at_checked(10)?;
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let [year, month, day] = numbers(date, b'-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(clock, b':', [2, 2, 2])?;
    // RFC 3339 lets a leap second be 60; it counts as the next one.
    if !(1..=12).contains(&month)
        || !(1..=days_in(year, month)).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    let (fraction, offset) = fraction(rest)?;
    let seconds =
        days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset_seconds(offset)?;
    Some(seconds * 1_000_000 + fraction)
}

/// Three groups of digits of these lengths with a separator between them.
fn numbers(text: &str, separator: u8, lengths: [usize; 3]) -> Option<[i64; 3]> {
    let mut groups = text.split(char::from(separator));
    let mut numbers = [0; 3];
    for (number, length) in numbers.iter_mut().zip(lengths) {
        let digits = groups
            .next()
            .filter(|digits| digits.len() == length && digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        *number = digits.parse().ok()?;
    }
    groups.next().is_none().then_some(numbers)
}

/// `.25Z` as 250,000 µs and `Z`.
fn fraction(text: &str) -> Option<(Micros, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (fraction, offset) = rest.split_at(digits);
    let micros = fraction.bytes().chain([b'0'; 6]).take(6).fold(0, |sum, digit| sum * 10 + Micros::from(digit - b'0'));
    (digits > 0).then_some((micros, offset))
}

fn offset_seconds(offset: &str) -> Option<i64> {
    if matches!(offset, "" | "Z" | "z") {
        return Some(0);
    }
    let (sign, clock) = offset.split_at_checked(1)?;
    let sign = match sign {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let [hours, minutes, _] = numbers(&format!("{clock}:00"), b':', [2, 2, 2])?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
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

    fn read(json: &str) -> Option<Micros> {
        event_time(&Json::parse(json).unwrap()).ok()
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
    fn anything_else_is_refused() {
        for json in [
            "\"\"",
            "\"yesterday\"",
            "\"2026-13-01T00:00:00Z\"",
            "\"2026-02-29T00:00:00Z\"",
            "\"2026-01-01\"",
            "\"2026-01-01T24:00:00Z\"",
            "\"2026-01-01T00:00:00.Z\"",
            "\"2026-01-01T00:00:00+0100\"",
            "\"2026-01-01T00:00:00 Z\"",
            "\"２０26-01-01T00:00:00Z\"",
            "\"+026-01-01T00:00:00Z\"",
            "1e18",
            "1e999",
            "true",
            "null",
            "[]",
        ] {
            assert_eq!(read(json), None, "{json}");
        }
    }
}
