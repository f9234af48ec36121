//! DeadLetterActor: carries refused messages from the journal to the dead letters, where they can be looked at and replayed.

use crate::backoff::RestartDelay;
use crate::flows::commit::RouteDecision;
use crate::flows::refusal::ReplayRefusal;
use crate::messages::{ReplayLetter, RouteAgain};
use actix::prelude::*;
use hearthgate_domain::delivery::{InboundMessage, UnixMicros, unix_micros};
use hearthgate_domain::flow::{ActionKind, Flow};
use hearthgate_domain::routing::RoutingTable;
use hearthgate_storage::dead_letters::{DeadLetters, NewDeadLetter, OpenClaim};
use hearthgate_storage::journal::{
    self, EntryTarget, SalvagedEntry, Seq, SkipReason, SkippedEntries, StoredEntry, TargetVerdict,
};
use hearthgate_storage::sql::DatabaseError;
use hearthgate_supervision::{ActorExit, ActorFailure};
use std::sync::Arc;
use tokio::sync::watch;
use tracing::{error, warn};
use uuid::Uuid;

/// The name under which the journal keeps what it still needs.
pub const CONSUMER: &str = "dead letters";
/// Why a message out of damaged bytes is a dead letter.
const DAMAGED: &str =
    "the journal was damaged here: the message may not be as it came in, look at it before you replay it";
const BATCH: usize = 500;
const BATCH_BYTES: usize = 1 << 20;

/// What the actor works with.
#[derive(Clone)]
pub struct DeadLetterDeps {
    /// The journal.
    pub journal: journal::JournalHandle,
    /// The flows by number.
    pub table: watch::Receiver<Arc<RoutingTable>>,
    /// Where they go.
    pub letters: DeadLetters,
    /// Who takes a replayed one.
    pub router: Recipient<RouteAgain>,
}

/// See the module.
pub struct DeadLetterActor {
    deps: DeadLetterDeps,
    exit: ActorExit,
}

impl DeadLetterActor {
    /// An actor that goes to work as soon as it is started.
    #[must_use]
    pub fn new(deps: DeadLetterDeps, exit: ActorExit) -> Self {
        DeadLetterActor { deps, exit }
    }
}

impl Actor for DeadLetterActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Before anybody claims another one.
        ctx.wait(settle_claims(self.deps.clone()).into_actor(self).map(|end, act, ctx| {
            if let Err(reason) = end {
                act.exit.fail(ctx, reason);
            }
        }));
        ctx.spawn(run(self.deps.clone()).into_actor(self).map(|end, act, ctx| {
            if let Err(reason) = end {
                act.exit.fail(ctx, reason);
            }
        }));
    }
}

impl Supervised for DeadLetterActor {}

impl Handler<ReplayLetter> for DeadLetterActor {
    type Result = ResponseFuture<Result<usize, ReplayRefusal>>;

    fn handle(&mut self, order: ReplayLetter, _: &mut Self::Context) -> Self::Result {
        Box::pin(replay(self.deps.clone(), order))
    }
}

/// The letter is claimed before its message is taken. Killed in between, the next start finds out whether it was.
async fn replay(deps: DeadLetterDeps, order: ReplayLetter) -> Result<usize, ReplayRefusal> {
    let ReplayLetter { id, again } = order;
    let found = deps.letters.get(id).await?.ok_or(ReplayRefusal::NotFound(id))?;
    if found.replayed_at.is_some() && !again {
        return Err(ReplayRefusal::ReplayedBefore(id));
    }
    // Always another time than the one that others saw.
    let at = found.replayed_at.map_or_else(now, |before| now().max(before + 1));
    let after = *deps.journal.synced().borrow();
    if !deps.letters.claim_replay(id, found.replayed_at, at, after).await? {
        return Err(ReplayRefusal::TakenByAnother(id));
    }
    let taken = match deps.router.send(RouteAgain(found.letter)).await {
        Ok(taken) => taken,
        Err(reason) => Err(reason.into()),
    };
    if let Err(error) = deps.letters.settle_claim(id, taken.is_ok()).await {
        // The next start decides it by what is in the journal, as it is.
        warn!(%error, letter = id, "how a replay ended could not be noted");
    }
    taken
}

/// Decides the replays that were under way when an earlier incarnation, or the whole process, ended: those whose message is
/// in the journal were taken, the others are letters as before.
async fn settle_claims(deps: DeadLetterDeps) -> Result<(), ActorFailure> {
    for OpenClaim { id, after } in deps.letters.open_claims().await.map_err(ActorFailure::resource)? {
        let found = deps.letters.get(id).await.map_err(ActorFailure::resource)?;
        let is_taken = match found {
            Some(found) => {
                let journal = deps.journal.clone();
                let search = tokio::task::spawn_blocking(move || is_in_journal(&journal, after, &found.letter));
                search.await.map_err(ActorFailure::bug)??
            }
            None => true,
        };
        warn!(letter = id, is_taken, "a replay was cut off");
        deps.letters.settle_claim(id, is_taken).await.map_err(ActorFailure::resource)?;
    }
    Ok(())
}

/// Whether the message of a letter that was replayed came into the journal after this entry. Where that was deleted since,
/// it was carried out.
fn is_in_journal(journal: &journal::JournalHandle, after: Seq, letter: &NewDeadLetter) -> Result<bool, ActorFailure> {
    let is_it = |entry: &StoredEntry<'_>| {
        entry.origin.is_none()
            && entry.received_at == letter.received_at
            && entry.topic == letter.topic
            && entry.payload == letter.payload
    };
    let mut reader = journal.reader_after(after);
    loop {
        let read = reader.next_batch_where(BATCH, BATCH_BYTES, is_it).map_err(ActorFailure::resource)?;
        if !read.entries.is_empty() || read.skipped.iter().any(|skipped| skipped.why == SkipReason::Gone) {
            return Ok(true);
        }
        if read.caught_up {
            return Ok(false);
        }
    }
}

async fn run(mut deps: DeadLetterDeps) -> Result<(), ActorFailure> {
    // A letter of the last run names its flow, so the flows must be loaded first. Under another name it would be kept again.
    if deps.table.changed().await.is_err() {
        return Ok(());
    }
    let mut reader = deps.journal.reader(CONSUMER).map_err(ActorFailure::resource)?;
    let mut pace = RestartDelay::new();
    loop {
        let (letters, through, caught_up) = {
            let is_refused = |entry: &journal::StoredEntry<'_>| {
                entry.targets.iter().any(|target| matches!(target.verdict, TargetVerdict::Refused { .. }))
            };
            let read = reader.next_batch_where(BATCH, BATCH_BYTES, is_refused).map_err(ActorFailure::resource)?;
            let table = Arc::clone(&deps.table.borrow());
            let salvaged = read.skipped.iter().flat_map(|skipped| &skipped.salvaged).filter_map(SalvagedEntry::entry);
            let entries = salvaged.chain(read.entries.iter().copied());
            let letters: Vec<_> = entries.flat_map(|entry| refused(&deps.journal, &table, &entry)).collect();
            (letters, read.through, read.caught_up)
        };
        let has_letters = !letters.is_empty();
        while let Err(reason) = keep(&deps.letters, &letters).await {
            error!(%reason, "dead letters wait in the journal");
            pace.pause().await;
        }
        pace.reset();
        deps.journal.release(CONSUMER, through).map_err(ActorFailure::resource)?;
        if has_letters {
            let journal = deps.journal.clone();
            let flushed = tokio::task::spawn_blocking(move || journal.flush()).await;
            flushed.map_err(ActorFailure::bug)?.map_err(ActorFailure::resource)?;
        }
        if caught_up && reader.ready().await.is_err() {
            return Ok(());
        }
    }
}

fn refused(journal: &journal::JournalHandle, table: &RoutingTable, entry: &StoredEntry<'_>) -> Vec<NewDeadLetter> {
    let refused = entry.targets.iter().filter_map(|target| match target.verdict {
        TargetVerdict::Accepted(_) | TargetVerdict::Replayed(_) => None,
        TargetVerdict::Refused { reason, pointer } => {
            let pointer = (!pointer.is_empty()).then(|| pointer.to_owned());
            Some(NewDeadLetter { pointer, ..letter(journal, table, entry, target.flow_id, reason) })
        }
    });
    refused.collect()
}

/// Tells what a consumer of the journal was not given. Of that the messages whose bytes can still be told apart become dead
/// letters, for each of these parts that was due of them and not done before: nobody knows whether they are as they came in.
pub(crate) fn salvaged(
    journal: &journal::JournalHandle,
    table: &RoutingTable,
    skipped: &[SkippedEntries],
    parts: &[ActionKind],
    is_done: impl Fn(i64, Seq) -> bool,
) -> Vec<NewDeadLetter> {
    let mut letters = Vec::new();
    for SkippedEntries { seqs, why, salvaged } in skipped {
        let (from, to, readable) = (seqs.start, seqs.end - 1, salvaged.len());
        error!(from, to, ?why, ?parts, readable, "journal entries are lost");
        for entry in salvaged.iter().filter_map(SalvagedEntry::entry) {
            for (flow_id, part) in entry.targets.iter().flat_map(|target| due(target, table, parts)) {
                if !is_done(flow_id, entry.seq) {
                    let letter = letter(journal, table, &entry, Some(flow_id), DAMAGED);
                    warn!(
                        flow = letter.flow_code,
                        topic = entry.topic,
                        seq = entry.seq,
                        reason = DAMAGED,
                        "dead letter"
                    );
                    letters.push(NewDeadLetter { part: Some(part), ..letter });
                }
            }
        }
    }
    letters
}

/// Which of these parts a target wants. Of a flow that is gone the one that every flow has is left.
fn due<'a>(
    target: EntryTarget<'a>,
    table: &'a RoutingTable,
    parts: &'a [ActionKind],
) -> impl Iterator<Item = (i64, ActionKind)> + 'a {
    let flow_id = target.flow_id;
    let is_due = move |part: &&ActionKind| {
        let known = |id| table.flow(id).map(|flow| flow.does(**part)).or_else(|| resting_does(table, id, **part));
        target.verdict.is_due(**part) && flow_id.and_then(known).unwrap_or(**part == ActionKind::Store)
    };
    parts.iter().filter(is_due).filter_map(move |part| Some((flow_id?, *part)))
}

/// The dead letter of a message in the journal.
pub(crate) fn letter(
    journal: &journal::JournalHandle,
    table: &RoutingTable,
    entry: &StoredEntry<'_>,
    flow_id: Option<i64>,
    reason: &str,
) -> NewDeadLetter {
    NewDeadLetter {
        journal: journal.origin_of(entry.seq),
        seq: Some(entry.seq),
        flow_code: flow_id.map(|id| code(table, id)),
        topic: entry.topic.to_owned(),
        payload: bytes::Bytes::copy_from_slice(entry.payload),
        reason: reason.to_owned(),
        pointer: None,
        received_at: entry.received_at,
        dead_at: now(),
        attempts: 0,
        part: None,
    }
}

/// Why a part of a flow can't be carried out, if the flow doesn't have it (any more).
pub(crate) fn lacks(flow: &Flow, part: ActionKind) -> Option<String> {
    let (code, action) = (&flow.code, part.name());
    (!flow.does(part)).then(|| {
        format!(
            "flow {code} has no {action} any more: give it one again (hearthgate flow edit {code}) and replay, or drop the \
             letter (hearthgate dlq drop)"
        )
    })
}

/// What the letters of a flow are found by: its code, also when it is switched off or removed.
pub(crate) fn code(table: &RoutingTable, flow_id: i64) -> String {
    table.code(flow_id).map_or_else(|| format!("(flow {flow_id}, removed)"), str::to_owned)
}

/// Why nothing is done for a flow that is not in force, and what to do.
pub(crate) fn rests(table: &RoutingTable, flow_id: i64) -> String {
    match table.code(flow_id) {
        Some(code) => format!(
            "flow {code} was switched off or removed: put it in force again (hearthgate flow enable {code}) and replay, or \
             drop the letter (hearthgate dlq drop)"
        ),
        None => "the flow was removed".to_owned(),
    }
}

/// What a flow does that is not in force, as far as that is known.
pub(crate) fn resting_does(table: &RoutingTable, flow_id: i64, part: ActionKind) -> Option<bool> {
    table.resting(flow_id)?.flow.as_ref().map(|flow| flow.does(part))
}

/// The dead letter of a message that the journal had no room for. It has no number: sent again, it is a letter again.
pub(crate) fn not_journaled(
    journal: Uuid,
    table: &RoutingTable,
    message: &InboundMessage,
    decision: &RouteDecision,
    reason: &str,
) -> Option<NewDeadLetter> {
    let (decision, payload) = match decision {
        RouteDecision::Element { payload, decision } => (&**decision, payload),
        whole => (whole, &message.payload),
    };
    let (flow_code, reason, pointer) = match decision {
        RouteDecision::Accepted(flow) => (Some(flow.code.to_string()), reason, None),
        RouteDecision::Refused { flow_id, reason, pointer } => {
            (flow_id.map(|id| code(table, id)), reason.as_str(), Some(pointer.clone()))
        }
        RouteDecision::KeptBack | RouteDecision::Skipped { .. } | RouteDecision::Element { .. } => return None,
    };
    Some(NewDeadLetter {
        journal,
        seq: None,
        flow_code,
        topic: message.topic.to_string(),
        payload: payload.clone(),
        reason: reason.to_owned(),
        pointer,
        received_at: message.received_at,
        dead_at: now(),
        attempts: 0,
        part: None,
    })
}

/// Puts letters where they can not get lost. One that is there already is not put there twice.
///
/// # Errors
/// They cannot be written; none of them may have been kept.
pub(crate) async fn keep(to: &DeadLetters, letters: &[NewDeadLetter]) -> Result<(), DatabaseError> {
    if letters.is_empty() {
        return Ok(());
    }
    let inserted = to.insert_batch(letters).await?;
    if inserted.evicted > 0 {
        warn!(count = inserted.evicted, "the dead letters are full; the oldest were dropped");
    }
    Ok(())
}

/// The wall clock.
pub(crate) fn now() -> UnixMicros {
    unix_micros(std::time::SystemTime::now())
}
