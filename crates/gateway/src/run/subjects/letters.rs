//! The dead letters, in groups of those that failed alike.

use crate::commands::explain;
use crate::commands::flow::checks;
use crate::run::subjects::common::{database, now, time, unavailable};
use crate::wiring::FlowCommands;
use chrono::TimeDelta;
use hearthgate_api::wire::{
    LetterChoice, LetterFate, LetterGroup, LetterGroups, LetterPage, LetterView, LettersReplayed,
};
use hearthgate_api::{FlowOrders, LetterStore, SubjectAnswer, SubjectFailure};
use hearthgate_domain::flow::{ActionKind, Flow};
use hearthgate_settings::GatewaySettings;
use hearthgate_storage::dead_letters::{DeadLetter, DeadLetterFilter, DeadLetterGroup, UNDO_TIME};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Letters read at a time.
const PAGE: u32 = 1_000;
/// Letters that one order concerns; of more, the newest.
const MOST: usize = 10_000;
/// Letters that the answer to an order names.
const NAMED: usize = 200;
/// Bytes of a payload that are shown.
const SHOWN: usize = 64 * 1024;

#[derive(Clone)]
pub(super) struct LetterSubject {
    pub(super) flows: FlowCommands,
    pub(super) orders: FlowOrders,
    pub(super) settings: Arc<GatewaySettings>,
}

impl LetterStore for LetterSubject {
    fn groups(&self) -> SubjectAnswer<LetterGroups> {
        let letters = self.flows.dead_letters.clone();
        Box::pin(async move {
            let totals = letters.totals().await.map_err(unavailable)?;
            let groups = folded(letters.groups().await.map_err(unavailable)?);
            let dropped = letters.dropped(now()).await.map_err(unavailable)?;
            let undo_until =
                dropped.last_at.and_then(|at| time(at).checked_add_signed(TimeDelta::from_std(UNDO_TIME).ok()?));
            Ok(LetterGroups {
                groups,
                letters: totals.letters,
                bytes: totals.bytes,
                evicted: totals.evicted,
                dropped: dropped.letters,
                undo_until,
            })
        })
    }

    fn list(&self, choice: LetterChoice, before: Option<i64>, limit: u32) -> SubjectAnswer<LetterPage> {
        let store = self.clone();
        Box::pin(async move {
            let limit = limit as usize;
            let mut found = store.chosen(&choice, before, limit + 1).await?;
            let next = (found.len() > limit).then(|| found[limit - 1].id);
            found.truncate(limit);
            Ok(LetterPage { letters: found.iter().map(view).collect(), next })
        })
    }

    fn show(&self, id: i64) -> SubjectAnswer<LetterView> {
        let letters = self.flows.dead_letters.clone();
        Box::pin(async move {
            let found = letters.get(id).await.map_err(unavailable)?;
            found.as_ref().map(view).ok_or_else(|| SubjectFailure::Missing(format!("there is no dead letter {id}")))
        })
    }

    fn replay(&self, choice: LetterChoice, is_dry: bool) -> SubjectAnswer<LettersReplayed> {
        let store = self.clone();
        Box::pin(async move {
            let chosen = store.chosen(&choice, None, MOST).await?;
            let flows = if is_dry { store.compiled().await? } else { HashMap::new() };
            let (mut taken, mut refused) = (Vec::new(), Vec::new());
            // The oldest first, as they came in.
            for letter in chosen.iter().rev() {
                let done = match is_dry {
                    true => store.would_take(letter.id, &flows, choice.again).await?,
                    false => (store.orders.replay)(letter.id, choice.again).await.map(drop),
                };
                let topic = letter.letter.topic.clone();
                let fate = LetterFate { id: letter.id, topic, taken: done.is_ok(), reason: done.err() };
                if fate.taken { &mut taken } else { &mut refused }.push(fate);
            }
            let counts = (taken.len() as u64, refused.len() as u64);
            let letters = refused.into_iter().chain(taken).take(NAMED).collect();
            Ok(LettersReplayed { dry_run: is_dry, taken: counts.0, refused: counts.1, letters })
        })
    }

    fn drop_letters(&self, choice: LetterChoice) -> SubjectAnswer<u64> {
        let store = self.clone();
        Box::pin(async move {
            let ids: Vec<i64> = store.chosen(&choice, None, MOST).await?.iter().map(|letter| letter.id).collect();
            store.flows.dead_letters.drop_letters(&ids, now()).await.map_err(unavailable)
        })
    }

    fn restore(&self) -> SubjectAnswer<u64> {
        let letters = self.flows.dead_letters.clone();
        Box::pin(async move { letters.restore_dropped(now()).await.map_err(unavailable) })
    }
}

impl LetterSubject {
    /// The newest first, at most so many.
    async fn chosen(
        &self,
        choice: &LetterChoice,
        before: Option<i64>,
        most: usize,
    ) -> Result<Vec<DeadLetter>, SubjectFailure> {
        let letters = &self.flows.dead_letters;
        let replayed = (!choice.again && choice.ids.is_empty()).then_some(false);
        let mut filter = DeadLetterFilter { flow_code: choice.flow.clone(), before, replayed, ..Default::default() };
        let mut found = Vec::new();
        if !choice.ids.is_empty() {
            for id in choice.ids.iter().take(most) {
                found.extend(letters.get(*id).await.map_err(unavailable)?);
            }
            found.sort_by_key(|letter| std::cmp::Reverse(letter.id));
            return Ok(found);
        }
        while found.len() < most {
            let page = letters.list(&filter, PAGE).await.map_err(unavailable)?;
            let Some(oldest) = page.last() else { break };
            filter.before = Some(oldest.id);
            let is_chosen = |letter: &DeadLetter| choice.group.as_ref().is_none_or(|group| key_of(letter) == *group);
            found.extend(page.into_iter().filter(is_chosen));
        }
        found.truncate(most);
        Ok(found)
    }

    async fn compiled(&self) -> Result<HashMap<String, Flow>, SubjectFailure> {
        let rows = database(&self.flows.database)?.load_flows().await.map_err(unavailable)?;
        let flows = rows.iter().filter(|row| row.enabled).filter_map(|row| checks::compile_flow(row).ok());
        Ok(flows.map(|flow| (flow.code.to_string(), flow)).collect())
    }

    /// Whether a replay would be taken, by the same checks.
    async fn would_take(
        &self,
        id: i64,
        flows: &HashMap<String, Flow>,
        again: bool,
    ) -> Result<Result<(), String>, SubjectFailure> {
        let found = self.flows.dead_letters.get(id).await.map_err(unavailable)?;
        let Some(found) = found else { return Ok(Err("it is no longer there".into())) };
        if found.replayed_at.is_some() && !again {
            return Ok(Err("it was replayed before; say that you want it again".into()));
        }
        let letter = &found.letter;
        let verdict = |flow: &Flow| {
            let answer = explain::of_flow(flow, &letter.topic, &letter.payload, 1, &self.settings.flows);
            let errors = answer["errors"].as_array().into_iter().flatten();
            let reasons: Vec<&str> = errors.filter_map(|error| error["message"].as_str()).collect();
            if reasons.is_empty() { Ok(()) } else { Err(format!("it is refused as before: {}", reasons.join("; "))) }
        };
        Ok(match &letter.flow_code {
            Some(code) => match flows.get(code) {
                Some(flow) if letter.part.is_some_and(|part| !flow.does(part)) => {
                    Err(format!("flow {code} has no {} any more", letter.part.map_or("", ActionKind::name)))
                }
                Some(flow) => verdict(flow),
                None => Err(format!("the flow {code} is not there, or is switched off")),
            },
            None => {
                let matching = flows.values().filter(|flow| flow.topic.filter().matches(&letter.topic));
                let mut verdicts: Vec<Result<(), String>> = matching.map(verdict).collect();
                match verdicts.iter().position(Result::is_ok) {
                    Some(_) => Ok(()),
                    None => verdicts.pop().unwrap_or_else(|| Err("no flow wants its topic".into())),
                }
            }
        })
    }
}

/// Groups that differ in values alone are one.
fn folded(groups: Vec<DeadLetterGroup>) -> Vec<LetterGroup> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut folded: Vec<LetterGroup> = Vec::new();
    // The newest first: its reason is shown.
    for group in groups {
        let key = key(group.flow_code.as_deref(), group.pointer.as_deref(), &group.reason);
        match places.get(&key) {
            Some(place) => {
                let one = &mut folded[*place];
                one.count += group.count;
                one.replayed += group.replayed;
                one.first_at = one.first_at.min(time(group.first_at));
                one.last_at = one.last_at.max(time(group.last_at));
            }
            None => {
                places.insert(key.clone(), folded.len());
                folded.push(LetterGroup {
                    key,
                    flow: group.flow_code,
                    pointer: group.pointer,
                    reason: group.reason,
                    count: group.count,
                    replayed: group.replayed,
                    first_at: time(group.first_at),
                    last_at: time(group.last_at),
                });
            }
        }
    }
    folded.sort_by_key(|group| std::cmp::Reverse(group.count));
    folded
}

fn key_of(letter: &DeadLetter) -> String {
    let letter = &letter.letter;
    key(letter.flow_code.as_deref(), letter.pointer.as_deref(), &letter.reason)
}

fn key(flow: Option<&str>, pointer: Option<&str>, reason: &str) -> String {
    let mut hasher = DefaultHasher::new();
    (flow, pointer.map(shape), shape(reason)).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// The reason without what was found: what is quoted, and numbers.
fn shape(reason: &str) -> String {
    let mut shape = String::with_capacity(reason.len());
    let mut quote = None;
    for letter in reason.chars() {
        match (quote, letter) {
            (Some(end), letter) if letter == end => quote = None,
            (Some(_), _) => {}
            (None, '"' | '`') => {
                quote = Some(letter);
                shape.push('"');
            }
            (None, letter) if letter.is_ascii_digit() => {
                if !shape.ends_with('#') {
                    shape.push('#');
                }
            }
            (None, letter) => shape.push(letter),
        }
    }
    shape
}

fn view(found: &DeadLetter) -> LetterView {
    let letter = &found.letter;
    let shown = letter.payload.get(..SHOWN).unwrap_or(&letter.payload);
    let is_cut = (shown.len() as u64) < found.payload_len;
    let text = match std::str::from_utf8(shown) {
        Ok(text) => Some(text.to_owned()),
        // Cut within a character.
        Err(error) if is_cut && error.error_len().is_none() => {
            Some(String::from_utf8_lossy(&shown[..error.valid_up_to()]).into_owned())
        }
        Err(_) => None,
    };
    LetterView {
        id: found.id,
        group: key_of(found),
        flow: letter.flow_code.clone(),
        topic: letter.topic.clone(),
        part: letter.part.map(|part| part.name().to_owned()),
        reason: letter.reason.clone(),
        pointer: letter.pointer.clone(),
        received_at: time(letter.received_at),
        dead_at: time(letter.dead_at),
        attempts: letter.attempts,
        replayed_at: found.replayed_at.map(time),
        bytes: found.payload_len,
        text,
        hex: shown.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(reason: &str, count: u64) -> DeadLetterGroup {
        let (flow_code, pointer) = (Some("A".to_owned()), None);
        DeadLetterGroup { flow_code, pointer, reason: reason.into(), count, replayed: 0, first_at: 1, last_at: 2 }
    }

    #[test]
    fn letters_that_differ_in_values_alone_are_one_group() {
        let groups: Vec<DeadLetterGroup> = (0..10_000)
            .map(|n| group(&format!("expected a number from 0 to 50, found \"warm {n}\" in 1.{n} s"), 1))
            .chain([group("no such flow", 7)])
            .collect();
        let folded = folded(groups);
        assert_eq!(folded.iter().map(|group| group.count).collect::<Vec<_>>(), [10_000, 7]);
    }
}
