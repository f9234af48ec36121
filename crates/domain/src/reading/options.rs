//! From the options of a flow to the way it reads; all that is wrong is told at once.

use super::expression::FieldExpression;
use super::field::{ConversionTarget, FieldRule, FieldSource};
use super::pointer::FieldPointer;
use super::{FieldPlan, PayloadForm, RecordReading};
use crate::payload::JsonPointer;
use crate::suggestion::unknown_word;
use serde_json::{Map, Value};

/// The names of these options.
pub const READING_OPTIONS: [&str; 7] = ["payload", "fields", "each", "when", "unfit", "topic", "key"];
const RULE_KEYS: [&str; 6] = ["from", "as", "map", "default", "optional", "expr"];
/// As many as a table has columns.
const MOST_FIELDS: usize = 500;
const MOST_KEY_PARTS: usize = 8;

/// The options that say how records are read, as they are given.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadingOptions<'a> {
    /// `"json"`, `"value"` or `"text"`.
    pub payload: Option<&'a Value>,
    /// `{NAME: SOURCE}` or `"flatten"`.
    pub fields: Option<&'a Value>,
    /// A JSON Pointer to an array.
    pub each: Option<&'a Value>,
    /// An expression.
    pub when: Option<&'a Value>,
    /// `"dead_letter"` or `"skip"`.
    pub unfit: Option<&'a Value>,
    /// `true`.
    pub topic: Option<&'a Value>,
    /// Expressions.
    pub key: Option<&'a Value>,
}

impl RecordReading {
    /// Makes a reading of the options; none when none of them is given.
    ///
    /// # Errors
    /// All that is wrong, each with its place.
    pub fn compile(options: &ReadingOptions<'_>) -> Result<Option<Self>, Vec<String>> {
        let ReadingOptions { payload, fields, each, when, unfit, topic, key } = options;
        if [payload, fields, each, when, unfit, topic, key].iter().all(|option| option.is_none()) {
            return Ok(None);
        }
        let mut compiler = Compiler { names: Vec::new(), problems: Vec::new() };
        let form = payload.map_or(PayloadForm::Json, |form| compiler.form(form));
        let each = each.and_then(|each| compiler.array(each, form));
        let when = when.and_then(|when| compiler.expression("when", when));
        let skips_unfit = unfit.is_some_and(|unfit| compiler.skips(unfit));
        let adds_topic = topic.is_some_and(|topic| compiler.flag("topic", topic));
        let fields = fields.map_or(FieldPlan::All, |fields| compiler.fields(fields, adds_topic));
        let key = key.map_or(Vec::new(), |key| compiler.key(key));
        let Compiler { names, problems } = compiler;
        match problems.is_empty() {
            true => Ok(Some(Self { form, fields, each, when, adds_topic, skips_unfit, key, names })),
            false => Err(problems),
        }
    }
}

struct Compiler {
    /// What the expressions use.
    names: Vec<&'static str>,
    problems: Vec<String>,
}

impl Compiler {
    fn refuse(&mut self, place: &str, problem: &str) {
        self.problems.push(format!("{place}: {problem}"));
    }

    fn form(&mut self, form: &Value) -> PayloadForm {
        match form.as_str() {
            Some("json") => return PayloadForm::Json,
            Some("value") => return PayloadForm::Value,
            Some("text") => return PayloadForm::Text,
            Some(other) => self.refuse("payload", &unknown_word(other, &["json", "value", "text"])),
            None => self.refuse("payload", "is \"json\", \"value\" or \"text\""),
        }
        PayloadForm::Json
    }

    fn skips(&mut self, unfit: &Value) -> bool {
        match unfit.as_str() {
            Some("skip") => return true,
            Some("dead_letter") => {}
            Some(other) => self.refuse("unfit", &unknown_word(other, &["dead_letter", "skip"])),
            None => self.refuse("unfit", "is \"dead_letter\" or \"skip\""),
        }
        false
    }

    fn flag(&mut self, place: &str, flag: &Value) -> bool {
        flag.as_bool().unwrap_or_else(|| {
            self.refuse(place, "is true or false");
            false
        })
    }

    fn array(&mut self, each: &Value, form: PayloadForm) -> Option<JsonPointer> {
        if form != PayloadForm::Json {
            self.refuse("each", "needs a payload that is JSON; leave payload out");
        }
        let Some(text) = each.as_str() else {
            self.refuse("each", "is a JSON Pointer to an array, such as \"/readings\"");
            return None;
        };
        self.told("each", JsonPointer::parse(text).map_err(|error| error.to_string()))
    }

    fn expression(&mut self, place: &str, source: &Value) -> Option<FieldExpression> {
        let Some(source) = source.as_str() else {
            self.refuse(place, "is an expression, such as \"payload.t is defined\"");
            return None;
        };
        let expression = self.told(place, FieldExpression::compile(source))?;
        let new = expression.names().iter().filter(|name| !self.names.contains(name)).copied().collect::<Vec<_>>();
        self.names.extend(new);
        Some(expression)
    }

    fn key(&mut self, key: &Value) -> Vec<FieldExpression> {
        let parts = key.as_array().map_or(std::slice::from_ref(key), Vec::as_slice);
        if parts.is_empty() || parts.len() > MOST_KEY_PARTS {
            self.refuse("key", &format!("is 1 to {MOST_KEY_PARTS} expressions, such as [\"payload.id\"]"));
        }
        parts.iter().filter_map(|part| self.expression("key", part)).collect()
    }

    fn fields(&mut self, fields: &Value, adds_topic: bool) -> FieldPlan {
        match fields {
            Value::String(word) if word == "flatten" => return FieldPlan::Flatten,
            Value::String(word) => self.refuse("fields", &unknown_word(word, &["flatten"])),
            Value::Object(rules) if rules.is_empty() || rules.len() > MOST_FIELDS => {
                self.refuse("fields", &format!("names 1 to {MOST_FIELDS} fields"));
            }
            Value::Object(rules) => {
                if adds_topic && rules.contains_key("topic") {
                    self.refuse("topic", "adds a field of this name, which stands in fields too");
                }
                let rules = rules.iter().filter_map(|(name, rule)| self.rule(name, rule)).collect();
                return FieldPlan::Named(rules);
            }
            _ => self.refuse("fields", "is an object {NAME: SOURCE} or \"flatten\""),
        }
        FieldPlan::All
    }

    fn rule(&mut self, name: &str, rule: &Value) -> Option<FieldRule> {
        let place = format!("fields.{name}");
        if name.is_empty() || name.contains('\0') {
            self.refuse(&place, "a field needs a name");
        }
        match rule {
            Value::String(pointer) => {
                let pointer = self.pointer(&place, pointer)?;
                Some(FieldRule {
                    name: name.into(),
                    source: FieldSource::Pointers(vec![pointer]),
                    target: None,
                    map: None,
                    default: None,
                    is_optional: false,
                })
            }
            Value::Object(keys) => self.long_rule(name, &place, keys),
            _ => {
                self.refuse(&place, "is a JSON Pointer such as \"/ENERGY/Power\", or an object with from or expr");
                None
            }
        }
    }

    fn long_rule(&mut self, name: &str, place: &str, keys: &Map<String, Value>) -> Option<FieldRule> {
        for key in keys.keys().filter(|key| !RULE_KEYS.contains(&key.as_str())) {
            self.refuse(place, &unknown_word(key, &RULE_KEYS));
        }
        let target = keys.get("as").and_then(|target| self.target(place, target));
        let map = keys.get("map").and_then(|map| self.map(place, map));
        let is_optional = keys.get("optional").is_some_and(|flag| self.flag(&format!("{place}.optional"), flag));
        let default = keys.get("default").map(|default| default.to_string().into_boxed_str());
        if is_optional && default.is_some() {
            self.refuse(place, "has optional and default; with a default it is always there");
        }
        let source = match (keys.get("from"), keys.get("expr")) {
            (Some(from), None) => self.pointers(&format!("{place}.from"), from).map(FieldSource::Pointers),
            (None, Some(source)) => self.expression(&format!("{place}.expr"), source).map(FieldSource::Expression),
            (Some(_), Some(_)) => {
                self.refuse(place, "has from and expr; a field has one source");
                None
            }
            (None, None) => {
                self.refuse(place, "has no source; give it from (a JSON Pointer) or expr");
                None
            }
        };
        Some(FieldRule { name: name.into(), source: source?, target, map, default, is_optional })
    }

    fn target(&mut self, place: &str, target: &Value) -> Option<ConversionTarget> {
        let name = target.as_str().unwrap_or_default();
        let known = ConversionTarget::named(name).ok_or_else(|| unknown_word(name, &ConversionTarget::NAMES));
        self.told(&format!("{place}.as"), known)
    }

    fn map(&mut self, place: &str, map: &Value) -> Option<Vec<(Box<str>, Box<str>)>> {
        let Some(map) = map.as_object().filter(|map| !map.is_empty()) else {
            self.refuse(&format!("{place}.map"), "is an object such as {\"ON\": true, \"OFF\": false}");
            return None;
        };
        Some(map.iter().map(|(from, to)| (from.as_str().into(), to.to_string().into())).collect())
    }

    fn pointers(&mut self, place: &str, from: &Value) -> Option<Vec<FieldPointer>> {
        let list = from.as_array().map_or(std::slice::from_ref(from), Vec::as_slice);
        if list.is_empty() || list.iter().any(|one| !one.is_string()) {
            self.refuse(place, "is a JSON Pointer, or a list of them");
            return None;
        }
        list.iter().filter_map(Value::as_str).map(|pointer| self.pointer(place, pointer)).collect()
    }

    fn pointer(&mut self, place: &str, text: &str) -> Option<FieldPointer> {
        self.told(place, FieldPointer::parse(text).map_err(|error| error.to_string()))
    }

    fn told<T>(&mut self, place: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|problem| self.refuse(place, &problem)).ok()
    }
}
