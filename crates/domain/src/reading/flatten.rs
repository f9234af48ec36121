//! `"fields": "flatten"`: every leaf of a payload, named by its path.

use super::problem::ReadingProblem;
use crate::payload::{JsonKind, RawJson};
use std::collections::HashSet;

/// Leaves of one message.
const MOST_LEAVES: usize = 10_000;

/// Name and JSON text of every leaf, in the order in which they were sent. An empty object or array is a leaf.
pub(super) fn flatten<'a>(value: RawJson<'a>) -> Result<Vec<(String, &'a str)>, ReadingProblem> {
    if !matches!(value.kind(), JsonKind::Object | JsonKind::Array) {
        let reason = format!("fields: flatten needs an object or an array, not {}", value.kind());
        return Err(ReadingProblem { pointer: String::new(), reason });
    }
    let mut leaves = Vec::new();
    collect(String::new(), value, &mut leaves);
    if leaves.len() > MOST_LEAVES {
        let reason = format!("fields: flatten finds {} fields; at most {MOST_LEAVES}", leaves.len());
        return Err(ReadingProblem { pointer: String::new(), reason });
    }
    let mut names = HashSet::with_capacity(leaves.len());
    match leaves.iter().find(|(name, _)| !names.insert(name.as_str())) {
        Some((name, _)) => {
            let reason = format!("fields: flatten finds two fields of the name {name:?}; name them with pointers");
            Err(ReadingProblem { pointer: String::new(), reason })
        }
        None => Ok(leaves),
    }
}

/// As deep as payloads may be nested, which is bounded.
fn collect<'a>(path: String, value: RawJson<'a>, leaves: &mut Vec<(String, &'a str)>) {
    let below = |step: &str| if path.is_empty() { step.to_owned() } else { format!("{path}_{step}") };
    let members = value.members().filter(|members| !members.is_empty());
    let items = value.items().filter(|items| !items.is_empty());
    match (members, items) {
        (Some(members), _) => {
            // Of a repeated name the last value counts.
            let mut later = HashSet::with_capacity(members.len());
            let mut counting: Vec<_> = members.iter().rev().filter(|(name, _)| later.insert(name)).collect();
            counting.reverse();
            for (name, member) in counting {
                collect(below(name), *member, leaves);
            }
        }
        (None, Some(items)) => {
            for (index, item) in items.into_iter().enumerate() {
                collect(below(&index.to_string()), item, leaves);
            }
        }
        (None, None) if path.is_empty() => {}
        (None, None) => leaves.push((path, value.text())),
    }
}
