//! A fate as it is kept: a line of JSON.

use hearthgate_domain::delivery::UnixMicros;
use hearthgate_domain::fate::FateOutcome;
use serde::{Deserialize, Serialize};
use std::io;

/// What one flow made of one message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptFate {
    /// When it was decided.
    pub at: UnixMicros,
    /// When the message came in.
    pub received_at: UnixMicros,
    /// Its number in the journal, if it is in there.
    pub seq: Option<u64>,
    /// Its topic; empty where the message itself was not told.
    pub topic: String,
    /// The beginning of its payload.
    pub payload: Vec<u8>,
    /// Bytes of the whole payload.
    pub size: usize,
    /// The flow; absent: it concerns every flow.
    pub flow: Option<String>,
    /// How it ended.
    pub outcome: FateOutcome,
    /// Why.
    pub reason: String,
    /// JSON pointer to the field at fault, or empty.
    pub pointer: String,
}

impl KeptFate {
    /// As a line of the file, with its end.
    pub(super) fn line(&self) -> io::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }
}

#[cfg(test)]
pub(super) fn fate(flow: &str, outcome: FateOutcome, at: UnixMicros) -> KeptFate {
    KeptFate {
        at,
        received_at: at,
        seq: Some(at.unsigned_abs()),
        topic: "a/b".into(),
        payload: b"{}".to_vec(),
        size: 2,
        flow: Some(flow.into()),
        outcome,
        reason: String::new(),
        pointer: String::new(),
    }
}
