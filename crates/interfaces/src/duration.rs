//! Durations as people write them in a configuration file: `"500ms"`, `"30s"`, `"1h30m"`.

use serde::{Deserialize, Deserializer};
use std::time::Duration;

/// Reads whole numbers with a unit each (`ms`, `s`, `m`, `h`, `d`), largest first or not, without a sign.
///
/// # Errors
/// A sentence for the user when a unit is missing or unknown, or the sum does not fit.
pub fn parse(text: &str) -> Result<Duration, String> {
    let advice =
        || format!("`{text}` is no duration; write a number and a unit, such as \"500ms\", \"30s\" or \"1h30m\"");
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(advice());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(advice)?;
        let number: u64 = rest[..digits].parse().map_err(|_| advice())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let milliseconds: u64 = match &rest[..letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(advice()),
        };
        let step = number.checked_mul(milliseconds).map(Duration::from_millis).ok_or_else(advice)?;
        total = total.checked_add(step).ok_or_else(advice)?;
        rest = rest[letters..].trim_start();
    }
    Ok(total)
}

/// For `#[serde(deserialize_with = …)]`.
pub(crate) fn required<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(from)?).map_err(serde::de::Error::custom)
}

/// For an optional key with `#[serde(default, deserialize_with = …)]`.
pub(crate) fn optional<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    required(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_numbers_with_units() {
        assert_eq!(parse("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse("1h30m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn a_number_without_a_unit_is_refused_with_an_example() {
        for bad in ["30", "", "s", "-1s", "5 weeks", "1.5s", "99999999999999999999s", "18446744073709551615d"] {
            assert!(parse(bad).unwrap_err().contains("\"30s\""), "{bad}");
        }
    }
}
