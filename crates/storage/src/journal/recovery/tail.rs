//! The end of a journal, where a crash leaves its traces: examined, mended, and made durable.

use super::files::SegmentFile;
use crate::journal::files::quarantine;
use crate::journal::format::entry;
use crate::journal::format::scan;
use crate::journal::format::scan::{FoundGroup, READ_AHEAD, ScanWindow};
use crate::journal::format::{GROUP_HEADER, GroupHeader, GroupKind, SEGMENT_HEADER, SegmentSalt, push_group};
use crate::journal::recovery::report::{DamageKind, JournalDamage, JournalRecovery};
use crate::journal::recovery::salvage;
use crate::journal::recovery::salvage::SalvagedEntry;
use crate::journal::writer::{ActiveSegment, control_header};
use crate::journal::{JournalError, Seq};
use hearthgate_files::disk::{self, DiskFile};
use std::io;
use std::ops::Range;
use std::path::Path;
use uuid::Uuid;

/// Numbers that must not be given out again.
struct NumberFloor {
    /// All entries below it were durable once.
    safe: Seq,
    /// All numbers below it were given out, to entries that may never have been safe.
    given: Seq,
}

/// The last segment, mended.
pub(super) struct MendedTail {
    pub(super) active: ActiveSegment,
    pub(super) next: Seq,
}

/// Repairs the last segment, so that its groups cover its numbers without a hole, and makes it durable. A last segment in
/// which nothing is sound was never in use; it goes, and so does one that the power left with half its head. All numbers
/// below `known` have been given out.
pub(super) fn mend(
    dir: &Path,
    id: Uuid,
    files: &mut Vec<SegmentFile>,
    known: Seq,
    recovery: &mut JournalRecovery,
) -> Result<Option<MendedTail>, JournalError> {
    let mut floor = NumberFloor { safe: known, given: known };
    while let Some(last) = files.last() {
        let salt = last.salt(id);
        let examined = examine(&last.file, salt, last.base, last.length).map_err(last.failed("read"))?;
        floor.given = floor.given.max(last.base);
        // What its header said of the numbers before it is lost, and it holds none.
        let is_torn_head = last.is_headless && last.length <= SEGMENT_HEADER + GROUP_HEADER as u64;
        if examined.sound_groups == 0 || is_torn_head {
            if last.length > SEGMENT_HEADER && !is_torn_head {
                recovery.damaged.push(last.set_aside(dir)?);
            } else {
                disk::remove(&last.path).map_err(last.failed("delete"))?;
            }
            floor.safe = floor.safe.max(last.safe_before());
            files.pop();
            continue;
        }
        write_again(last, &examined)?;
        let (written, next) = mend_segment(dir, last, salt, &examined, &floor, recovery)?;
        last.file.sync_all().map_err(last.failed("sync"))?;
        disk::sync_folder(dir).map_err(|source| JournalError::io("sync", dir, source))?;
        let file = last.file.try_clone().map_err(last.failed("open"))?;
        let (path, base, created_at) = (last.path.clone(), last.base, last.created_at());
        let entries_end = examined.entries_end;
        let active =
            ActiveSegment { file, path, base, salt, written, durable: written, entries_end, untidy: false, created_at };
        return Ok(Some(MendedTail { active, next }));
    }
    // What is left of a journal without a sound segment is where its numbers stood.
    Ok(None)
}

/// What stands in a segment.
#[derive(Default)]
struct Examined {
    /// After the last sound group.
    end: u64,
    /// After the last one that is more than notes.
    entries_end: u64,
    /// The number after the last one that a sound group covers.
    next: Seq,
    sound_groups: u64,
    holes: Vec<Hole>,
    /// From `end` on there are bytes that are no group: the number after the greatest that may have been in them.
    torn_to: Option<Seq>,
    /// So much of the segment was synced when its last sound group was written.
    synced: u64,
}

impl Examined {
    /// A hole in what was not synced when the last group was written is no damage: the power went while it was on its way
    /// to the disk, and other parts of it arrived. Nobody was told of what is in it and behind it; if that behind it
    /// stayed, it would come before what its sender sent before it.
    fn cut_unsynced(&mut self) {
        let Some(place) = self.holes.iter().position(|hole| hole.from >= self.synced) else { return };
        let Hole { from, lost, .. } = self.holes.swap_remove(place);
        self.holes.truncate(place);
        self.torn_to = self.torn_to.max(Some(self.next));
        (self.end, self.next, self.entries_end) = (from, lost.start, self.entries_end.min(from));
    }
}

struct Hole {
    from: u64,
    to: u64,
    lost: Range<Seq>,
}

fn examine(file: &DiskFile, salt: SegmentSalt, base: Seq, length: u64) -> io::Result<Examined> {
    let mut window = ScanWindow::default();
    let mut at = SEGMENT_HEADER;
    let mut examined = Examined { end: at, entries_end: at, next: base, ..Examined::default() };
    let mut bad_from = None;
    loop {
        let found = scan::look(&mut window, file, salt, at, length)?;
        match found {
            FoundGroup::End => {
                examined.cut_unsynced();
                return Ok(examined);
            }
            FoundGroup::Group(header) => {
                let from = bad_from.take().unwrap_or(at);
                if from < at || header.first > examined.next {
                    let lost = examined.next..header.first.max(examined.next);
                    examined.holes.push(Hole { from, to: at, lost });
                }
                examined.synced = examined.synced.max(if header.synced == 0 { at } else { header.synced });
                at += header.frame_len();
                examined.end = at;
                if header.kind != GroupKind::Notes {
                    examined.entries_end = at;
                }
                examined.next = examined.next.max(header.end());
                examined.sound_groups += 1;
                examined.torn_to = None;
            }
            FoundGroup::BadBody(_) | FoundGroup::BadHeader => {
                bad_from.get_or_insert(at);
                let stretch = scan::past_damage(&mut window, file, salt, at, length, found)?;
                let known = examined.torn_to.unwrap_or(examined.next);
                let most = known + (stretch.to - at) / entry::ENTRY_HEADER as u64;
                examined.torn_to = Some(known.max(stretch.lost_end.unwrap_or(most)));
                at = stretch.to;
            }
        }
    }
}

/// Writes what may not be synced once more. If a sync of an earlier process has failed, the system shows what the disk
/// does not have, and another sync alone would not bring it there.
fn write_again(segment: &SegmentFile, examined: &Examined) -> Result<(), JournalError> {
    let mut at = if examined.synced <= SEGMENT_HEADER { 0 } else { examined.synced };
    let mut window = ScanWindow::default();
    while at < examined.end {
        let there =
            window.load(&segment.file, at, READ_AHEAD, READ_AHEAD, examined.end).map_err(segment.failed("read"))?;
        if there == 0 {
            break;
        }
        segment.file.write_at(&window.from(at)[..there], at).map_err(segment.failed("write again"))?;
        at += there as u64;
    }
    Ok(())
}

/// Puts `lost` groups over the holes, cuts a torn end off, and covers the numbers that must not be given out again.
fn mend_segment(
    dir: &Path,
    segment: &SegmentFile,
    salt: SegmentSalt,
    examined: &Examined,
    floor: &NumberFloor,
    recovery: &mut JournalRecovery,
) -> Result<(u64, Seq), JournalError> {
    for hole in &examined.holes {
        let what = if hole.from < hole.to { DamageKind::Groups } else { DamageKind::Missing };
        let set_aside = quarantine::keep(dir, &segment.path, &segment.file, hole.from..hole.to);
        let readable = readable(segment, salt, hole)?;
        cover_hole(segment, salt, hole)?;
        let damage = JournalDamage::new(what, &segment.path, hole.from..hole.to, hole.lost.clone());
        recovery.damaged.push(JournalDamage { readable, set_aside, ..damage });
    }
    let mut next = examined.next.max(floor.given);
    if let Some(torn_to) = examined.torn_to {
        let torn = examined.end..segment.length;
        let set_aside = quarantine::keep(dir, &segment.path, &segment.file, torn.clone());
        segment.file.truncate(examined.end).map_err(segment.failed("cut the torn end off"))?;
        recovery.truncated_bytes = torn.end - torn.start;
        let damage = JournalDamage::new(DamageKind::TornEnd, &segment.path, torn, examined.next..torn_to);
        recovery.damaged.push(JournalDamage { set_aside, ..damage });
        // Nobody saw them, unless the disk lost what it had confirmed: then no other entry may get their numbers.
        next = next.max(torn_to);
    } else if floor.safe > examined.next {
        let (nowhere, lost) = (examined.end..examined.end, examined.next..floor.safe);
        recovery.damaged.push(JournalDamage::new(DamageKind::Missing, &segment.path, nowhere, lost));
    }
    let mut end = examined.end;
    let mut from = examined.next;
    while from < next {
        let count = u32::try_from(next - from).unwrap_or(u32::MAX);
        let mut group = Vec::new();
        // What stands before it may not be synced yet either.
        push_group(
            &mut group,
            salt,
            GroupHeader { count, synced: examined.synced, ..control_header(GroupKind::Unused, from) },
            &[],
        );
        segment.file.write_at(&group, end).map_err(segment.failed("mend"))?;
        end += group.len() as u64;
        from += u64::from(count);
    }
    Ok((end, next))
}

/// What is in a hole, as far as it can be told. It stays where it is, for those who read the journal.
fn readable(segment: &SegmentFile, salt: SegmentSalt, hole: &Hole) -> Result<Vec<(Seq, Box<str>)>, JournalError> {
    let stretch = hole.from + GROUP_HEADER as u64..hole.to;
    let mut window = ScanWindow::default();
    let salvaged = salvage::read(&mut window, &segment.file, salt, stretch, &hole.lost);
    let salvaged = salvaged.map_err(segment.failed("read"))?;
    let named = salvaged.iter().filter_map(SalvagedEntry::entry).map(|entry| (entry.seq, entry.topic.into()));
    Ok(named.collect())
}

fn cover_hole(segment: &SegmentFile, salt: SegmentSalt, hole: &Hole) -> Result<(), JournalError> {
    let Some(body) = (hole.to - hole.from).checked_sub(GROUP_HEADER as u64) else { return Ok(()) };
    let header = GroupHeader {
        count: u32::try_from(hole.lost.end - hole.lost.start).unwrap_or(u32::MAX),
        body_len: u32::try_from(body).unwrap_or(u32::MAX),
        ..control_header(GroupKind::Lost, hole.lost.start)
    };
    segment.file.write_at(&header.encode(salt), hole.from).map_err(segment.failed("mend"))
}
