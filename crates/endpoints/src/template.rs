//! Templates for an endpoint's URL and body (minijinja, the Jinja2 syntax).
//!
//! A template sees `payload` (the message's JSON), `raw` (its text, every digit as it was sent), `topic`, `levels` (the
//! topic's levels), `captures` (by name), `flow`, `message_id` and `received_at` (RFC 3339, UTC). A name that is not there
//! is an error. In a URL every inserted value is percent-encoded, so that a topic or payload cannot change the host, the
//! path or the query; `| safe` turns that off, `| part` does it explicitly. In a body nothing is escaped: use `| tojson`.

use chrono::{DateTime, SecondsFormat};
use hearthgate_domain::delivery::Micros;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, context};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::fmt;
use std::io;

/// What RFC 3986, section 2.3, leaves unreserved stays; all else is encoded.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Instructions that one rendering may take.
const FUEL: u64 = 200_000;
const NAME: &str = "template";

/// What a template is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A URL, at most 8 KiB.
    Url,
    /// A body, at most 1 MiB.
    Body,
}

impl Purpose {
    fn most_bytes(self) -> usize {
        match self {
            Purpose::Url => 8 << 10,
            Purpose::Body => 1 << 20,
        }
    }
}

/// What a template is filled with.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The payload, as JSON.
    pub payload: &'a serde_json::Value,
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
    pub received_at: Micros,
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
}

/// A compiled template.
pub struct Template {
    environment: Environment<'static>,
    purpose: Purpose,
}

// The environment is long, and a template can hold secrets.
impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({:?})", self.purpose)
    }
}

impl Template {
    /// Compiles a template.
    ///
    /// # Errors
    /// [`TemplateError::Template`] with the line, for a syntax error. An unknown filter or function shows when the template
    /// is filled in.
    pub fn new(source: &str, purpose: Purpose) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(32);
        environment.add_filter("part", |value: &Value| encode(value).map(Value::from_safe_string));
        if purpose == Purpose::Url {
            environment.set_formatter(|out, state, value| {
                if value.is_safe() || value.is_undefined() {
                    return minijinja::escape_formatter(out, state, value);
                }
                out.write_str(&encode(value)?).map_err(Error::from)
            });
        }
        environment.add_template_owned(NAME, source.to_owned())?;
        Ok(Template { environment, purpose })
    }

    /// Fills it in.
    ///
    /// # Errors
    /// [`TemplateError`]: a name that is not there, a loop that takes too long, or too long a text.
    pub fn render(&self, message: &Message<'_>) -> Result<String, TemplateError> {
        let most = self.purpose.most_bytes();
        let mut text = Bounded { bytes: Vec::new(), most, full: false };
        let captures = message.captures.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let levels: Vec<Value> = message.topic.split('/').map(Value::from).collect();
        let context = context! {
            payload => Value::from(Serde(message.payload)),
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
        Ok(String::from_utf8_lossy(&text.bytes).into_owned())
    }
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
fn rfc3339(at: Micros) -> String {
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

    fn render(source: &str, purpose: Purpose) -> Result<String, TemplateError> {
        let payload = json!({"temp": 21.5, "name": "a/b?c=d&e", "up": "..", "tags": ["x", "y"]});
        let captures = [("room".to_owned(), "küche 1".to_owned())];
        Template::new(source, purpose)?.render(&Message {
            payload: &payload,
            raw: r#"{"temp": 21.50}"#,
            topic: "haus/küche 1/klima",
            captures: &captures,
            flow: "CLIMATE",
            message_id: "msg_1",
            received_at: 784_111_777_123_456,
        })
    }

    fn url(source: &str) -> String {
        render(source, Purpose::Url).unwrap()
    }

    fn body(source: &str) -> String {
        render(source, Purpose::Body).unwrap()
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
        assert!(render("http://h/items/{{ payload.up }}/x", Purpose::Url).is_err());
        assert!(render("http://h/items/{{ payload.up | part }}/x", Purpose::Body).is_err());
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
    fn what_is_not_there_is_an_error_that_names_it_or_its_line() {
        for source in ["{{ payload.humidity }}", "{{ nothing }}", "{{ captures.kind }}", "\n{{ levels[9] }}"] {
            assert!(render(source, Purpose::Body).is_err(), "{source}");
            assert!(render(source, Purpose::Url).is_err(), "{source}");
        }
        assert_eq!(body("{{ payload.humidity | default(0) }}"), "0");
        let error = render("a\n{{ topic | nofilter }}", Purpose::Body).unwrap_err().to_string();
        assert!(error.contains("template:2") && error.contains("nofilter"), "{error}");
        assert!(Template::new("{{ x ", Purpose::Url).is_err());
        assert!(render("{% include 'other' %}", Purpose::Body).is_err(), "no other files");
    }

    #[test]
    fn a_template_cannot_run_or_grow_without_bound() {
        let nested = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
        assert!(matches!(render(nested, Purpose::Body), Err(TemplateError::Template(_))));
        let long = "{% for a in range(9000) %}{{ topic }}{% endfor %}";
        assert!(matches!(render(long, Purpose::Url), Err(TemplateError::TooLong(8192))));
    }
}
