//! Which message gets which number and which rows, and which messages can't be written at all.

use super::session::OpenTransaction;
use super::{FlowNumbers, FlowRecord, RejectReason, RejectedRecord, typed_rows};
use crate::sql::ErrorKind;
use crate::sql::error::classify;
use crate::sql::records::rows::{DataRow, LockedFlow, TypedRowPlan};
use std::collections::BTreeMap;

/// The flows of these records, each once, in the order in which they are locked.
pub(crate) fn flow_ids(records: &[FlowRecord]) -> Vec<i64> {
    let mut ids: Vec<i64> = records.iter().map(|record| record.flow_id).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// A batch with its numbers.
pub(crate) struct NumberedBatch<'a> {
    pub(crate) rows: Vec<DataRow<'a>>,
    pub(crate) typed: Vec<TypedRowPlan<'a>>,
    pub(crate) numbers: Vec<FlowNumbers>,
    pub(crate) rejected: Vec<RejectedRecord>,
    pub(crate) messages: usize,
}

impl<'a> NumberedBatch<'a> {
    /// Numbers the records from `skip` on, in journal order, without those of `rejected` (by index) and those whose
    /// flow is not among `flows` (by id).
    pub(crate) fn new(
        records: &'a [FlowRecord],
        skip: usize,
        flows: &'a [LockedFlow],
        rejected: Vec<RejectedRecord>,
    ) -> Self {
        let mut counts = vec![0_i64; flows.len()];
        let mut refused = rejected.iter().map(|one| one.index).peekable();
        let mut gone = Vec::new();
        let mut rows = Vec::with_capacity(records[skip..].iter().map(|record| record.fields.len()).sum());
        let (mut typed, mut messages) = (Vec::new(), 0);
        for (index, record) in records.iter().enumerate().skip(skip) {
            if refused.next_if_eq(&index).is_some() {
                continue;
            }
            let Ok(at) = flows.binary_search_by_key(&record.flow_id, |flow| flow.id) else {
                gone.push(reject(index, record, RejectReason::FlowGone));
                continue;
            };
            counts[at] += 1;
            messages += 1;
            let number = flows[at].last_msg_id.saturating_add(counts[at]);
            rows.extend(rows_of(record, &flows[at], number));
            typed.extend(typed_of(record, &flows[at], number));
        }
        let mut rejected = rejected;
        rejected.extend(gone);
        rejected.sort_unstable_by_key(|one| one.index);
        let numbers = flows
            .iter()
            .zip(counts)
            .filter(|&(_, count)| count > 0)
            .map(|(flow, count)| FlowNumbers { flow_id: flow.id, base: flow.last_msg_id, count })
            .collect();
        Self { rows, typed, numbers, rejected, messages }
    }
}

fn reject(index: usize, record: &FlowRecord, reason: RejectReason) -> RejectedRecord {
    RejectedRecord { index, seq: record.seq, flow_id: record.flow_id, reason }
}

/// Finds the records whose values the database refuses, by halving. Needs a savepoint, and leaves nothing behind.
pub(crate) async fn isolate(
    session: &mut OpenTransaction,
    records: &[FlowRecord],
    skip: usize,
    flows: &[LockedFlow],
) -> Result<Vec<RejectedRecord>, sqlx::Error> {
    // The highest numbers that they can get: a column may be too narrow for them.
    let mut counts = vec![0_i64; flows.len()];
    let mut candidates: Vec<Candidate<'_>> = Vec::with_capacity(records.len() - skip);
    for (index, record) in records.iter().enumerate().skip(skip) {
        if let Ok(at) = flows.binary_search_by_key(&record.flow_id, |flow| flow.id) {
            counts[at] += 1;
            let number = flows[at].last_msg_id.saturating_add(counts[at]);
            candidates.push(Candidate { index, record, flow: &flows[at], number });
        }
    }
    let mut rejected = Vec::new();
    let mut open: Vec<&[Candidate<'_>]> = vec![&candidates];
    while let Some(part) = open.pop() {
        let outcome = probe(session, part).await;
        session.rollback_to_savepoint().await?;
        match outcome {
            Ok(_) => {}
            Err(error) if classify(&error) != ErrorKind::Row => return Err(error),
            Err(error) => match part {
                [one] => rejected.push(reject(one.index, one.record, RejectReason::Values(words(&error)))),
                _ => {
                    let (first, second) = part.split_at(part.len() / 2);
                    open.extend([second, first]);
                }
            },
        }
    }
    Ok(rejected)
}

/// A record that may be at fault.
struct Candidate<'a> {
    index: usize,
    record: &'a FlowRecord,
    flow: &'a LockedFlow,
    number: i64,
}

/// Does with these records alone what is to be done with all.
async fn probe(session: &mut OpenTransaction, part: &[Candidate<'_>]) -> Result<(), sqlx::Error> {
    let rows: Vec<DataRow<'_>> = part.iter().flat_map(|one| rows_of(one.record, one.flow, one.number)).collect();
    session.insert(&rows, false).await?;
    let typed: Vec<TypedRowPlan<'_>> =
        part.iter().filter_map(|one| typed_of(one.record, one.flow, one.number)).collect();
    typed_rows::insert(session, &typed).await?;
    // The last of a flow raises it highest.
    let highest: BTreeMap<i64, i64> = part.iter().map(|one| (one.flow.id, one.number)).collect();
    let raised: Vec<FlowNumbers> =
        highest.into_iter().map(|(flow_id, base)| FlowNumbers { flow_id, base, count: 0 }).collect();
    session.raise(&raised).await
}

fn rows_of<'a>(record: &'a FlowRecord, flow: &'a LockedFlow, number: i64) -> impl Iterator<Item = DataRow<'a>> {
    let fields = if record.store { record.fields.len() } else { 0 };
    (0..fields).map(move |field| DataRow { record, field, code: &flow.code, number })
}

fn typed_of<'a>(record: &'a FlowRecord, flow: &'a LockedFlow, number: i64) -> Option<TypedRowPlan<'a>> {
    record.typed.as_ref().map(|row| TypedRowPlan { record, row, code: &flow.code, number })
}

fn words(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        other => other.to_string(),
    }
}
