//! What walking through the segments tells, from the last one's beginning as a rule: what is owed, and how old things are.

use super::files::SegmentFile;
use super::tail::MendedTail;
use crate::journal::format::entry;
use crate::journal::format::notes::{self, UnstoredNote};
use crate::journal::format::scan;
use crate::journal::format::scan::{FoundGroup, ScanWindow};
use crate::journal::format::{FieldReader, GroupHeader, GroupKind, SEGMENT_HEADER, SegmentSalt};
use crate::journal::state::redelivery::WindowSnapshot;
use crate::journal::state::{SegmentIndex, SegmentView};
use crate::journal::{FlowKey, JournalError, LatestDigest, LatestDigests, Seq, content_hash, topic_hash};
use hearthgate_domain::delivery::UnixMicros;
use hearthgate_domain::redelivery::RedeliveryWindow;
use std::collections::VecDeque;
use uuid::Uuid;

/// See the module.
pub(super) struct FoldedState {
    pub(super) owed: RedeliveryWindow,
    /// What came before this number is in the snapshot.
    from: Seq,
    /// And what was noted before this one.
    pub(super) notes: u64,
    pub(super) latest: LatestDigests,
    /// Notes that belong before entries that are still to come.
    pending: VecDeque<UnstoredNote>,
    /// When the segment that was read last was begun, by the journal's clock; 0 if none says so.
    pub(super) newest: UnixMicros,
}

/// Lists the segments, and follows what is owed from the snapshot on; without one, from the oldest entry on.
pub(super) fn read_owed(
    id: Uuid,
    files: &[SegmentFile],
    tail: Option<&MendedTail>,
    snapshot: Option<WindowSnapshot>,
    window: usize,
) -> Result<(SegmentIndex, FoldedState), JournalError> {
    let nothing = || WindowSnapshot {
        through: 0,
        notes: 0,
        latest: LatestDigests::default(),
        owed: RedeliveryWindow::new(window),
    };
    let WindowSnapshot { through, notes, latest, owed } = snapshot.unwrap_or_else(nothing);
    let mut folded = FoldedState { owed, from: through, notes, latest, pending: VecDeque::new(), newest: 0 };
    let mut index = SegmentIndex::default();
    let Some(tail) = tail else { return Ok((index, folded)) };
    for (place, file) in files.iter().enumerate() {
        let (end, newest, bytes) = match files.get(place + 1) {
            Some(next) => (next.voids_from().clamp(file.base, next.base), next.created_at(), file.length),
            None => (tail.next, file.created_at(), tail.active.written),
        };
        if place + 1 < files.len() {
            index.ages.note(file.base, file.created_at());
        }
        let (base, voids_from, path) = (file.base, file.voids_from(), file.path.as_path().into());
        index.segments.push_back(SegmentView { base, voids_from, end, bytes, newest, path });
    }
    let from = index.place_of(through).min(files.len() - 1);
    for (place, file) in files.iter().enumerate().skip(from) {
        let SegmentView { bytes, end, .. } = index.segments[place];
        folded.newest = folded.newest.max(file.created_at());
        fold(file, file.salt(id), bytes, end, &mut folded, &mut index)?;
        folded.play_before(Seq::MAX);
    }
    if let Some(last) = index.segments.back_mut() {
        last.newest = folded.newest;
    }
    Ok((index, folded))
}

impl FoldedState {
    /// Plays back what was noted before this entry.
    fn play_before(&mut self, seq: Seq) {
        while let Some(note) = self.pending.pop_front_if(|note| note.before <= seq) {
            self.owed.replay(note.event);
        }
    }
}

fn fold(
    file: &SegmentFile,
    salt: SegmentSalt,
    limit: u64,
    end: Seq,
    folded: &mut FoldedState,
    index: &mut SegmentIndex,
) -> Result<(), JournalError> {
    let mut window = ScanWindow::default();
    let mut at = SEGMENT_HEADER;
    loop {
        let found = scan::look(&mut window, &file.file, salt, at, limit).map_err(file.failed("read"))?;
        match found {
            FoundGroup::Group(header) if header.kind == GroupKind::Entries && header.first >= end => return Ok(()),
            FoundGroup::Group(header) => {
                let body = scan::body(window.from(at), &header).unwrap_or_default();
                apply(&header, body, folded, index);
                at += header.frame_len();
            }
            FoundGroup::End => return Ok(()),
            FoundGroup::BadBody(_) | FoundGroup::BadHeader => {
                let past = scan::past_damage(&mut window, &file.file, salt, at, limit, found);
                at = past.map_err(file.failed("read"))?.to;
            }
        }
    }
}

fn apply(header: &GroupHeader, body: &[u8], folded: &mut FoldedState, index: &mut SegmentIndex) {
    match header.kind {
        GroupKind::Entries => {
            let mut rest = body;
            for seq in header.first..header.end() {
                let Some((entry, length)) = entry::decode(rest, seq) else { break };
                rest = &rest[length..];
                folded.play_before(seq);
                if seq >= folded.from {
                    for target in entry.targets.iter().filter(|target| target.is_fresh()) {
                        let flow = FlowKey { id: target.flow_id, code: None };
                        let content = content_hash(entry.topic, entry.payload);
                        let digest = LatestDigest::new(content, entry.is_restored);
                        folded.latest.put(flow, topic_hash(entry.topic), digest);
                    }
                }
                if let Some(origin) = entry.origin.filter(|_| seq >= folded.from) {
                    folded.owed.record(&origin, content_hash(entry.topic, entry.payload), seq);
                }
            }
            index.ages.note(header.first, folded.newest);
        }
        GroupKind::Settled => {
            let mut fields = FieldReader(body);
            while let (Some(session), Some(through)) = (fields.u64(), fields.u64()) {
                folded.owed.settle_through(session, through);
            }
        }
        GroupKind::Notes => {
            folded.play_before(Seq::MAX);
            let known = folded.notes;
            for (number, note) in notes::decode(body, header.first).filter(|(number, _)| *number >= known) {
                folded.pending.push_back(note);
                folded.notes = number + 1;
            }
        }
        GroupKind::Begin | GroupKind::Lost | GroupKind::Unused => {}
    }
}
