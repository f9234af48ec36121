//! Expressions of the template language, over what templates see.

use super::source::{JsonRoot, MessageSource};
use crate::payload::RawJson;
use crate::suggestion::unknown_word;
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, ErrorKind, Expression, UndefinedBehavior, context};
use std::cell::OnceCell;
use std::fmt;
use std::sync::LazyLock;

/// Instructions that one expression may take.
const FUEL: u64 = 50_000;
/// What [`ExpressionNames`] makes.
const NAMES: [&str; 7] = ["payload", "element", "raw", "topic", "levels", "captures", "flow"];

/// Filters, tests and functions are the same for all flows.
static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    // What is not there is undefined at any depth: `payload.a.b is defined` asks for it.
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(32);
    environment
});

/// A compiled expression.
pub(super) struct FieldExpression {
    compiled: Expression<'static, 'static>,
    source: Box<str>,
    /// Those of [`NAMES`] that it uses.
    names: Vec<&'static str>,
}

impl fmt::Display for FieldExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

// The environment is long.
impl fmt::Debug for FieldExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FieldExpression({:?})", self.source)
    }
}

impl FieldExpression {
    /// Compiles an expression.
    ///
    /// # Errors
    /// In words: it is none, or it names what is never there.
    pub(super) fn compile(source: &str) -> Result<Self, String> {
        let compiled = ENVIRONMENT
            .compile_expression_owned(source.to_owned())
            .map_err(|error| format!("{source:?} is no expression: {error}"))?;
        let names = known_names(&compiled).map_err(|reason| format!("{source:?}: {reason}"))?;
        Ok(FieldExpression { compiled, source: source.into(), names })
    }

    pub(super) fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// Whether its value depends on the payload as JSON.
    pub(super) fn reads_payload(&self) -> bool {
        self.names.iter().any(|name| matches!(*name, "payload" | "element"))
    }

    pub(super) fn evaluate(&self, names: &ExpressionNames<'_>) -> Result<Value, String> {
        let value = self.compiled.eval(names.context()?);
        value.map_err(|error| format!("the expression {:?}: {error}", self.source))
    }
}

/// Those of [`NAMES`] that an expression uses. A slip in a name would otherwise show with each message, or, behind
/// `is defined`, never.
fn known_names(expression: &Expression<'_, '_>) -> Result<Vec<&'static str>, String> {
    let is_global = |name: &str| ENVIRONMENT.globals().any(|(known, _)| known == name);
    let used = expression.undeclared_variables(false);
    let mut unknown: Vec<&String> =
        used.iter().filter(|name| !NAMES.contains(&name.as_str()) && !is_global(name)).collect();
    unknown.sort_unstable();
    if let Some(name) = unknown.first() {
        return Err(unknown_word(name, &NAMES));
    }
    // Filters and tests are looked up when they are used. Without values most other things fail, which says nothing.
    match expression.eval(context! {}) {
        Err(error) if matches!(error.kind(), ErrorKind::UnknownFilter | ErrorKind::UnknownTest) => {
            Err(error.to_string())
        }
        Ok(_) | Err(_) => Ok(NAMES.into_iter().filter(|name| used.contains(*name)).collect()),
    }
}

/// What expressions see of a message, made when the first one asks.
pub(super) struct ExpressionNames<'a> {
    source: &'a MessageSource<'a>,
    /// None before the payload is read.
    root: Option<&'a JsonRoot<'a>>,
    element: Option<RawJson<'a>>,
    /// Those that the flow's expressions use: no others are made.
    used: &'a [&'static str],
    context: OnceCell<Result<Value, String>>,
}

impl<'a> ExpressionNames<'a> {
    pub(super) fn new(
        source: &'a MessageSource<'a>,
        root: Option<&'a JsonRoot<'a>>,
        element: Option<RawJson<'a>>,
        used: &'a [&'static str],
    ) -> Self {
        Self { source, root, element, used, context: OnceCell::new() }
    }

    fn context(&self) -> Result<Value, String> {
        self.context.get_or_init(|| self.make()).clone()
    }

    fn make(&self) -> Result<Value, String> {
        let named = self.used.iter().map(|name| Ok((*name, self.value(name)?)));
        named.collect::<Result<Vec<_>, String>>().map(Value::from_pairs)
    }

    fn value(&self, name: &str) -> Result<Value, String> {
        let MessageSource { flow_code, topic, captures, payload } = self.source;
        Ok(match name {
            "payload" => template_value(self.root.map(JsonRoot::text))?,
            "element" => template_value(self.element.map(|element| element.text()))?,
            "raw" => Value::from(String::from_utf8_lossy(payload)),
            "topic" => Value::from(*topic),
            "levels" => topic.split('/').map(Value::from).collect(),
            "captures" => Value::from_pairs(captures.iter().copied()),
            "flow" => Value::from(*flow_code),
            _ => Value::UNDEFINED,
        })
    }
}

/// Without a tree of another kind in between.
fn template_value(json: Option<&str>) -> Result<Value, String> {
    json.map_or(Ok(Value::UNDEFINED), |json| serde_json::from_str(json).map_err(|error| error.to_string()))
}
