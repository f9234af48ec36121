//! What is wrong with a pattern, why a command cannot be written, and how a device is lost.

use crate::config::HexError;
use std::io;
use std::path::PathBuf;

/// Why a text is no pattern and no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PatternError {
    /// A value without a kind is followed by another one.
    #[error(
        "nothing tells where {{{name}}} ends and {{{next}}} begins; put a text between them, or give {{{name}:…}} a kind"
    )]
    Unseparated { name: String, next: String },
    /// Two values have one name.
    #[error("{{{name}}} stands there twice")]
    Twice { name: String },
    /// A template can write nothing for the value that is forgotten.
    #[error("{{_}} has no value to write")]
    Forgotten,
    #[error("the brace in {text:?} is never closed; `{{{{` is a literal one")]
    Unclosed { text: String },
    #[error("the brace in {text:?} was never opened; `}}}}` is a literal one")]
    Unopened { text: String },
    /// What stands between the braces has no name.
    #[error("{{{inner}}} needs a name of letters, digits and _")]
    Unnamed { inner: String },
    /// The kind is none, or none of this encoding.
    #[error("`{word}` is no kind of value here; use {kinds}")]
    Kind { word: String, kinds: &'static str },
    /// A template names what its rule's patterns do not capture.
    #[error("nothing captures {{{name}}}")]
    Uncaptured { name: String },
    #[error(transparent)]
    Hex(#[from] HexError),
}

/// What is wrong with a value that is to be written; follows the value's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ValueError {
    /// A line end would smuggle a second frame to the device.
    #[error("holds a control character")]
    ControlCharacter,
    #[error("is empty")]
    Empty,
    #[error("must have a length of {length}, and is {text:?}")]
    Length { length: usize, text: String },
    #[error("must be {expected}, and is {text:?}")]
    Form { expected: &'static str, text: String },
    #[error("must be an integer from {least} to {most}, and is {text:?}")]
    Range { least: i64, most: i64, text: String },
    #[error(transparent)]
    Hex(#[from] HexError),
}

/// Why a command is not written to the device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandRefusal {
    #[error("the argument `{name}` is missing")]
    Missing { name: String },
    #[error("the argument `{name}` {problem}")]
    Unfit { name: String, problem: ValueError },
    #[error("no rule of this interface knows the action {action:?} here")]
    NoRule { action: String },
}

/// Why a device cannot be reached, or no longer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("opening {} failed: {}", port.display(), source.description)]
    Serial { port: PathBuf, source: tokio_serial::Error },
    #[error("connecting to {address} failed: {source}")]
    Connect { address: String, source: io::Error },
    #[error("connecting to {address} took longer than connect_timeout")]
    ConnectTimeout { address: String },
    #[error("setting the options of the connection to {address} failed: {source}")]
    SocketOptions { address: String, source: io::Error },
    #[error("it closed the connection")]
    Closed,
    #[error("reading from it failed: {0}")]
    Read(#[source] io::Error),
    #[error("it was silent for longer than silence_timeout")]
    Silent,
    #[error("writing to it failed: {0}")]
    Write(#[source] io::Error),
    #[error("it took nothing for longer than write_timeout")]
    WriteTimeout,
    #[error("it took nothing for as long as a command may wait (max_command_age)")]
    Stalled,
}
