//! Templates for an endpoint's URL and body (minijinja, the Jinja2 syntax).
//!
//! A template sees `payload` (the message's JSON), `element` (with `each`), `raw` (its text, every digit as it was sent), `topic`, `levels` (the
//! topic's levels), `captures` (by name), `flow`, `message_id` and `received_at` (RFC 3339, UTC). A name that is not there
//! is an error. Values are escaped for the place they stand in, and `| safe` turns that off. In a URL they are
//! percent-encoded, so that a topic or payload cannot change the host, the path or the query; `| part` does it
//! explicitly. In a JSON body they are JSON values, or within a string the text of one, and the body has to be JSON in the
//! end; `raw` stands there as the JSON that it is. In any other body nothing is escaped.

use chrono::{DateTime, SecondsFormat};
use hearthgate_domain::delivery::UnixMicros;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, context};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::cell::Cell;
use std::fmt;
use std::io;

/// What RFC 3986, section 2.3, leaves unreserved stays; all else is encoded.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Instructions that one rendering may take.
const FUEL: u64 = 200_000;
const NAME: &str = "template";
/// Characters of a body that is no JSON that are shown.
const SHOWN: usize = 40;

thread_local! {
    /// Where in a JSON body the next value will stand. Rendering does not leave its thread.
    static PLACE: Cell<JsonPlace> = const { Cell::new(JsonPlace::Outside) };
}

/// A place in a JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JsonPlace {
    Outside,
    InString,
    /// In a string, after a backslash.
    Escaped,
}

impl JsonPlace {
    fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Outside, b'"') | (Self::Escaped, _) => Self::InString,
            (Self::InString, b'"') => Self::Outside,
            (Self::InString, b'\\') => Self::Escaped,
            (place, _) => place,
        }
    }
}

/// What a template is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplatePurpose {
    /// A URL, at most 8 KiB.
    Url,
    /// A body that is JSON, at most 1 MiB.
    Json,
    /// Any other body, at most 1 MiB, and the topic of a message.
    Body,
}

impl TemplatePurpose {
    /// What the template of a body is for: the header `Content-Type` says whether it is JSON. Without one the template
    /// does, with an object, array or string at its beginning.
    #[must_use]
    pub fn of_body(source: &str, content_type: Option<&str>) -> Self {
        let is_json = match content_type {
            Some(value) => {
                let kind = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
                kind.ends_with("/json") || kind.ends_with("+json")
            }
            None => begins_as_json(source),
        };
        if is_json { TemplatePurpose::Json } else { TemplatePurpose::Body }
    }

    fn most_bytes(self) -> usize {
        match self {
            TemplatePurpose::Url => 8 << 10,
            TemplatePurpose::Json | TemplatePurpose::Body => 1 << 20,
        }
    }
}

/// What a template is filled with.
#[derive(Clone, Copy, Debug)]
pub struct TemplateMessage<'a> {
    /// The payload, as JSON.
    pub payload: &'a serde_json::Value,
    /// The one element of the payload that the message is, if the flow takes payloads apart.
    pub element: Option<&'a serde_json::Value>,
    /// The payload's text.
    pub raw: &'a str,
    /// Topic name.
    pub topic: &'a str,
    /// The named levels of the flow's filter.
    pub captures: &'a [(String, String)],
    /// The flow's code.
    pub flow: &'a str,
    /// The message's identifier.
    pub message_id: &'a str,
    /// When it came in.
    pub received_at: UnixMicros,
}

/// Why a template could not be compiled or filled.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// It is not valid, or the message lacks what it asks for.
    #[error("could not fill in the template: {0}")]
    Template(#[from] Error),
    /// The text would be too long.
    #[error("the template's text is over {0} bytes")]
    TooLong(usize),
    /// A body that was to be JSON.
    #[error("the template makes a body that is no JSON, near {near:?}: {problem}")]
    NotJson {
        /// The body around the place.
        near: String,
        /// What the parser says, with line and column.
        problem: serde_json::Error,
    },
}

/// Writes a value for the place where it stands; the second one is the payload's text.
type Escape = fn(&Value, Option<&Value>) -> Result<String, Error>;

/// A compiled template.
pub struct BodyTemplate {
    environment: Environment<'static>,
    purpose: TemplatePurpose,
}

// The environment is long, and a template can hold secrets.
impl fmt::Debug for BodyTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({:?})", self.purpose)
    }
}

impl BodyTemplate {
    /// Compiles a template.
    ///
    /// # Errors
    /// [`TemplateError::Template`] with the line, for a syntax error. An unknown filter or function shows when the template
    /// is filled in.
    pub fn new(source: &str, purpose: TemplatePurpose) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(32);
        environment.add_filter("part", |value: &Value| encode(value).map(Value::from_safe_string));
        let escape: Option<Escape> = match purpose {
            TemplatePurpose::Url => Some(|value, _| encode(value)),
            TemplatePurpose::Json => Some(json_text),
            TemplatePurpose::Body => None,
        };
        if let Some(escape) = escape {
            environment.set_formatter(move |out, state, value| {
                if value.is_safe() || value.is_undefined() {
                    return minijinja::escape_formatter(out, state, value);
                }
                out.write_str(&escape(value, state.lookup("raw").as_ref())?).map_err(Error::from)
            });
        }
        environment.add_template_owned(NAME, source.to_owned())?;
        Ok(BodyTemplate { environment, purpose })
    }

    /// Fills it in.
    ///
    /// # Errors
    /// [`TemplateError`]: a name that is not there, a loop that takes too long, or too long a text.
    pub fn render(&self, message: &TemplateMessage<'_>) -> Result<String, TemplateError> {
        let most = self.purpose.most_bytes();
        PLACE.set(JsonPlace::Outside);
        let mut text = Bounded { bytes: Vec::new(), most, full: false };
        let captures = message.captures.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let levels: Vec<Value> = message.topic.split('/').map(Value::from).collect();
        let context = context! {
            payload => Value::from(Serde(message.payload)),
            element => message.element.map_or(Value::UNDEFINED, |element| Value::from(Serde(element))),
            raw => message.raw,
            topic => message.topic,
            levels => Value::from(levels),
            captures => Value::from_pairs(captures),
            flow => message.flow,
            message_id => message.message_id,
            received_at => rfc3339(message.received_at),
        };
        let template = self.environment.get_template(NAME)?;
        let rendered = template.render_captured_to(context, &mut text).map(drop);
        if text.full {
            return Err(TemplateError::TooLong(most));
        }
        rendered?;
        let text = String::from_utf8_lossy(&text.bytes).into_owned();
        if self.purpose == TemplatePurpose::Json {
            check_json(&text)?;
        }
        Ok(text)
    }
}

/// Whether the first thing that a template writes is the beginning of an object, an array or a string.
fn begins_as_json(source: &str) -> bool {
    let mut rest = source.trim_start();
    loop {
        let end = match rest.get(..2) {
            Some("{%") => "%}",
            Some("{#") => "#}",
            Some("{{") => return false,
            _ => return rest.starts_with(['{', '[', '"']),
        };
        let Some((_, after)) = rest.split_once(end) else { return false };
        rest = after.trim_start();
    }
}

/// A value for the place in a JSON body that comes next.
fn json_text(value: &Value, raw: Option<&Value>) -> Result<String, Error> {
    let json = |text: Result<String, serde_json::Error>| {
        text.map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
    };
    if PLACE.get() != JsonPlace::Outside {
        let quoted = json(serde_json::to_string(&value.to_string()))?;
        return Ok(quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default().to_owned());
    }
    match value.as_str() {
        // It is JSON as it was sent, digit for digit; unless a template calls something else by its name.
        Some(text) if raw.and_then(Value::as_str) == Some(text) && check_json(text).is_ok() => Ok(text.to_owned()),
        _ => json(serde_json::to_string(value)),
    }
}

fn check_json(text: &str) -> Result<(), TemplateError> {
    let Err(problem) = serde_json::from_str::<&serde_json::value::RawValue>(text) else { return Ok(()) };
    let line = text.lines().nth(problem.line().saturating_sub(1)).unwrap_or_default();
    // The column counts bytes, and may lie within a character.
    let at = String::from_utf8_lossy(line.as_bytes().get(..problem.column()).unwrap_or(line.as_bytes()));
    let skipped = at.chars().count().saturating_sub(SHOWN / 2);
    Err(TemplateError::NotJson { near: line.chars().skip(skipped).take(SHOWN).collect(), problem })
}

/// A value as a part of a URL. Dots alone would walk through the path, in whatever way they are written.
fn encode(value: &Value) -> Result<String, Error> {
    let text = value.to_string();
    if matches!(text.as_str(), "." | "..") {
        return Err(Error::new(ErrorKind::InvalidOperation, format!("{text:?} cannot be a part of a URL")));
    }
    Ok(utf8_percent_encode(&text, ENCODED).to_string())
}

/// A time that no calendar has shows as the microseconds that it is.
fn rfc3339(at: UnixMicros) -> String {
    match DateTime::from_timestamp_micros(at) {
        Some(time) => time.to_rfc3339_opts(SecondsFormat::Micros, true),
        None => at.to_string(),
    }
}

/// Takes bytes up to a bound.
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
    full: bool,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.most {
            self.full = true;
            return Err(io::Error::other("the text is too long"));
        }
        self.bytes.extend_from_slice(bytes);
        PLACE.set(bytes.iter().fold(PLACE.get(), |place, byte| place.after(*byte)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn render(source: &str, purpose: TemplatePurpose) -> Result<String, TemplateError> {
        let payload = json!({"temp": 21.5, "name": "a/b?c=d&e", "up": "..", "tags": ["x", "y"]});
        let captures = [("room".to_owned(), "küche 1".to_owned())];
        BodyTemplate::new(source, purpose)?.render(&TemplateMessage {
            payload: &payload,
            element: None,
            raw: r#"{"temp": 21.50}"#,
            topic: "haus/küche 1/klima",
            captures: &captures,
            flow: "CLIMATE",
            message_id: "msg_1",
            received_at: 784_111_777_123_456,
        })
    }

    fn url(source: &str) -> String {
        render(source, TemplatePurpose::Url).unwrap()
    }

    fn body(source: &str) -> String {
        render(source, TemplatePurpose::Body).unwrap()
    }

    #[test]
    fn values_in_a_url_are_percent_encoded_unless_declared_safe() {
        assert_eq!(url("http://h/{{ captures.room }}/{{ payload.temp }}"), "http://h/k%C3%BCche%201/21.5");
        assert_eq!(url("http://h/?n={{ payload.name }}"), "http://h/?n=a%2Fb%3Fc%3Dd%26e");
        assert_eq!(url("http://h/{{ levels[2] }}/{{ topic | part }}"), "http://h/klima/haus%2Fk%C3%BCche%201%2Fklima");
        assert_eq!(url("http://h/{{ payload.name | safe }}"), "http://h/a/b?c=d&e");
    }

    #[test]
    fn dots_cannot_walk_through_a_url() {
        assert!(render("http://h/items/{{ payload.up }}/x", TemplatePurpose::Url).is_err());
        assert!(render("http://h/items/{{ payload.up | part }}/x", TemplatePurpose::Body).is_err());
    }

    #[test]
    fn a_body_shows_what_the_message_has() {
        assert_eq!(body("{{ raw }} {{ flow }} {{ message_id }}"), r#"{"temp": 21.50} CLIMATE msg_1"#);
        assert_eq!(body("{{ received_at }}"), "1994-11-06T08:49:37.123456Z");
        let json = body(r#"{"n":{{ payload.name | tojson }},"t":{{ payload.tags | tojson }}}"#);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json, json!({"n": "a/b?c=d&e", "t": ["x", "y"]}));
        assert_eq!(body("{% for tag in payload.tags %}[{{ tag }}]{% endfor %}"), "[x][y]");
        assert_eq!(body("<{{ payload.name }}>"), "<a/b?c=d&e>", "nothing is escaped");
    }

    #[test]
    fn a_value_in_a_json_body_is_a_value_or_text_and_can_add_no_keys() {
        let payload =
            json!({"n": "x\",\"role\":\"admin\",\"rest\":\"", "back": "\\", "t": [1, "ü\n"], "on": true, "no": null});
        let filled = |source: &str| {
            let message = TemplateMessage {
                payload: &payload,
                element: None,
                raw: r#"{"n": 21.50}"#,
                topic: "a/b",
                captures: &[],
                flow: "F",
                message_id: "msg_1",
                received_at: 0,
            };
            let purpose = TemplatePurpose::of_body(source, None);
            assert_eq!(purpose, TemplatePurpose::Json, "{source}");
            BodyTemplate::new(source, purpose).unwrap().render(&message)
        };
        let value = |source: &str| -> serde_json::Value { serde_json::from_str(&filled(source).unwrap()).unwrap() };
        assert_eq!(
            value(r#"{"name":"{{ payload.n }}","role":"guest"}"#),
            json!({"name": payload["n"], "role": "guest"})
        );
        assert_eq!(value(r#"{"name":{{ payload.n }}}"#), json!({"name": payload["n"]}));
        assert_eq!(value(r#"{"a\"":"{{ payload.back }}","b":"{{ payload.t }} {{ payload.on }}"}"#)["a\""], json!("\\"));
        assert_eq!(value("[{{ payload.t }}, {{ payload.on }}, {{ payload.no }}]"), json!([payload["t"], true, null]));
        assert_eq!(value("[{{ payload.t | tojson }}, {{ topic }}]"), json!([payload["t"], "a/b"]));
        assert_eq!(filled(r#"{"all":{{ raw }}}"#).unwrap(), r#"{"all":{"n": 21.50}}"#);
        assert_eq!(value(r#"{"all":"{{ raw }}"}"#), json!({"all": r#"{"n": 21.50}"#}));
        assert_eq!(filled(r#"[{{ "1, 2" | safe }}]"#).unwrap(), "[1, 2]");
        let error = filled("{\"a\": 1,\n \"name\": \"{{ payload.n | safe }}\" oops}").unwrap_err().to_string();
        assert!(error.contains("no JSON, near") && error.contains("line 2") && error.contains("oops"), "{error}");
    }

    #[test]
    fn the_content_type_or_the_beginning_says_whether_a_body_is_json() {
        let is_json = |source, kind| TemplatePurpose::of_body(source, kind) == TemplatePurpose::Json;
        for source in ["{\"a\":1}", " [1]", "{% if x %}{}{% endif %}", "{# note #}\n{}"] {
            assert!(is_json(source, None), "{source}");
        }
        for source in ["", "{{ raw }}", "a={{ topic }}", "{% if x", "ü"] {
            assert!(!is_json(source, None), "{source}");
        }
        assert!(is_json("{{ topic }}", Some("application/json; charset=utf-8")));
        assert!(is_json("{{ topic }}", Some("Application/LD+JSON")));
        assert!(!is_json("{}", Some("text/plain")));
    }

    #[test]
    fn what_is_not_there_is_an_error_that_names_it_or_its_line() {
        for source in ["{{ payload.humidity }}", "{{ nothing }}", "{{ captures.kind }}", "\n{{ levels[9] }}"] {
            assert!(render(source, TemplatePurpose::Body).is_err(), "{source}");
            assert!(render(source, TemplatePurpose::Url).is_err(), "{source}");
        }
        assert_eq!(body("{{ payload.humidity | default(0) }}"), "0");
        let error = render("a\n{{ topic | nofilter }}", TemplatePurpose::Body).unwrap_err().to_string();
        assert!(error.contains("template:2") && error.contains("nofilter"), "{error}");
        assert!(BodyTemplate::new("{{ x ", TemplatePurpose::Url).is_err());
        assert!(render("{% include 'other' %}", TemplatePurpose::Body).is_err(), "no other files");
    }

    #[test]
    fn a_template_cannot_run_or_grow_without_bound() {
        let nested = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
        assert!(matches!(render(nested, TemplatePurpose::Body), Err(TemplateError::Template(_))));
        let long = "{% for a in range(9000) %}{{ topic }}{% endfor %}";
        assert!(matches!(render(long, TemplatePurpose::Url), Err(TemplateError::TooLong(8192))));
    }
}
