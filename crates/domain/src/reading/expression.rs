//! Expressions of the template language, over what templates see.

use super::source::MessageSource;
use crate::suggestion::unknown_word;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, ErrorKind, Expression, UndefinedBehavior, context};
use std::cell::OnceCell;
use std::fmt;

/// Instructions that one expression may take.
const FUEL: u64 = 50_000;
const RESULT: &str = "value";
/// What [`ExpressionNames`] makes.
const NAMES: [&str; 7] = ["payload", "element", "raw", "topic", "levels", "captures", "flow"];

/// The compiled expressions of a flow.
pub(super) struct ExpressionSet {
    environment: Environment<'static>,
    count: usize,
}

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct ExpressionRef {
    name: Box<str>,
    source: Box<str>,
}

impl fmt::Display for ExpressionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

// The environment is long.
impl fmt::Debug for ExpressionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExpressionSet({})", self.count)
    }
}

impl ExpressionSet {
    pub(super) fn new() -> Self {
        let mut environment = Environment::new();
        // What is not there is undefined at any depth: `payload.a.b is defined` asks for it.
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(32);
        Self { environment, count: 0 }
    }

    /// Compiles an expression.
    ///
    /// # Errors
    /// In words: it is none, or it names what is never there.
    pub(super) fn add(&mut self, source: &str) -> Result<ExpressionRef, String> {
        let problem = |error: minijinja::Error| format!("{source:?} is no expression: {error}");
        // The expression by itself first: what would end the block below is no part of one.
        let expression = self.environment.compile_expression_owned(source.to_owned()).map_err(problem)?;
        self.check_names(&expression).map_err(|reason| format!("{source:?}: {reason}"))?;
        let name = self.count.to_string();
        let block = format!("{{% set {RESULT} = ({source}) %}}");
        self.environment.add_template_owned(name.clone(), block).map_err(problem)?;
        self.count += 1;
        Ok(ExpressionRef { name: name.into(), source: source.into() })
    }

    /// A slip in a name would otherwise show with each message, or, behind `is defined`, never.
    fn check_names(&self, expression: &Expression<'_, '_>) -> Result<(), String> {
        let is_global = |name: &str| self.environment.globals().any(|(known, _)| known == name);
        let mut unknown: Vec<String> = expression.undeclared_variables(false).into_iter().collect();
        unknown.retain(|name| !NAMES.contains(&name.as_str()) && !is_global(name));
        unknown.sort_unstable();
        if let Some(name) = unknown.first() {
            return Err(unknown_word(name, &NAMES));
        }
        // Filters and tests are looked up when they are used. Without values most other things fail, which says nothing.
        match expression.eval(context! {}) {
            Err(error) if matches!(error.kind(), ErrorKind::UnknownFilter | ErrorKind::UnknownTest) => {
                Err(error.to_string())
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    pub(super) fn evaluate(&self, expression: &ExpressionRef, names: &ExpressionNames<'_>) -> Result<Value, String> {
        let problem = |error: minijinja::Error| format!("the expression {:?}: {error}", expression.source);
        let template = self.environment.get_template(&expression.name).map_err(problem)?;
        let rendered = template.render_captured(names.context()?).map_err(problem)?;
        Ok(rendered.state().lookup(RESULT).unwrap_or(Value::UNDEFINED))
    }
}

/// What expressions see of a message, made when the first one asks.
pub(super) struct ExpressionNames<'a> {
    source: &'a MessageSource<'a>,
    payload: Box<dyn Fn() -> Result<serde_json::Value, String> + 'a>,
    element: Option<Box<dyn Fn() -> Result<serde_json::Value, String> + 'a>>,
    context: OnceCell<Result<Value, String>>,
}

impl<'a> ExpressionNames<'a> {
    pub(super) fn new(
        source: &'a MessageSource<'a>,
        payload: impl Fn() -> Result<serde_json::Value, String> + 'a,
        element: Option<Box<dyn Fn() -> Result<serde_json::Value, String> + 'a>>,
    ) -> Self {
        Self { source, payload: Box::new(payload), element, context: OnceCell::new() }
    }

    fn context(&self) -> Result<Value, String> {
        self.context.get_or_init(|| self.make()).clone()
    }

    fn make(&self) -> Result<Value, String> {
        let MessageSource { flow_code, topic, captures, payload } = self.source;
        let levels: Vec<Value> = topic.split('/').map(Value::from).collect();
        let element = match &self.element {
            Some(element) => Value::from(Serde(&element()?)),
            None => Value::UNDEFINED,
        };
        Ok(context! {
            payload => Value::from(Serde(&(self.payload)()?)),
            element => element,
            raw => String::from_utf8_lossy(payload),
            topic => *topic,
            levels => Value::from(levels),
            captures => Value::from_pairs(captures.iter().copied()),
            flow => *flow_code,
        })
    }
}
