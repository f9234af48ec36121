//! Values as text: what stands in a database column for a field.

use super::scan::{JsonKind, RawJson};
use crate::payload::python;
use crate::payload::unescape::unescape;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// How values that are not strings are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueFormat {
    /// Compact JSON with the digits that were sent: `true`, `null`, `65.20`, `{"a":1}`.
    #[default]
    Json,
    /// As the Python gateway wrote them: `True`, `None`, `65.2`, `{"a": 1}`.
    Python,
}

/// A value as text. Strings are themselves, escapes resolved.
///
/// With [`ValueFormat::Json`] arrays and objects lose the blanks between their parts, and escapes in their strings and
/// names become the characters they stand for, where JSON lets them stand unescaped; numbers keep their digits. With
/// [`ValueFormat::Python`] a text is made as `str` and `json.dumps(…, ensure_ascii=False)` make it, floats by their
/// shortest digits. In both a name that is repeated inside an object stays repeated: only a payload's own fields are
/// looked through for that.
#[must_use]
pub fn field_text<'a>(value: &RawJson<'a>, format: ValueFormat) -> Cow<'a, str> {
    match (value.kind, format) {
        (JsonKind::String, _) => value.as_str().unwrap_or_default(),
        (_, ValueFormat::Json) if value.plain => Cow::Borrowed(value.text),
        (_, ValueFormat::Json) => Cow::Owned(rewrite(value.text, format)),
        (JsonKind::Null, ValueFormat::Python) => Cow::Borrowed("None"),
        (JsonKind::Boolean, ValueFormat::Python) => Cow::Borrowed(if value.text == "true" { "True" } else { "False" }),
        (JsonKind::Integer, ValueFormat::Python) => Cow::Borrowed(python_integer(value.text)),
        (JsonKind::Number, ValueFormat::Python) => Cow::Owned(python_float(value.text)),
        (JsonKind::Array | JsonKind::Object, ValueFormat::Python) => Cow::Owned(rewrite(value.text, format)),
    }
}

/// An array or object, which the scanner has checked, written anew: without the blanks that were sent and without
/// needless escapes; for Python with `, ` and `: `, and numbers in its form.
fn rewrite(json: &str, format: ValueFormat) -> String {
    let mut out = String::with_capacity(json.len() + 16);
    let mut rest = json;
    while let Some(first) = rest.bytes().next() {
        let length = match first {
            b'"' => string_length(rest),
            b'-' | b'0'..=b'9' => rest.find([',', ']', '}', ' ', '\n', '\r', '\t']).unwrap_or(rest.len()),
            _ => 1,
        };
        let (token, behind) = rest.split_at(length);
        match (first, format) {
            (b' ' | b'\n' | b'\r' | b'\t', _) => {}
            (b'"', _) => copy_string(token, &mut out),
            (b',', ValueFormat::Python) => out.push_str(", "),
            (b':', ValueFormat::Python) => out.push_str(": "),
            (b'-' | b'0'..=b'9', ValueFormat::Python) => python_number(token, &mut out),
            _ => out.push_str(token),
        }
        rest = behind;
    }
    out
}

/// The bytes of the string at the start of `json`, with its quotes.
fn string_length(json: &str) -> usize {
    let mut escaped = false;
    let end = json.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.map_or(json.len(), |position| position + 2)
}

/// Copies a string with its quotes, and leaves escaped only what JSON does not let stand.
fn copy_string(quoted: &str, out: &mut String) {
    if !quoted.contains('\\') {
        return out.push_str(quoted);
    }
    write_json_text(&unescape(&quoted[1..quoted.len() - 1]), out);
}

fn write_json_text(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match (python::short_escape(character), character) {
            (Some(escape), _) => out.push_str(escape),
            (None, '\0'..='\u{1f}') => python::push_unicode_escape(character as u16, out),
            (None, other) => out.push(other),
        }
    }
    out.push('"');
}

/// `str(int)`: the digits, but there is no negative zero.
fn python_integer(text: &str) -> &str {
    if text == "-0" { "0" } else { text }
}

fn python_float(text: &str) -> String {
    let mut out = String::with_capacity(24);
    // Every JSON number reads as a double; too large ones as infinity, as in Python.
    match text.parse() {
        Ok(float) => python::float_repr(float, &mut out),
        Err(_) => out.push_str(text),
    }
    out
}

/// A number within an array or object, as `json.dumps` writes it.
fn python_number(text: &str, out: &mut String) {
    if !text.contains(['.', 'e', 'E']) {
        return out.push_str(python_integer(text));
    }
    match python_float(text).as_str() {
        "inf" => out.push_str("Infinity"),
        "-inf" => out.push_str("-Infinity"),
        float => out.push_str(float),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str, format: ValueFormat) -> String {
        field_text(&RawJson::parse(json).unwrap(), format).into_owned()
    }

    #[test]
    fn numbers_keep_the_digits_that_were_sent() {
        for digits in ["65.20", "123456789012345678901234567890", "-0", "1E400", "0.10e-02"] {
            assert_eq!(text(digits, ValueFormat::Json), digits);
            assert_eq!(text(&format!("[ {digits} ]"), ValueFormat::Json), format!("[{digits}]"));
        }
    }

    #[test]
    fn strings_are_themselves_and_other_values_compact_json() {
        for (json, expected) in [
            (r#""23.5""#, "23.5"),
            (r#""a\n\u00e9\/\"\\\ud83d\ude00""#, "a\né/\"\\😀"),
            ("true", "true"),
            ("null", "null"),
            ("{ \"a\" : 1 ,\n\"b\":[ ] }", r#"{"a":1,"b":[]}"#),
            (r#"{"größe": "x y", "客":[" ,: "]}"#, r#"{"größe":"x y","客":[" ,: "]}"#),
            (r#"["\u00e9\/ \"\\ \u0001\u001F\n\t\b\f\r \ud83d\ude00"]"#, r#"["é/ \"\\ \u0001\u001f\n\t\b\f\r 😀"]"#),
            (r#"{"\u0061\"":{"\u0062":"\\"}}"#, r#"{"a\"":{"b":"\\"}}"#),
        ] {
            assert_eq!(text(json, ValueFormat::Json), expected, "{json}");
        }
    }

    #[test]
    fn values_that_need_no_change_are_borrowed() {
        for json in ["23.5", "\"abc\"", r#"{"a":["ü",true]}"#] {
            assert!(
                matches!(field_text(&RawJson::parse(json).unwrap(), ValueFormat::Json), Cow::Borrowed(_)),
                "{json}"
            );
        }
    }

    #[test]
    fn the_python_form_is_what_str_and_json_dumps_write() {
        for (json, expected) in [
            ("true", "True"),
            ("false", "False"),
            ("null", "None"),
            ("65.20", "65.2"),
            ("1e5", "100000.0"),
            ("1E-5", "1e-05"),
            ("1e400", "inf"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            (r#""true""#, "true"),
            (r#"{"a":1,"b":[true,null,2.50,-0,1e400]}"#, r#"{"a": 1, "b": [true, null, 2.5, 0, Infinity]}"#),
            (r#"{ "\u00e9" : "a,b:c" }"#, r#"{"é": "a,b:c"}"#),
            ("[]", "[]"),
        ] {
            assert_eq!(text(json, ValueFormat::Python), expected, "{json}");
        }
    }
}
