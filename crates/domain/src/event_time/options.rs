//! The option `event_time`, as it is written; all that is wrong is told at once.

use super::{EventTimeReading, EventZone, TimeFormat, TimeSource, UnreadableTime};
use crate::reading::FieldPointer;
use crate::suggestion::unknown_word;
use serde_json::{Map, Value};

const KEYS: [&str; 4] = ["from", "format", "zone", "unreadable"];
const UNREADABLE: [&str; 3] = ["null", "received_at", "refuse"];

impl EventTimeReading {
    /// Reads the option: the name of a field or a JSON Pointer, or an object with `from` and more.
    ///
    /// # Errors
    /// All that is wrong, each with its place.
    pub fn compile(option: &Value) -> Result<Self, Vec<String>> {
        match option {
            Value::String(from) => Ok(EventTimeReading {
                source: source(from).map_err(|problem| vec![format!("event_time: {problem}")])?,
                format: TimeFormat::default(),
                zone: None,
                unreadable: UnreadableTime::default(),
            }),
            Value::Object(keys) => of_object(keys),
            _ => Err(vec!["event_time: is the name of a field, a JSON Pointer, or an object with from".to_owned()]),
        }
    }
}

fn of_object(keys: &Map<String, Value>) -> Result<EventTimeReading, Vec<String>> {
    let mut problems: Vec<String> = keys
        .keys()
        .filter(|key| !KEYS.contains(&key.as_str()))
        .map(|key| format!("event_time: {}", unknown_word(key, &KEYS)))
        .collect();
    let mut told = |place: &str, problem: String| problems.push(format!("event_time.{place}: {problem}"));
    let mut text = |key: &str| match keys.get(key) {
        Some(Value::String(text)) => Some(text.as_str()),
        Some(_) => {
            told(key, "is a text".to_owned());
            None
        }
        None => None,
    };
    let (from, format, zone, unreadable) = (text("from"), text("format"), text("zone"), text("unreadable"));
    if !keys.contains_key("from") {
        told("from", "is missing: the name of a field, or a JSON Pointer such as \"/Time\"".to_owned());
    }
    let source = from.and_then(|from| source(from).map_err(|problem| told("from", problem)).ok());
    let format = format.map_or(Some(TimeFormat::Auto), |name| {
        let format = TimeFormat::named(name);
        if format.is_none() {
            told("format", unknown_word(name, &TimeFormat::NAMES));
        }
        format
    });
    let zone = zone.map(str::parse::<EventZone>).transpose().map_err(|problem| told("zone", problem.to_string()));
    let unreadable = match unreadable {
        None | Some("null") => UnreadableTime::Null,
        Some("received_at") => UnreadableTime::ReceivedAt,
        Some("refuse") => UnreadableTime::Refuse,
        Some(other) => {
            told("unreadable", unknown_word(other, &UNREADABLE));
            UnreadableTime::Null
        }
    };
    match (source, format, zone) {
        (Some(source), Some(format), Ok(zone)) if problems.is_empty() => {
            Ok(EventTimeReading { source, format, zone, unreadable })
        }
        _ => Err(problems),
    }
}

/// A slash, or `^`, begins a pointer.
fn source(from: &str) -> Result<TimeSource, String> {
    match from.starts_with(['/', '^']) {
        true => FieldPointer::parse(from).map(TimeSource::Pointer).map_err(|error| error.to_string()),
        false => Ok(TimeSource::Field(from.into())),
    }
}
