//! Reads typed sections out of the merged layers, and keeps the path and the place of whatever does not fit.
//!
//! The `config` crate's own deserializer knows the layer's name but neither the line nor the key inside a list, and ends
//! at the first error; here each problem says where it is, so that all of them can be told at once.

use super::finding::ConfigFinding;
use super::origin::{ValueOrigin, ValueOrigins};
use config::{Value, ValueKind};
use hearthgate_domain::suggestion::nearest_word;
use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, Visitor,
};
use std::fmt;

/// Reads a `T` out of `value`.
///
/// # Errors
/// The first thing that does not fit, with its path below `value`.
pub(crate) fn read<T: DeserializeOwned>(value: &Value, origins: &ValueOrigins) -> Result<T, ReadProblem> {
    T::deserialize(Node { value, origins })
}

/// The first thing that does not fit.
#[derive(Debug)]
pub(crate) struct ReadProblem {
    /// Keys from the outermost inwards; positions in lists as `[0]`.
    pub(crate) path: Vec<String>,
    origin: Option<ValueOrigin>,
    what: What,
}

#[derive(Debug)]
enum What {
    UnknownKey(&'static [&'static str]),
    UnknownChoice(String, &'static [&'static str]),
    Missing(&'static str),
    Other(String),
}

impl ReadProblem {
    fn new(what: What) -> Self {
        Self { path: Vec::new(), origin: None, what }
    }

    fn under(mut self, key: &str, origin: Option<&ValueOrigin>) -> Self {
        self.path.insert(0, key.to_owned());
        self.origin = self.origin.or_else(|| origin.cloned());
        self
    }

    pub(crate) fn into_finding(self, origins: &ValueOrigins) -> ConfigFinding {
        // A section is looked for at its header, not at its first key.
        let origin = origins.header(&self.path).cloned().or(self.origin);
        let key = self.path.join(".").replace(".[", "[");
        let finding = match self.what {
            What::UnknownKey(known) => {
                let written = self.path.last().map_or("", String::as_str);
                ConfigFinding::error(key, "unknown key").remedy(suggestion(written, known))
            }
            What::UnknownChoice(found, known) => {
                ConfigFinding::error(key, format!("unknown value \"{found}\"")).remedy(suggestion(&found, known))
            }
            What::Missing(field) => {
                let remedy = match field {
                    "password" => "make one with `hearthgate broker passwd NAME`",
                    _ => "add it",
                };
                ConfigFinding::error(key, format!("the key \"{field}\" is missing")).remedy(remedy)
            }
            What::Other(message) => ConfigFinding::error(key, message),
        };
        finding.at(origin.as_ref())
    }
}

fn suggestion(written: &str, known: &[&str]) -> String {
    match nearest_word(written, known.iter().copied()) {
        Some(word) => format!("did you mean \"{word}\"?"),
        None if known.is_empty() => "nothing is allowed here".into(),
        None => format!("known are {}", known.join(", ")),
    }
}

impl fmt::Display for ReadProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.path.join("."), self.what)
    }
}

impl std::error::Error for ReadProblem {}

impl de::Error for ReadProblem {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(What::Other(message.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let expected = match expected.to_string().as_str() {
            "u16" => "a whole number from 0 to 65535".to_owned(),
            "u32" | "u64" | "usize" => "a whole number, 0 or more".to_owned(),
            "f64" => "a number".to_owned(),
            "a boolean" => "true or false".to_owned(),
            "a string" => "a text in quotes".to_owned(),
            "a sequence" => "a list".to_owned(),
            other if other.starts_with("struct ") || other == "a map" => "a section".to_owned(),
            other => other.to_owned(),
        };
        Self::new(What::Other(format!("expected {expected}, found {}", in_words(found))))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(found: &str, known: &'static [&'static str]) -> Self {
        Self::new(What::UnknownChoice(found.to_owned(), known))
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        Self::new(What::UnknownKey(known))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(What::Missing(field))
    }
}

fn in_words(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Str(text) => format!("the text \"{text}\""),
        Unexpected::Bool(on) => on.to_string(),
        Unexpected::Signed(number) => format!("the number {number}"),
        Unexpected::Unsigned(number) => format!("the number {number}"),
        Unexpected::Float(number) => format!("the number {number}"),
        Unexpected::Map => "a section".into(),
        Unexpected::Seq => "a list".into(),
        other => other.to_string(),
    }
}

#[derive(Clone, Copy)]
struct Node<'a> {
    value: &'a Value,
    origins: &'a ValueOrigins,
}

impl<'a> Node<'a> {
    fn child(self, value: &'a Value) -> Node<'a> {
        Node { value, origins: self.origins }
    }

    fn origin(self) -> Option<&'a ValueOrigin> {
        self.origins.of(self.value)
    }

    /// Text from the environment or a flag, whose type is what the reader asks for.
    fn untyped(self) -> Option<&'a str> {
        match &self.value.kind {
            ValueKind::String(text) if self.origin().is_some_and(ValueOrigin::is_untyped) => Some(text.trim()),
            _ => None,
        }
    }

    fn as_written<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadProblem> {
        match &self.value.kind {
            ValueKind::Nil => visitor.visit_unit(),
            ValueKind::Boolean(on) => visitor.visit_bool(*on),
            ValueKind::I64(number) => visitor.visit_i64(*number),
            ValueKind::U64(number) => visitor.visit_u64(*number),
            ValueKind::I128(number) => visitor.visit_i128(*number),
            ValueKind::U128(number) => visitor.visit_u128(*number),
            ValueKind::Float(number) => visitor.visit_f64(*number),
            ValueKind::String(text) => visitor.visit_str(text),
            ValueKind::Array(items) => visitor.visit_seq(Items { node: self, items, next: 0 }),
            ValueKind::Table(table) => {
                // Sorted, so that findings come in the same order each time.
                let mut entries: Vec<_> = table.iter().collect();
                entries.sort_by_key(|(key, _)| *key);
                visitor.visit_map(Entries { node: self, entries, next: 0 })
            }
        }
    }

    fn number<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadProblem> {
        let Some(text) = self.untyped() else { return self.as_written(visitor) };
        if let Ok(number) = text.parse::<u64>() {
            visitor.visit_u64(number)
        } else if let Ok(number) = text.parse::<i64>() {
            visitor.visit_i64(number)
        } else if let Ok(number) = text.parse::<f64>() {
            visitor.visit_f64(number)
        } else {
            visitor.visit_str(text)
        }
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadProblem> {
            self.number(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Node<'_> {
    type Error = ReadProblem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadProblem> {
        // Nobody says what it should be, so it is what it looks like.
        match self.untyped() {
            Some("true") => return visitor.visit_bool(true),
            Some("false") => return visitor.visit_bool(false),
            Some(text) if text.parse::<i64>().is_ok() => return self.number(visitor),
            _ => {}
        }
        self.as_written(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadProblem> {
        self.as_written(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadProblem> {
        self.as_written(visitor)
    }

    numbers! {
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_i8 deserialize_i16 deserialize_i32
        deserialize_i64 deserialize_f32 deserialize_f64
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadProblem> {
        match self.untyped() {
            Some("true" | "yes" | "on" | "1") => visitor.visit_bool(true),
            Some("false" | "no" | "off" | "0") => visitor.visit_bool(false),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadProblem> {
        match &self.value.kind {
            ValueKind::Nil => visitor.visit_none(),
            // So that a layer above can take away what one below has set.
            ValueKind::String(text) if text.is_empty() => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadProblem> {
        let Some(text) = self.untyped() else { return self.deserialize_any(visitor) };
        let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let items: Vec<Value> = inner
            .split(',')
            .map(|item| item.trim().trim_matches('"'))
            .filter(|item| !item.is_empty())
            .map(|item| Value::new(self.value.origin().map(str::to_owned).as_ref(), item))
            .collect();
        visitor.visit_seq(Items { node: self, items: &items, next: 0 })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ReadProblem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadProblem> {
        match &self.value.kind {
            ValueKind::String(text) => {
                let choice: StrDeserializer<'_, ReadProblem> = text.as_str().into_deserializer();
                visitor.visit_enum(choice)
            }
            ValueKind::Table(table) if table.len() == 1 => visitor.visit_enum(Tagged { node: self }),
            _ => Err(ReadProblem::new(What::Other(format!("expected one of {}", variants.join(", "))))),
        }
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct map struct identifier ignored_any
    }
}

struct Items<'a, 'b> {
    node: Node<'a>,
    items: &'b [Value],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'_, '_> {
    type Error = ReadProblem;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadProblem> {
        let Some(value) = self.items.get(self.next) else { return Ok(None) };
        let node = Node { value, origins: self.node.origins };
        let position = format!("[{}]", self.next);
        self.next += 1;
        seed.deserialize(node).map(Some).map_err(|problem| problem.under(&position, node.origin()))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len() - self.next)
    }
}

struct Entries<'a> {
    node: Node<'a>,
    entries: Vec<(&'a String, &'a Value)>,
    next: usize,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = ReadProblem;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadProblem> {
        let Some((key, value)) = self.entries.get(self.next) else { return Ok(None) };
        let text: StrDeserializer<'_, ReadProblem> = key.as_str().into_deserializer();
        let origin = self.node.origins.of(value).or_else(|| first_origin(value, self.node.origins));
        seed.deserialize(text).map(Some).map_err(|problem| problem.under(key, origin))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadProblem> {
        let (key, value) = self.entries[self.next];
        self.next += 1;
        let node = self.node.child(value);
        seed.deserialize(node).map_err(|problem| problem.under(key, node.origin()))
    }
}

/// A table has no origin of its own after merging; what is in it has.
fn first_origin<'a>(value: &Value, origins: &'a ValueOrigins) -> Option<&'a ValueOrigin> {
    match &value.kind {
        ValueKind::Table(table) => {
            let line = |origin: &&ValueOrigin| match origin {
                ValueOrigin::File { line, .. } => *line,
                _ => usize::MAX,
            };
            table.values().filter_map(|inner| first_origin(inner, origins)).min_by_key(line)
        }
        _ => origins.of(value),
    }
}

/// `{ variant = content }`.
struct Tagged<'a> {
    node: Node<'a>,
}

impl<'de, 'a> EnumAccess<'de> for Tagged<'a> {
    type Error = ReadProblem;
    type Variant = TaggedContent<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, TaggedContent<'a>), ReadProblem> {
        let ValueKind::Table(table) = &self.node.value.kind else {
            return Err(ReadProblem::new(What::Other("expected a section".into())));
        };
        let Some((key, value)) = table.iter().next() else {
            return Err(ReadProblem::new(What::Other("expected one key".into())));
        };
        let text: StrDeserializer<'_, ReadProblem> = key.as_str().into_deserializer();
        Ok((seed.deserialize(text)?, TaggedContent { node: self.node.child(value) }))
    }
}

struct TaggedContent<'a> {
    node: Node<'a>,
}

impl<'de> de::VariantAccess<'de> for TaggedContent<'_> {
    type Error = ReadProblem;

    fn unit_variant(self) -> Result<(), ReadProblem> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ReadProblem> {
        seed.deserialize(self.node)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ReadProblem> {
        self.node.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, ReadProblem> {
        self.node.deserialize_any(visitor)
    }
}
