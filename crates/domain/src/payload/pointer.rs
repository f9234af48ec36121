//! JSON Pointers (RFC 6901) into payloads: the value as it was sent.

use super::JsonPayload;
use super::scan::{JsonKind, RawJson};
use std::fmt;
use thiserror::Error;

/// A place in a JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPointer {
    text: Box<str>,
    tokens: Vec<Box<str>>,
}

/// A text that is no JSON Pointer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PointerError {
    /// `ENERGY/Power`.
    #[error("{0:?} is no JSON Pointer: it begins with a slash, such as \"/ENERGY/Power\"")]
    NoSlash(Box<str>),
    /// `/a~2b`.
    #[error("{0:?} is no JSON Pointer: ~ is written ~0 in it, and / within a name ~1")]
    Tilde(Box<str>),
}

impl JsonPointer {
    /// Reads a pointer; the empty one is the whole value.
    ///
    /// # Errors
    /// It does not begin with a slash, or has a `~` that stands for nothing.
    pub fn parse(text: &str) -> Result<Self, PointerError> {
        if text.is_empty() {
            return Ok(Self { text: "".into(), tokens: Vec::new() });
        }
        let rest = text.strip_prefix('/').ok_or_else(|| PointerError::NoSlash(text.into()))?;
        let token = |token: &str| {
            let is_escape = |rest: &str| rest.starts_with(['0', '1']);
            match token.split('~').skip(1).all(is_escape) {
                true => Ok(token.replace("~1", "/").replace("~0", "~").into_boxed_str()),
                false => Err(PointerError::Tilde(text.into())),
            }
        };
        Ok(Self { text: text.into(), tokens: rest.split('/').map(token).collect::<Result<_, _>>()? })
    }

    /// The value at its place.
    #[must_use]
    pub fn find<'a>(&self, value: RawJson<'a>) -> Option<RawJson<'a>> {
        descend(value, &self.tokens)
    }

    /// The value at its place in a payload, whose own fields are known already.
    #[must_use]
    pub fn find_in<'a>(&self, payload: &JsonPayload<'a>) -> Option<RawJson<'a>> {
        match self.tokens.split_first() {
            Some((first, rest)) => descend(payload.get(first)?, rest),
            None => RawJson::parse(payload.text()).ok(),
        }
    }
}

impl fmt::Display for JsonPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn descend<'a>(value: RawJson<'a>, tokens: &[Box<str>]) -> Option<RawJson<'a>> {
    tokens.iter().try_fold(value, |value, token| match value.kind() {
        JsonKind::Object => value.member(token),
        JsonKind::Array => value.items()?.get(index(token)?).copied(),
        _ => None,
    })
}

/// RFC 6901, section 4: digits without a leading zero.
fn index(token: &str) -> Option<usize> {
    let is_index = token == "0" || (!token.starts_with('0') && token.bytes().all(|byte| byte.is_ascii_digit()));
    is_index.then(|| token.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(pointer: &str, json: &str) -> Option<String> {
        JsonPointer::parse(pointer).unwrap().find(RawJson::parse(json).unwrap()).map(|value| value.text().to_string())
    }

    #[test]
    fn the_examples_of_the_standard_are_found() {
        let json = r#"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8}"#;
        for (pointer, value) in [
            ("", json),
            ("/foo", r#"["bar","baz"]"#),
            ("/foo/0", "\"bar\""),
            ("/", "0"),
            ("/a~1b", "1"),
            ("/c%d", "2"),
            ("/e^f", "3"),
            ("/g|h", "4"),
            ("/i\\j", "5"),
            ("/k\"l", "6"),
            ("/ ", "7"),
            ("/m~0n", "8"),
        ] {
            assert_eq!(find(pointer, json).as_deref(), Some(value), "{pointer}");
        }
        for pointer in ["/foo/2", "/foo/01", "/foo/-", "/foo/+1", "/x", "/m~0n/x"] {
            assert_eq!(find(pointer, json), None, "{pointer}");
        }
    }

    #[test]
    fn a_value_keeps_its_digits_and_the_last_of_a_repeated_name_counts() {
        assert_eq!(find("/a/b", r#"{"a": {"b": 1, "b": 65.20}}"#).as_deref(), Some("65.20"));
        let payload = JsonPayload::parse(br#"{"a":[{"t":123456789012345678901234567890}]}"#).unwrap();
        let found = JsonPointer::parse("/a/0/t").unwrap().find_in(&payload).unwrap();
        assert_eq!(found.text(), "123456789012345678901234567890");
    }

    #[test]
    fn what_is_no_pointer_is_refused() {
        assert!(matches!(JsonPointer::parse("ENERGY/Power"), Err(PointerError::NoSlash(_))));
        assert!(matches!(JsonPointer::parse("/a~"), Err(PointerError::Tilde(_))));
        assert!(matches!(JsonPointer::parse("/a~2"), Err(PointerError::Tilde(_))));
    }
}
