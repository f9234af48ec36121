//! How Python writes values, for what must look as the Python gateways left it: `json.dumps` in its default form and
//! `repr` of a float.

use serde_json::{Number, Value};
use std::fmt::Write as _;

/// `json.dumps(value)`: `, ` and `: ` between the parts, everything beyond ASCII escaped.
///
/// Recursive: a `Value` parsed by serde_json is at most 128 levels deep.
pub(crate) fn dump(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => dump_number(number, out),
        Value::String(text) => dump_text(text, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                dump(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (index, (key, member)) in members.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                dump_text(key, out);
                out.push_str(": ");
                dump(member, out);
            }
            out.push('}');
        }
    }
}

fn dump_number(number: &Number, out: &mut String) {
    match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(integer), ..) => write_integer(integer.unsigned_abs(), integer < 0, out),
        (None, Some(integer), _) => write_integer(integer, false, out),
        (None, None, Some(float)) => float_repr(float, out),
        // Without arbitrary precision one of the three holds.
        (None, None, None) => out.push_str(&number.to_string()),
    }
}

fn write_integer(mut magnitude: u64, negative: bool, out: &mut String) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (magnitude % 10) as u8;
        magnitude /= 10;
        if magnitude == 0 {
            break;
        }
    }
    if negative {
        out.push('-');
    }
    out.extend(digits[at..].iter().map(|digit| char::from(*digit)));
}

/// A JSON string with everything outside of space to `~` escaped, astral characters as surrogate pairs.
pub(crate) fn dump_text(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    // Runs of plain ASCII are copied at once.
    while let Some(at) = rest.bytes().position(|byte| !matches!(byte, b' '..=b'~') || matches!(byte, b'"' | b'\\')) {
        out.push_str(&rest[..at]);
        let mut chars = rest[at..].chars();
        if let Some(special) = chars.next() {
            escape_ascii(special, out);
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

fn escape_ascii(special: char, out: &mut String) {
    if let Some(escape) = short_escape(special) {
        return out.push_str(escape);
    }
    for unit in special.encode_utf16(&mut [0; 2]) {
        push_unicode_escape(*unit, out);
    }
}

/// The escape of two characters, where JSON has one (RFC 8259, section 7).
pub(crate) fn short_escape(character: char) -> Option<&'static str> {
    match character {
        '"' => Some("\\\""),
        '\\' => Some("\\\\"),
        '\n' => Some("\\n"),
        '\r' => Some("\\r"),
        '\t' => Some("\\t"),
        '\u{8}' => Some("\\b"),
        '\u{c}' => Some("\\f"),
        _ => None,
    }
}

/// `\u` and four lower-case hexadecimal digits.
pub(crate) fn push_unicode_escape(unit: u16, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push_str("\\u");
    for shift in [12, 8, 4, 0] {
        out.push(char::from(HEX[usize::from(unit >> shift & 0xf)]));
    }
}

/// `repr(float)`: the shortest digits that read back as the same number, with an exponent below 1e-4 and from 1e16 on.
pub(crate) fn float_repr(float: f64, out: &mut String) {
    if !float.is_finite() {
        out.push_str(if float.is_nan() {
            "nan"
        } else if float > 0.0 {
            "inf"
        } else {
            "-inf"
        });
        return;
    }
    let magnitude = float.abs();
    if magnitude != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        // Rust writes `1.5e-7`, Python `1.5e-07`: the same digits, another exponent.
        let shortest = format!("{float:e}");
        let (digits, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |negative| ('-', negative));
        out.push_str(digits);
        out.push('e');
        out.push(sign);
        if exponent.len() < 2 {
            out.push('0');
        }
        out.push_str(exponent);
        return;
    }
    let start = out.len();
    // Writing into a String does not fail.
    if write!(out, "{float}").is_ok() && !out[start..].contains('.') {
        out.push_str(".0");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn repr(float: f64) -> String {
        let mut out = String::new();
        float_repr(float, &mut out);
        out
    }

    #[test]
    fn floats_look_as_python_prints_them() {
        for (float, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (2.5, "2.5"),
            (100_000.0, "100000.0"),
            (9_999_999_999_999_998.0, "9999999999999998.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (0.0001, "0.0001"),
            (0.000_099, "9.9e-05"),
            (5e-324, "5e-324"),
            (-1.25e-7, "-1.25e-07"),
            (0.1 + 0.2, "0.30000000000000004"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(repr(float), expected);
        }
    }

    #[test]
    fn text_beyond_ascii_is_escaped_with_surrogate_pairs() {
        let mut out = String::new();
        dump_text("a\"\\\n\t\u{8}\u{c}\r\u{1}\u{7f}é客😀/", &mut out);
        assert_eq!(out, r#""a\"\\\n\t\b\f\r\u0001\u007f\u00e9\u5ba2\ud83d\ude00/""#);
    }

    #[test]
    fn values_are_dumped_with_python_separators() {
        let mut out = String::new();
        dump(&json!({"a": [1, -2.0, null, true], "b": {"c": u64::MAX, "d": i64::MIN}}), &mut out);
        assert_eq!(out, r#"{"a": [1, -2.0, null, true], "b": {"c": 18446744073709551615, "d": -9223372036854775808}}"#);
    }
}
