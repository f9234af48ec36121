//! What walking through the last segment tells: what is owed, what is confirmed, and how old things are.

use super::files::SegmentFile;
use super::tail::Tail;
use crate::journal::format::{GroupHeader, Kind, SEGMENT_HEADER, Salt};
use crate::journal::owed::{Owed, OwedList};
use crate::journal::scan::{self, Found, Window};
use crate::journal::shared::{Index, Segment};
use crate::journal::{JournalError, Seq, content_hash, entry};
use hearthgate_domain::delivery::Micros;
use uuid::Uuid;

/// See the module.
#[derive(Default)]
pub(super) struct Folded {
    pub(super) owed: OwedList,
    pub(super) confirmed: Seq,
    pub(super) newest: Micros,
}

/// Lists the segments, and follows what is owed from the last owed snapshot on: that of the last segment, unless it is
/// damaged.
pub(super) fn read_owed(id: Uuid, files: &[SegmentFile], tail: Option<&Tail>) -> Result<(Index, Folded), JournalError> {
    let (mut index, mut folded) = (Index::default(), Folded::default());
    let Some(tail) = tail else { return Ok((index, folded)) };
    for (place, file) in files.iter().enumerate() {
        let (end, newest, bytes) = match files.get(place + 1) {
            Some(next) => (next.voids_from().clamp(file.base, next.base), next.created_at(), file.length),
            None => (tail.next, file.created_at(), tail.active.written),
        };
        if place + 1 < files.len() {
            index.ages.note(file.base, file.created_at());
        }
        index.segments.push_back(Segment { base: file.base, end, bytes, newest, path: file.path.as_path().into() });
    }
    let mut from = files.len() - 1;
    while from > 0 && !begins_with_snapshot(id, &files[from], index.segments[from].bytes)? {
        from -= 1;
    }
    for (place, file) in files.iter().enumerate().skip(from) {
        let Segment { bytes, end, .. } = index.segments[place];
        fold(file, file.salt(id), bytes, end, &mut folded, &mut index)?;
    }
    if let Some(last) = index.segments.back_mut() {
        folded.newest = folded.newest.max(last.newest);
        last.newest = folded.newest;
    }
    Ok((index, folded))
}

fn begins_with_snapshot(id: Uuid, file: &SegmentFile, limit: u64) -> Result<bool, JournalError> {
    let found = scan::look(&mut Window::default(), &file.file, file.salt(id), SEGMENT_HEADER, limit);
    Ok(matches!(found.map_err(file.failed("read"))?, Found::Group(header) if header.kind == Kind::Owed))
}

fn fold(
    file: &SegmentFile,
    salt: Salt,
    limit: u64,
    end: Seq,
    folded: &mut Folded,
    index: &mut Index,
) -> Result<(), JournalError> {
    let mut window = Window::default();
    let mut at = SEGMENT_HEADER;
    loop {
        let found = scan::look(&mut window, &file.file, salt, at, limit).map_err(file.failed("read"))?;
        match found {
            Found::Group(header) if header.kind == Kind::Entries && header.first >= end => return Ok(()),
            Found::Group(header) => {
                let body = scan::body(window.from(at), &header).unwrap_or_default();
                apply(&header, body, folded, index);
                at += header.frame_len();
            }
            Found::End => return Ok(()),
            Found::BadBody(_) | Found::BadHeader => {
                let past = scan::past_damage(&mut window, &file.file, salt, at, limit, found);
                at = past.map_err(file.failed("read"))?.to;
            }
        }
    }
}

fn apply(header: &GroupHeader, body: &[u8], folded: &mut Folded, index: &mut Index) {
    match header.kind {
        Kind::Entries => {
            let mut rest = body;
            for seq in header.first..header.end() {
                let Some((entry, length)) = entry::decode(rest, seq) else { break };
                rest = &rest[length..];
                folded.newest = folded.newest.max(entry.received_at);
                if let Some(origin) = entry.origin {
                    let content_hash = content_hash(entry.topic, entry.payload);
                    folded.owed.add(Owed { origin, content_hash, seq });
                }
            }
            index.ages.note(header.first, folded.newest);
        }
        Kind::Owed => folded.owed = OwedList::decode(body).unwrap_or_default(),
        Kind::Hold => {
            if let Some(session) = entry_u64(body, 0) {
                folded.owed.hold(session);
            }
        }
        Kind::Settle => {
            if let (Some(session), Some(through)) = (entry_u64(body, 0), entry_u64(body, 8)) {
                folded.owed.settle(session, through);
            }
        }
        Kind::Lost | Kind::Unused | Kind::Confirmed => {}
    }
    if folded.confirmed < header.confirmed {
        folded.confirmed = header.confirmed;
        folded.owed.confirm(header.confirmed);
    }
}

fn entry_u64(body: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(body.get(at..at + 8)?.try_into().ok()?))
}
