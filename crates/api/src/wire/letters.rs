//! Dead letters.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Letters that failed alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LetterGroup {
    /// Names the group in a choice.
    pub key: String,
    /// Whose they are; absent: refused for every flow.
    pub flow: Option<String>,
    /// Where in the payload, a JSON pointer.
    pub pointer: Option<String>,
    /// The newest one's reason.
    pub reason: String,
    /// How many there are.
    pub count: u64,
    /// How many of them were replayed.
    pub replayed: u64,
    /// When the newest one was given up.
    pub last_at: DateTime<Utc>,
    /// When the oldest one was given up.
    pub first_at: DateTime<Utc>,
}

/// `GET /api/v1/dead-letters/groups`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LetterGroups {
    /// The largest first.
    pub groups: Vec<LetterGroup>,
    /// All letters.
    pub letters: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Letters that ever had to go to make room, unread.
    pub evicted: u64,
    /// Letters that were dropped and can be brought back.
    pub dropped: u64,
    /// Until when, if there are any.
    pub undo_until: Option<DateTime<Utc>>,
}

/// Which letters; all that fit every part that is given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LetterChoice {
    /// These.
    #[serde(default)]
    pub ids: Vec<i64>,
    /// Of this group.
    #[serde(default)]
    pub group: Option<String>,
    /// Of this flow.
    #[serde(default)]
    pub flow: Option<String>,
    /// Also those that were replayed before.
    #[serde(default)]
    pub again: bool,
}

/// A letter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LetterView {
    /// Its number.
    pub id: i64,
    /// Its group.
    pub group: String,
    /// Whose it is; absent: refused for every flow.
    pub flow: Option<String>,
    /// Topic of the message.
    pub topic: String,
    /// What of the flow's actions failed; absent: none had begun.
    pub part: Option<String>,
    /// Why.
    pub reason: String,
    /// Where in the payload, a JSON pointer.
    pub pointer: Option<String>,
    /// When the message came in.
    pub received_at: DateTime<Utc>,
    /// When it was given up.
    pub dead_at: DateTime<Utc>,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was replayed last.
    pub replayed_at: Option<DateTime<Utc>>,
    /// Size of the payload.
    pub bytes: u64,
    /// The payload as text, if it is text; in a list the first 256 bytes of it.
    pub text: Option<String>,
    /// The payload in hexadecimal digits, at most its first 64 KiB.
    pub hex: String,
}

/// `GET /api/v1/dead-letters`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LetterPage {
    /// The newest first.
    pub letters: Vec<LetterView>,
    /// Ask with `before` of this for the next page; absent: there is none.
    pub next: Option<i64>,
}

/// What became of a letter, or would become.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LetterFate {
    /// Its number.
    pub id: i64,
    /// Its topic.
    pub topic: String,
    /// Whether a flow takes it now.
    pub taken: bool,
    /// Why not.
    pub reason: Option<String>,
}

/// `POST /api/v1/dead-letters/replay`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LettersReplayed {
    /// Nothing was done: this is what would be.
    pub dry_run: bool,
    /// How many were taken, or would be.
    pub taken: u64,
    /// How many were refused, or would be.
    pub refused: u64,
    /// The first of them, the refused ones before the others.
    pub letters: Vec<LetterFate>,
}

/// `POST /api/v1/dead-letters/drop`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LettersDropped {
    /// How many there were. For ten minutes `POST /api/v1/dead-letters/undo` brings them back.
    pub dropped: u64,
}

/// `POST /api/v1/dead-letters/undo`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LettersRestored {
    /// How many are there again.
    pub restored: u64,
}
