//! What `on_change`, `min_interval` and `retained` would make of a message, by what is kept of earlier ones.

use crate::fates;
use chrono::{DateTime, SecondsFormat, Utc};
use hearthgate_domain::delivery::UnixMicros;
use hearthgate_domain::fate::FateOutcome;
use hearthgate_domain::flow::change_filter::{ChangeFilter, ChangeVerdict};
use hearthgate_domain::flow::{Flow, RecordVerdict};
use hearthgate_domain::payload::JsonPayload;
use hearthgate_storage::fates::{FateLog, KeptFate};
use serde_json::{Value, json};
use std::path::Path;

/// Fates of a flow that are looked at.
const MOST_FATES: usize = 100;

/// Adds to what `explain` answers of a flow, or of each record, whether it would be kept back, and why. Nothing where the
/// flow wants every message.
pub(super) fn add_gates(answer: &mut Value, flow: &Flow, topic: &str, payload: &[u8], state_dir: &Path) {
    if ChangeFilter::for_flow(flow).is_none() {
        return;
    }
    let earlier = earlier_fates(flow, state_dir);
    let parts = parts_of(flow, payload);
    let answers = match answer["records"].as_array_mut() {
        Some(records) => records.as_mut_slice(),
        None => std::slice::from_mut(answer),
    };
    for (answer, part) in answers.iter_mut().zip(&parts) {
        if answer["valid"] == true
            && let Some(words) = gate_words(flow, topic, part, &earlier)
        {
            answer["gate"] = json!(words);
        }
    }
}

fn gate_words(flow: &Flow, topic: &str, payload: &[u8], earlier: &[KeptFate]) -> Option<String> {
    let mut filter = ChangeFilter::for_flow(flow)?;
    let place = place_of(flow, topic, payload);
    let mut last = None;
    for (fate, part) in
        earlier.iter().flat_map(|fate| parts_of(flow, &fate.payload).into_iter().map(move |part| (fate, part)))
    {
        let is_accepted = flow.judge(&fate.topic, &part) == RecordVerdict::Accepted;
        if is_accepted && place_of(flow, &fate.topic, &part) == place {
            let record = flow.record(&fate.topic, &part).ok()?;
            filter.passed(&place, &JsonPayload::parse(&record).ok()?, fate.received_at);
            last = Some(fate.received_at);
        }
    }
    let record = flow.record(topic, payload).ok()?;
    let verdict = filter.check(&place, &JsonPayload::parse(&record).ok()?, false, Utc::now().timestamp_micros());
    Some(in_words(flow, verdict, last))
}

fn in_words(flow: &Flow, verdict: ChangeVerdict, last: Option<UnixMicros>) -> String {
    let last = last.and_then(DateTime::from_timestamp_micros);
    let last = last.map(|last| last.to_rfc3339_opts(SecondsFormat::Secs, true));
    match (verdict, last) {
        (ChangeVerdict::Unchanged, Some(last)) => {
            format!("would be kept back by on_change: the last one, of {last}, says the same")
        }
        (ChangeVerdict::TooSoon, Some(last)) => {
            let interval = flow.min_interval.unwrap_or_default();
            format!("would be kept back by min_interval, {interval:?}: the last one is of {last}")
        }
        (ChangeVerdict::Retained, _) => "would be kept back as a retained message".to_owned(),
        (_, Some(last)) => format!("passes on_change and min_interval: the last one is of {last}"),
        (_, None) => "passes on_change and min_interval: of no earlier one is anything kept".to_owned(),
    }
}

/// What messages are kept apart by.
fn place_of(flow: &Flow, topic: &str, payload: &[u8]) -> String {
    let key = flow.reading.as_ref().and_then(|reading| reading.key(&flow.source(topic, payload)).ok().flatten());
    key.unwrap_or_else(|| topic.to_owned())
}

/// The payload of each record.
fn parts_of(flow: &Flow, payload: &[u8]) -> Vec<Vec<u8>> {
    let parts = flow.reading.as_ref().and_then(|reading| reading.split(payload).ok().flatten());
    parts.unwrap_or_else(|| vec![payload.to_vec()])
}

/// Messages of a flow that passed, as far as they are kept whole, the oldest first.
fn earlier_fates(flow: &Flow, state_dir: &Path) -> Vec<KeptFate> {
    let passed = |fate: &KeptFate| {
        matches!(fate.outcome, FateOutcome::Accepted | FateOutcome::Stored | FateOutcome::Delivered)
            && is_whole(fate, flow)
    };
    let mut found = FateLog::read(&fates::file(state_dir), MOST_FATES, passed).unwrap_or_default();
    found.reverse();
    found
}

/// Whether a fate is of this flow and holds its whole message.
pub(super) fn is_whole(fate: &KeptFate, flow: &Flow) -> bool {
    fate.flow.as_deref() == Some(&*flow.code)
        && fate.payload.len() == fate.size
        && flow.topic.filter().matches(&fate.topic)
}
