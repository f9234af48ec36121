//! A message payload: a UTF-8 JSON object, read in one pass without building a tree.
//!
//! Values keep the very text that was sent, so that `65.20` stays `65.20` and an integer of 30 digits loses nothing.
//! serde_json's `RawValue` would keep it too, but skips nested values without counting their depth, and does not say
//! whether a text is already compact. The scanner in here checks the whole grammar of RFC 8259, is not recursive, and
//! remembers what lets the usual value pass on without a copy.

mod pointer;
pub(crate) mod python;
mod scan;
mod text;
mod unescape;

pub use pointer::{JsonPointer, PointerError};
pub use scan::{JsonKind, MAX_DEPTH, PayloadError, RawJson};
pub use text::{ValueFormat, field_text};

use scan::JsonScanner;
use std::borrow::Cow;
use std::collections::HashMap;

/// One field of a payload.
#[derive(Clone, Debug, PartialEq)]
pub struct PayloadField<'a> {
    /// Its name, escapes resolved.
    pub name: Cow<'a, str>,
    /// Its value as it was sent.
    pub value: RawJson<'a>,
}

/// A JSON object, its fields in the order in which they were sent. Of a repeated name the last value counts, in the
/// place of the first, as in Python.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPayload<'a> {
    text: &'a str,
    fields: Vec<PayloadField<'a>>,
}

/// Up to this many fields a repeated name is looked for by walking through them.
const FEW_FIELDS: usize = 24;
/// Room made at once: most payloads have fewer fields.
const USUAL_FIELDS: usize = 8;

impl<'a> JsonPayload<'a> {
    /// Reads a payload.
    ///
    /// # Errors
    /// It is empty, not UTF-8, not valid JSON, not an object, or nested deeper than [`MAX_DEPTH`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PayloadError> {
        if bytes.is_empty() {
            return Err(PayloadError::Empty);
        }
        let text = std::str::from_utf8(bytes).map_err(|error| PayloadError::NotUtf8 { offset: error.valid_up_to() })?;
        Self::parse_text(text)
    }

    /// Reads a payload that is known to be UTF-8. A byte order mark before it is passed over, as RFC 8259 (section 8.1)
    /// allows: some devices and editors write one.
    ///
    /// # Errors
    /// As [`JsonPayload::parse`].
    pub fn parse_text(text: &'a str) -> Result<Self, PayloadError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut scanner = JsonScanner::new(text);
        scanner.open_object()?;
        let mut fields = Fields { list: Vec::with_capacity(USUAL_FIELDS), index: None };
        while let Some((name, value)) = scanner.next_member()? {
            fields.put(PayloadField { name, value });
        }
        scanner.end()?;
        Ok(Self { text, fields: fields.list })
    }

    /// The payload as it was sent.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// All fields.
    #[must_use]
    pub fn fields(&self) -> &[PayloadField<'a>] {
        &self.fields
    }

    /// The value of a field.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<RawJson<'a>> {
        self.fields.iter().find(|field| field.name == name).map(|field| field.value)
    }

    /// The whole payload as a serde_json value.
    ///
    /// # Errors
    /// A number is out of the range of a double.
    pub fn to_value(&self) -> Result<serde_json::Value, serde_json::Error> {
        let members = self.fields.iter().map(|field| Ok((field.name.to_string(), field.value.to_value()?)));
        members.collect::<Result<serde_json::Map<_, _>, _>>().map(serde_json::Value::Object)
    }
}

/// Fields while they are read. Beyond [`FEW_FIELDS`] an index finds repeated names, so that a payload of many fields
/// does not cost their square.
struct Fields<'a> {
    list: Vec<PayloadField<'a>>,
    index: Option<HashMap<Cow<'a, str>, usize>>,
}

impl<'a> Fields<'a> {
    fn put(&mut self, field: PayloadField<'a>) {
        match self.position(&field.name) {
            Some(position) => self.list[position].value = field.value,
            None => {
                if let Some(index) = &mut self.index {
                    index.insert(field.name.clone(), self.list.len());
                }
                self.list.push(field);
            }
        }
    }

    fn position(&mut self, name: &str) -> Option<usize> {
        if self.list.len() <= FEW_FIELDS {
            return self.list.iter().position(|field| field.name == name);
        }
        let list = &self.list;
        let index = self.index.get_or_insert_with(|| {
            list.iter().enumerate().map(|(position, field)| (field.name.clone(), position)).collect()
        });
        index.get(name).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Vec<(String, String)> {
        let payload = JsonPayload::parse(text.as_bytes()).unwrap();
        payload.fields().iter().map(|field| (field.name.to_string(), field.value.text().to_string())).collect()
    }

    fn error(text: &str) -> PayloadError {
        JsonPayload::parse(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_byte_order_mark_before_the_object_is_passed_over() {
        assert_eq!(fields("\u{feff}{\"n\":1}"), [("n".to_string(), "1".to_string())]);
        assert!(JsonPayload::parse("\u{feff}".as_bytes()).is_err());
    }

    #[test]
    fn fields_keep_their_order_and_their_text() {
        let read = fields(" {\"t\": 65.20 , \"n\\u00e4\":[1, {\"a\":\tnull}],\"\":\"x\\n\"}\r\n");
        let expected = [("t", "65.20"), ("nä", "[1, {\"a\":\tnull}]"), ("", "\"x\\n\"")];
        assert_eq!(read, expected.map(|(name, text)| (name.to_string(), text.to_string())));
        assert_eq!(fields("{}"), []);
    }

    #[test]
    fn of_a_repeated_name_the_last_value_counts() {
        assert_eq!(fields(r#"{"a":1,"b":2,"\u0061":3}"#), [("a".into(), "3".into()), ("b".into(), "2".into())]);
        let many: Vec<String> = (0..100).map(|n| format!("\"f{}\":{n}", n % 50)).collect();
        let read = fields(&format!("{{{}}}", many.join(",")));
        assert_eq!(read.len(), 50);
        assert_eq!(read[7], ("f7".into(), "57".into()));
        assert_eq!(read[49], ("f49".into(), "99".into()));
    }

    #[test]
    fn what_is_no_object_is_named() {
        assert_eq!(error("[1]"), PayloadError::NotAnObject { found: JsonKind::Array });
        assert_eq!(error(" \"x\" "), PayloadError::NotAnObject { found: JsonKind::String });
        assert_eq!(error("23.5"), PayloadError::NotAnObject { found: JsonKind::Number });
        assert_eq!(error(""), PayloadError::Empty);
        assert_eq!(JsonPayload::parse(b"{\"a\":\"\xff\"}"), Err(PayloadError::NotUtf8 { offset: 6 }));
        assert!(matches!(error("   "), PayloadError::Syntax { offset: 3, .. }));
        assert!(matches!(error("[1"), PayloadError::Syntax { .. }));
    }

    #[test]
    fn bad_json_is_refused_with_the_byte_where_it_goes_wrong() {
        for (text, offset) in [
            ("{", 1),
            ("{\"a\"}", 4),
            ("{\"a\":}", 5),
            ("{\"a\":1,}", 7),
            ("{\"a\":1 \"b\":2}", 7),
            ("{\"a\":1} x", 8),
            ("{a:1}", 1),
            ("{\"a\":01}", 6),
            ("{\"a\":1.}", 7),
            ("{\"a\":-}", 6),
            ("{\"a\":1e}", 7),
            ("{\"a\":NaN}", 5),
            ("{\"a\":tru}", 5),
            ("{\"a\":\"\n\"}", 6),
            ("{\"a\":\"\\x\"}", 7),
            ("{\"a\":\"\\u12g4\"}", 10),
            ("{\"a\":\"x}", 8),
            ("{\"a\":[1,]}", 8),
            ("{\"a\":[1}", 7),
            ("{\"a\":{\"b\":1]}", 11),
        ] {
            match error(text) {
                PayloadError::Syntax { offset: found, .. } => assert_eq!(found, offset, "{text}"),
                other => panic!("{text}: {other}"),
            }
        }
    }

    #[test]
    fn a_lone_surrogate_is_refused() {
        for text in
            ["{\"a\":\"\\ud800\"}", "{\"a\":\"\\udc00\"}", "{\"a\":\"\\ud800\\u0061\"}", "{\"a\":[\"\\ud800x\"]}"]
        {
            assert!(matches!(error(text), PayloadError::LoneSurrogate { .. }), "{text}");
        }
        assert_eq!(
            field_text(
                &JsonPayload::parse_text(r#"{"a":"\ud83d\ude00"}"#).unwrap().get("a").unwrap(),
                ValueFormat::Json
            ),
            "😀"
        );
    }

    #[test]
    fn ten_thousand_levels_are_refused_and_not_recursed_into() {
        let deep = |levels: usize| format!("{{\"a\":{}1{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(matches!(error(&deep(10_000)), PayloadError::TooDeep { .. }));
        assert!(matches!(error(&deep(128)), PayloadError::TooDeep { .. }));
        let deepest = deep(127);
        let payload = JsonPayload::parse_text(&deepest).unwrap();
        assert!(payload.to_value().is_ok());
        let objects = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
        assert!(matches!(error(&objects), PayloadError::TooDeep { .. }));
    }
}
