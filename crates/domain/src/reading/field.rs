//! One field of a record: where its value is found, and what is made of it.

use super::expression::{ExpressionNames, FieldExpression};
use super::pointer::FieldPointer;
use super::problem::ReadingProblem;
use super::source::JsonRoot;
use crate::payload::{JsonKind, RawJson, ValueFormat, field_text};
use minijinja::value::{Value, ValueKind};
use std::borrow::Cow;

/// How a field comes about.
#[derive(Debug)]
pub(super) struct FieldRule {
    pub(super) name: Box<str>,
    pub(super) source: FieldSource,
    pub(super) target: Option<ConversionTarget>,
    /// What a value, as text, becomes; JSON texts.
    pub(super) map: Option<Vec<(Box<str>, Box<str>)>>,
    /// A JSON text.
    pub(super) default: Option<Box<str>>,
    pub(super) is_optional: bool,
}

#[derive(Debug)]
pub(super) enum FieldSource {
    /// The first that is there.
    Pointers(Vec<FieldPointer>),
    Expression(FieldExpression),
}

/// `as`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConversionTarget {
    Number,
    Integer,
    Boolean,
    Text,
}

impl ConversionTarget {
    pub(super) const NAMES: [&str; 4] = ["number", "integer", "boolean", "text"];

    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "number" => Some(ConversionTarget::Number),
            "integer" => Some(ConversionTarget::Integer),
            "boolean" => Some(ConversionTarget::Boolean),
            "text" => Some(ConversionTarget::Text),
            _ => None,
        }
    }
}

/// What the fields of one record are read from.
pub(super) struct FieldOrigin<'a> {
    pub(super) root: &'a JsonRoot<'a>,
    pub(super) element: Option<RawJson<'a>>,
    pub(super) names: &'a ExpressionNames<'a>,
}

impl<'a> FieldOrigin<'a> {
    pub(super) fn find(&self, FieldPointer { is_from_payload, pointer }: &FieldPointer) -> Option<RawJson<'a>> {
        match self.element.filter(|_| !is_from_payload) {
            Some(element) => pointer.find(element),
            None => self.root.find(pointer),
        }
    }
}

impl FieldRule {
    /// The field's value as JSON text; none when it may be absent, and is.
    pub(super) fn read<'a>(&'a self, origin: &FieldOrigin<'a>) -> Result<Option<Cow<'a, str>>, ReadingProblem> {
        let found = match &self.source {
            FieldSource::Pointers(pointers) => {
                let first = pointers.iter().find_map(|pointer| origin.find(pointer));
                first.map(|value| Cow::Borrowed(value.text()))
            }
            FieldSource::Expression(expression) => {
                let value = expression.evaluate(origin.names);
                value.and_then(|value| json_of(&value)).map_err(|reason| self.problem(&reason))?.map(Cow::Owned)
            }
        };
        let Some(found) = found else {
            return match (&self.default, self.is_optional) {
                (Some(default), _) => Ok(Some(Cow::Borrowed(default))),
                (None, true) => Ok(None),
                (None, false) => Err(self.problem(&format!("{} is not there", self.origin_text()))),
            };
        };
        let mapped = match &self.map {
            Some(map) => Cow::Borrowed(self.mapped(map, &found)?),
            None => found,
        };
        match self.target {
            Some(target) => Ok(Some(self.converted(target, mapped)?)),
            None => Ok(Some(mapped)),
        }
    }

    /// Where its value comes from, for people.
    pub(super) fn origin_text(&self) -> String {
        match &self.source {
            FieldSource::Pointers(pointers) => {
                pointers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
            }
            FieldSource::Expression(expression) => expression.to_string(),
        }
    }

    fn mapped<'a>(&'a self, map: &'a [(Box<str>, Box<str>)], found: &str) -> Result<&'a str, ReadingProblem> {
        let value = RawJson::parse(found).map_err(|error| self.problem(&error.to_string()))?;
        let text = field_text(&value, ValueFormat::Json);
        let known = map.iter().find(|(from, _)| **from == *text).map(|(_, to)| &**to);
        known.or(self.default.as_deref()).ok_or_else(|| {
            let names: Vec<&str> = map.iter().map(|(from, _)| &**from).collect();
            self.problem(&format!("{} is none of {}", shown(&text), names.join(", ")))
        })
    }

    fn converted<'a>(&self, target: ConversionTarget, found: Cow<'a, str>) -> Result<Cow<'a, str>, ReadingProblem> {
        let value = RawJson::parse(&found).map_err(|error| self.problem(&error.to_string()))?;
        let is_done = match (target, value.kind()) {
            // Whether null is welcome says the schema.
            (_, JsonKind::Null)
            | (ConversionTarget::Number, JsonKind::Number | JsonKind::Integer)
            | (ConversionTarget::Integer, JsonKind::Integer)
            | (ConversionTarget::Boolean, JsonKind::Boolean)
            | (ConversionTarget::Text, JsonKind::String) => true,
            _ => false,
        };
        if is_done {
            return Ok(found);
        }
        let text = field_text(&value, ValueFormat::Json);
        let converted = match target {
            ConversionTarget::Number => number(value.kind(), &text),
            ConversionTarget::Integer => integer(value.kind(), &text),
            ConversionTarget::Boolean => boolean(value.kind(), &text).map(|is_on| is_on.to_string()),
            ConversionTarget::Text => Some(json_string(&text)),
        };
        let name = ConversionTarget::NAMES[target as usize];
        converted.map(Cow::Owned).ok_or_else(|| self.problem(&format!("{} is no {name}", shown(&text))))
    }

    fn problem(&self, reason: &str) -> ReadingProblem {
        let pointer = match &self.source {
            FieldSource::Pointers(pointers) => pointers.first().map(|first| first.pointer.to_string()),
            FieldSource::Expression(_) => None,
        };
        let reason = format!("field {:?}: {reason}", self.name);
        ReadingProblem { pointer: pointer.unwrap_or_default(), reason }
    }
}

pub(super) fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The beginning of a value, in quotes.
fn shown(text: &str) -> String {
    const SHOWN: usize = 40;
    let is_long = text.chars().nth(SHOWN).is_some();
    format!("{:?}{}", text.chars().take(SHOWN).collect::<String>(), if is_long { "…" } else { "" })
}

/// The digits of a number that stands in a text.
fn number(kind: JsonKind, text: &str) -> Option<String> {
    let text = (kind == JsonKind::String).then(|| text.trim())?;
    let is_number =
        RawJson::parse(text).is_ok_and(|value| matches!(value.kind(), JsonKind::Integer | JsonKind::Number));
    is_number.then(|| text.to_owned())
}

/// A number without a fraction, as number or text; `22.0` is one.
fn integer(kind: JsonKind, text: &str) -> Option<String> {
    let text = match kind {
        JsonKind::Number => text.to_owned(),
        _ => number(kind, text)?,
    };
    let digits = text.strip_prefix('-').unwrap_or(&text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_whole = whole.bytes().all(|byte| byte.is_ascii_digit()) && fraction.bytes().all(|byte| byte == b'0');
    is_whole.then(|| text.split('.').next().unwrap_or_default().to_owned())
}

/// Words that devices use, in any case, and 1 and 0.
fn boolean(kind: JsonKind, text: &str) -> Option<bool> {
    if !matches!(kind, JsonKind::String | JsonKind::Integer) {
        return None;
    }
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "1" => Some(true),
        "false" | "off" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// What an expression gave, as JSON; none for what is not there.
fn json_of(value: &Value) -> Result<Option<String>, String> {
    if value.is_undefined() {
        return Ok(None);
    }
    if value.kind() == ValueKind::Number && f64::try_from(value.clone()).is_ok_and(|number| !number.is_finite()) {
        return Err("the expression gives no finite number".to_owned());
    }
    serde_json::to_string(value).map(Some).map_err(|error| format!("the expression gives no value: {error}"))
}
