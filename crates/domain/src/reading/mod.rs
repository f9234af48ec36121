//! How a flow reads records out of payloads that are not flat JSON objects.
//!
//! A record is a JSON object, as a text: the fields that the options name, with the digits that were sent. Schema, rows,
//! tables and gates work on it as on a payload. A payload of several records is taken apart first: each element becomes a
//! payload of its own, the whole one with that element alone in its array. So every record is a message of its own from
//! there on, with its own number and its own dead letter, and a replay reads it as it was read the first time.

mod expression;
mod field;
mod flatten;
mod options;
mod pointer;
mod problem;
mod source;

pub use options::{READING_OPTIONS, ReadingOptions};
pub use pointer::FieldPointer;
pub use problem::ReadingProblem;
pub use source::MessageSource;

use crate::payload::{JsonKind, JsonPointer, PayloadError, RawJson};
use expression::{ExpressionNames, FieldExpression};
use field::{FieldOrigin, FieldRule, json_string};
use source::JsonRoot;
use std::borrow::Cow;

/// Elements of one message.
const MOST_ELEMENTS: usize = 10_000;
/// Bytes that the payloads of a message's elements may have together.
const MOST_SPLIT_BYTES: usize = 16 << 20;

/// How a flow reads its records.
#[derive(Debug)]
pub struct RecordReading {
    form: PayloadForm,
    fields: FieldPlan,
    each: Option<JsonPointer>,
    when: Option<FieldExpression>,
    adds_topic: bool,
    skips_unfit: bool,
    key: Vec<FieldExpression>,
    /// What the expressions use.
    names: Vec<&'static str>,
}

/// `payload`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum PayloadForm {
    #[default]
    Json,
    Value,
    Text,
}

/// `fields`.
#[derive(Debug)]
enum FieldPlan {
    /// Those of the payload, or of the element.
    All,
    Flatten,
    Named(Vec<FieldRule>),
}

/// What a message holds for a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordOutcome {
    /// A JSON object.
    Record(String),
    /// Nothing, and nothing is wrong; why.
    Skipped(String),
}

impl RecordReading {
    /// Takes a payload of several records apart, each into a payload of its own; `None` when it is one message as it is.
    ///
    /// # Errors
    /// There are more than 10,000 elements, or their payloads would have more than 16 MiB together.
    pub fn split(&self, payload: &[u8]) -> Result<Option<Vec<Vec<u8>>>, ReadingProblem> {
        let Some(each) = &self.each else { return Ok(None) };
        // What is wrong with it shows when it is read.
        let Ok(text) = self.json_text(payload) else { return Ok(None) };
        let Ok(root) = JsonRoot::parse(&text) else { return Ok(None) };
        let Some(array) = root.find(each) else { return Ok(None) };
        let elements = array.items().unwrap_or_default();
        if elements.len() < 2 {
            return Ok(None);
        }
        let text = root.text();
        let around = text.len() - array.text().len() + 2;
        let bytes: usize = elements.iter().map(|element| around + element.text().len()).sum();
        if elements.len() > MOST_ELEMENTS || bytes > MOST_SPLIT_BYTES {
            return Err(ReadingProblem {
                pointer: each.to_string(),
                reason: format!(
                    "each: {} elements of {bytes} bytes in all; at most {MOST_ELEMENTS} and {MOST_SPLIT_BYTES}",
                    elements.len()
                ),
            });
        }
        // The array's text lies within the payload's.
        let start = array.text().as_ptr() as usize - text.as_ptr() as usize;
        let (before, after) = (&text[..start], &text[start + array.text().len()..]);
        let alone = |element: &RawJson<'_>| format!("{before}[{}]{after}", element.text()).into_bytes();
        Ok(Some(elements.iter().map(alone).collect()))
    }

    /// Reads the record of a message, one whose payload was taken apart.
    ///
    /// # Errors
    /// The payload is not what the options say, or lacks a field.
    pub fn read(&self, source: &MessageSource<'_>) -> Result<RecordOutcome, ReadingProblem> {
        match self.skipped_by_topic(source)? {
            Some(skipped) => Ok(skipped),
            None => self.with_origin(source, |origin, elements| self.outcome(source, origin, elements)),
        }
    }

    /// Reads the record of a message that has just come in: it also needs its key.
    ///
    /// # Errors
    /// As [`RecordReading::read`] and [`RecordReading::key`].
    pub fn admit(&self, source: &MessageSource<'_>) -> Result<RecordOutcome, ReadingProblem> {
        match self.skipped_by_topic(source)? {
            Some(skipped) => Ok(skipped),
            None => self.with_origin(source, |origin, elements| {
                self.key_parts(origin)?;
                self.outcome(source, origin, elements)
            }),
        }
    }

    /// The value at a pointer, as JSON; `None` when it is not there.
    ///
    /// # Errors
    /// The payload is not what the options say.
    pub fn value_at(
        &self,
        source: &MessageSource<'_>,
        pointer: &FieldPointer,
    ) -> Result<Option<String>, ReadingProblem> {
        self.with_origin(source, |origin, _| Ok(origin.find(pointer).map(|value| value.text().to_owned())))
    }

    /// What tells a message's device from others; `None` for its topic.
    ///
    /// # Errors
    /// A part of the key is not there.
    pub fn key(&self, source: &MessageSource<'_>) -> Result<Option<String>, ReadingProblem> {
        if self.key.is_empty() {
            return Ok(None);
        }
        self.with_origin(source, |origin, _| Ok(Some(self.key_parts(origin)?.join("\u{1f}"))))
    }

    /// Whether a payload that is no JSON or does not fit is passed over.
    #[must_use]
    pub fn skips_unfit(&self) -> bool {
        self.skips_unfit
    }

    /// Whether what a message is kept apart by is not its topic.
    #[must_use]
    pub fn has_key(&self) -> bool {
        !self.key.is_empty()
    }

    /// Whether the record differs from the payload.
    #[must_use]
    pub fn makes_record(&self) -> bool {
        let is_same = self.form == PayloadForm::Json && matches!(self.fields, FieldPlan::All) && self.each.is_none();
        !is_same || self.adds_topic
    }

    /// The fields that are named, each with where its value comes from.
    pub fn origins(&self) -> impl Iterator<Item = (&str, String)> {
        let rules = match &self.fields {
            FieldPlan::Named(rules) => rules.as_slice(),
            FieldPlan::All | FieldPlan::Flatten => &[],
        };
        rules.iter().map(|rule| (&*rule.name, rule.origin_text()))
    }

    /// The names of all fields that a record can have; none when the payload says.
    #[must_use]
    pub fn field_names(&self) -> Option<Vec<&str>> {
        let FieldPlan::Named(rules) = &self.fields else { return None };
        Some(rules.iter().map(|rule| &*rule.name).chain(self.adds_topic.then_some("topic")).collect())
    }

    /// What templates call `payload` and, with `each`, `element`.
    ///
    /// # Errors
    /// The payload is not what the options say.
    pub fn template_values(
        &self,
        payload: &[u8],
    ) -> Result<(serde_json::Value, Option<serde_json::Value>), ReadingProblem> {
        let text = self.json_text(payload)?;
        let root = JsonRoot::parse(&text)?;
        let element = self.each.as_ref().and_then(|each| root.find(each)?.items()?.first().copied());
        let element = element.map(|element| element.to_value()).transpose();
        let element = element.map_err(|error| ReadingProblem::whole(error.to_string()))?;
        Ok((root.to_value().map_err(ReadingProblem::whole)?, element))
    }

    /// Makes what fields and expressions are read from; the closure is also told how many elements there are, if there is
    /// an array.
    fn with_origin<T>(
        &self,
        source: &MessageSource<'_>,
        work: impl FnOnce(&FieldOrigin<'_>, Option<usize>) -> Result<T, ReadingProblem>,
    ) -> Result<T, ReadingProblem> {
        let text = self.json_text(source.payload)?;
        let root = JsonRoot::parse(&text)?;
        let elements = self.each.as_ref().and_then(|each| root.find(each)?.items());
        let element = elements.as_ref().and_then(|elements| elements.first().copied());
        let names = ExpressionNames::new(source, Some(&root), element, &self.names);
        let origin = FieldOrigin { root: &root, element, names: &names };
        work(&origin, elements.map(|elements| elements.len()))
    }

    /// The payload as a JSON text.
    fn json_text<'a>(&self, payload: &'a [u8]) -> Result<Cow<'a, str>, ReadingProblem> {
        if payload.is_empty() {
            return Err(PayloadError::Empty.into());
        }
        let text = std::str::from_utf8(payload)
            .map_err(|error| PayloadError::NotUtf8 { offset: error.valid_up_to() })
            .map_err(ReadingProblem::from)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        match self.form {
            PayloadForm::Json => Ok(Cow::Borrowed(text)),
            PayloadForm::Text => Ok(Cow::Owned(format!("{{\"value\":{}}}", json_string(text)))),
            PayloadForm::Value => Ok(Cow::Owned(format!("{{\"value\":{}}}", value_text(text)))),
        }
    }

    /// A condition on the topic alone is asked before the payload is read, which need not be JSON then.
    fn skipped_by_topic(&self, source: &MessageSource<'_>) -> Result<Option<RecordOutcome>, ReadingProblem> {
        match self.when.as_ref().filter(|when| !when.reads_payload()) {
            Some(when) => skipped(when, &ExpressionNames::new(source, None, None, when.names())),
            None => Ok(None),
        }
    }

    fn outcome(
        &self,
        source: &MessageSource<'_>,
        origin: &FieldOrigin<'_>,
        elements: Option<usize>,
    ) -> Result<RecordOutcome, ReadingProblem> {
        if let Some(when) = self.when.as_ref().filter(|when| when.reads_payload())
            && let Some(skipped) = skipped(when, origin.names)?
        {
            return Ok(skipped);
        }
        let Some(each) = &self.each else { return self.record(source, origin).map(RecordOutcome::Record) };
        let refuse = |reason: String| Err(ReadingProblem { pointer: each.to_string(), reason });
        match elements {
            Some(0) => Ok(RecordOutcome::Skipped(format!("each: {each} has no element"))),
            Some(1) => self.record(source, origin).map(RecordOutcome::Record),
            Some(count) => refuse(format!("each: {each} has {count} elements, which a replay takes apart")),
            None => refuse(format!("each: {each} is no array, or not there")),
        }
    }

    fn key_parts(&self, origin: &FieldOrigin<'_>) -> Result<Vec<String>, ReadingProblem> {
        let part = |expression: &FieldExpression| {
            let value = expression.evaluate(origin.names);
            let value = value.map_err(|reason| ReadingProblem::whole(format!("key: {reason}")))?;
            match value.is_undefined() || value.is_none() {
                true => Err(ReadingProblem::whole(format!("key: {expression} is not there"))),
                false => Ok(value.to_string()),
            }
        };
        self.key.iter().map(part).collect()
    }

    fn record<'a>(&'a self, source: &MessageSource<'_>, origin: &FieldOrigin<'a>) -> Result<String, ReadingProblem> {
        let whole = || match (origin.element, origin.root) {
            (Some(element), _) => Ok(element),
            (None, JsonRoot::Other(value)) => Ok(*value),
            (None, JsonRoot::Object(payload)) => RawJson::parse(payload.text()),
        };
        let mut record = RecordText(String::with_capacity(source.payload.len()));
        match &self.fields {
            FieldPlan::Named(rules) => {
                for rule in rules {
                    if let Some(value) = rule.read(origin)? {
                        record.push(&rule.name, &value);
                    }
                }
            }
            FieldPlan::Flatten => {
                for (name, value) in flatten::flatten(whole()?)? {
                    record.push(&name, value);
                }
            }
            FieldPlan::All => {
                let whole = whole()?;
                let Some(members) = whole.members() else {
                    return Err(PayloadError::NotAnObject { found: whole.kind() }.into());
                };
                for (name, value) in members.iter().filter(|(name, _)| !self.adds_topic || name != "topic") {
                    record.push(name, value.text());
                }
            }
        }
        if self.adds_topic {
            record.push("topic", &json_string(source.topic));
        }
        Ok(record.finish())
    }
}

/// What becomes of a message for which `when` does not hold.
fn skipped(when: &FieldExpression, names: &ExpressionNames<'_>) -> Result<Option<RecordOutcome>, ReadingProblem> {
    let value = when.evaluate(names).map_err(|reason| ReadingProblem::whole(format!("when: {reason}")))?;
    Ok((!value.is_true()).then(|| RecordOutcome::Skipped(format!("when: {when} does not hold"))))
}

/// A payload that is one value, as JSON text: `21.5` is a number, and what is no JSON is a text.
pub(crate) fn value_text(text: &str) -> Cow<'_, str> {
    let text = text.trim_end_matches('\0').trim();
    let is_scalar = |value: RawJson<'_>| !matches!(value.kind(), JsonKind::Array | JsonKind::Object);
    match RawJson::parse(text).is_ok_and(is_scalar) {
        true => Cow::Borrowed(text),
        false => Cow::Owned(json_string(text)),
    }
}

/// A JSON object that is written field by field.
struct RecordText(String);

impl RecordText {
    fn push(&mut self, name: &str, value: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        match name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-. ".contains(&byte)) {
            true => self.0.extend(["\"", name, "\""]),
            false => self.0.push_str(&json_string(name)),
        }
        self.0.push(':');
        self.0.push_str(value);
    }

    fn finish(mut self) -> String {
        self.0.push_str(if self.0.is_empty() { "{}" } else { "}" });
        self.0
    }
}

#[cfg(test)]
mod tests;
