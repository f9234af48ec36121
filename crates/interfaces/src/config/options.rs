//! The options of every kind as data: for the refusal of unknown ones, for documentation and for schemas.

use super::error::InterfaceConfigError;
use super::kinds::DriverKind;
use serde_json::{Map, Value};

/// One option, as documentation shows it.
#[derive(Clone, Copy, Debug)]
pub struct OptionDoc {
    /// Its key in the interface's table.
    pub key: &'static str,
    /// What stands there: `bool`, `text`, `number`, `duration`, `list of …`, `table`, or words to choose from.
    pub form: &'static str,
    /// The default as it would be written; `None` when it is required, `Some("")` when it may be absent.
    pub default: Option<&'static str>,
    /// What it does, one line.
    pub doc: &'static str,
}

const fn option(key: &'static str, form: &'static str, default: Option<&'static str>, doc: &'static str) -> OptionDoc {
    OptionDoc { key, form, default, doc }
}

const COMMON: &[OptionDoc] = &[
    option("enabled", "bool", Some("true"), "a disabled interface is not started and subscribes to nothing"),
    option("map", "path", Some(""), "keyword map; or give root and topics"),
    option("root", "text", Some(""), "first topic level of what it publishes, without a map"),
    option("topics", "list of topic filters", Some("[]"), "what it subscribes to, without a map"),
    option("name", "text", Some(""), "name in topics and messages; the table's name when absent"),
    option("retain", "bool", Some("false"), "whether the broker keeps what it publishes"),
    option("qos", "0 | 1 | 2", Some("1"), "quality of service of what it publishes"),
    option("max_command_age", "duration", Some("\"5s\""), "a command that waited longer is refused"),
    option("accept_retained", "bool", Some("false"), "whether retained commands are executed at start"),
    option("replies", "bool", Some("true"), "whether a refused command is answered on the status topic"),
];

const DUMMY: &[OptionDoc] = &[option("period", "duration", Some("\"30s\""), "time between two messages")];

const SERIAL: &[OptionDoc] = &[
    option("port", "path", None, "device file; /dev/serial/by-id/… stays the same over reboots"),
    option("baud", "number", Some("9600"), "bits a second"),
    option("data_bits", "5 | 6 | 7 | 8", Some("8"), "data bits in a character"),
    option("parity", "none | even | odd", Some("\"none\""), "parity bit"),
    option("stop_bits", "1 | 2", Some("1"), "stop bits"),
    option("flow_control", "none | software | hardware", Some("\"none\""), "flow control"),
    FRAME,
    RECEIVE,
    SEND,
    RECONNECT,
    WRITE_TIMEOUT,
    SILENCE_TIMEOUT,
];

const TCP: &[OptionDoc] = &[
    option("address", "text", None, "host:port to connect to"),
    option("connect_timeout", "duration", Some("\"5s\""), "longest time to connect"),
    FRAME,
    RECEIVE,
    SEND,
    RECONNECT,
    WRITE_TIMEOUT,
    SILENCE_TIMEOUT,
];

/// What [`StreamOptions`](super::StreamOptions) holds.
const STREAM: [&OptionDoc; 6] = [&FRAME, &RECEIVE, &SEND, &RECONNECT, &WRITE_TIMEOUT, &SILENCE_TIMEOUT];

const FRAME: OptionDoc =
    option("frame", "table", None, "how frames end: length, delimiter or idle; encoding text or hex");
const RECEIVE: OptionDoc = option("receive", "list of tables", Some("[]"), "what frames mean: match, message, also");
const SEND: OptionDoc = option("send", "list of tables", Some("[]"), "what commands write: action, …, write, also");
const RECONNECT: OptionDoc = option(
    "reconnect",
    "table",
    Some("{ min = \"1s\", max = \"60s\" }"),
    "pauses between attempts, doubling, with jitter",
);
const WRITE_TIMEOUT: OptionDoc =
    option("write_timeout", "duration", Some("\"5s\""), "a longer write means that the device is gone");
const SILENCE_TIMEOUT: OptionDoc =
    option("silence_timeout", "duration", Some(""), "a longer silence means that the device is gone");

const EXEC: &[OptionDoc] = &[
    option("command", "list of text", None, "program and arguments; no shell in between"),
    option("directory", "path", Some(""), "working directory; the configuration file's folder when absent"),
    option("environment", "table of text", Some("{}"), "variables added to the child's environment"),
    option("params", "table", Some("{}"), "handed to the child in its hello"),
    option("start_timeout", "duration", Some("\"10s\""), "longest time until the child is ready"),
    option("stop_timeout", "duration", Some("\"5s\""), "longest time from stop to the child's end"),
    option("ping_interval", "duration", Some("\"10s\""), "time between two pings"),
    option("ping_timeout", "duration", Some("\"30s\""), "a child that leaves a ping unanswered for so long is killed"),
];

/// The options that every kind has (and `kind` itself).
#[must_use]
pub fn common_options() -> &'static [OptionDoc] {
    COMMON
}

/// The options that only this kind has.
#[must_use]
pub fn kind_options(kind: DriverKind) -> &'static [OptionDoc] {
    match kind {
        DriverKind::Dummy => DUMMY,
        DriverKind::Serial => SERIAL,
        DriverKind::Tcp => TCP,
        DriverKind::Exec => EXEC,
    }
}

/// Whether an option of `serial` or `tcp` is about the stream rather than the line or the connection.
pub(super) fn is_of_stream(key: &str) -> bool {
    STREAM.iter().any(|option| option.key == key)
}

pub(super) fn refuse_unknown(kind: DriverKind, table: &Map<String, Value>) -> Result<(), InterfaceConfigError> {
    let known = || kind_options(kind).iter().chain(COMMON).map(|option| option.key);
    for key in table.keys() {
        if known().any(|name| name == key) {
            continue;
        }
        let nearest = known().min_by_key(|name| distance(key, name)).filter(|name| distance(key, name) <= 2);
        let advice = match nearest {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("it knows {}", known().collect::<Vec<_>>().join(", ")),
        };
        return Err(InterfaceConfigError::new(
            key.as_str(),
            format!("is no option of an interface of kind `{kind}`; {advice}"),
        ));
    }
    Ok(())
}

/// How many letters must be put in, left out or changed to make one word of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, counterpart) in other.iter().enumerate() {
            let change = diagonal + usize::from(letter != *counterpart);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[other.len()]
}
