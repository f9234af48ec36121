//! Opening a journal: the lock, what is there, and the repair of what a crash or a bad disk left behind.

use super::format::{
    GROUP_HEADER, GroupHeader, Kind, SEGMENT_HEADER, Salt, SegmentFault, SegmentHeader, VERSION, push_group,
    segment_base,
};
use super::owed::{Owed, OwedList};
use super::positions::{Loaded, PositionFile};
use super::scan::{self, Found, Window};
use super::shared::{Index, Segment, Shared};
use super::writer::{Active, Journal, control_header};
use super::{JournalError, Options, Seq, content_hash, disk, entry};
use hearthgate_domain::delivery::Micros;
use rustix::fs::{FlockOperation, flock};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use uuid::Uuid;

/// Files of damaged bytes that are kept.
const DAMAGED_KEPT: usize = 16;

/// What was found when the journal was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// There was no journal; one was made.
    pub fresh: bool,
    /// What senders may send again, in order: to be recognised instead of stored twice.
    pub owed: Vec<Owed>,
    /// The number that the next entry gets.
    pub next_seq: Seq,
    /// Bytes cut off the end: a group that a crash kept from being written as a whole.
    pub truncated_bytes: u64,
    /// All damage, the cut end included.
    pub damaged: Vec<Damage>,
    /// The positions were damaged: every consumer begins at the oldest entry, and some may do things again.
    pub positions_lost: bool,
}

/// A part of the journal that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment.
    pub path: PathBuf,
    /// Where in it, in bytes.
    pub offset: u64,
    /// How much, in bytes.
    pub bytes: u64,
    /// The entries that were there. At a torn end: at most these, and no one was told that they are safe, unless the disk
    /// lost what it had confirmed.
    pub lost: Range<Seq>,
    /// What kind of damage.
    pub what: What,
    /// Where the bytes are kept, if they could be.
    pub set_aside: Option<PathBuf>,
}

/// Kinds of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The end was not written as a whole.
    TornEnd,
    /// Groups amid sound ones.
    Groups,
    /// The header of a segment; its groups are sound, and it was written anew.
    Header,
    /// Entries that must have been there and are not.
    Missing,
    /// A segment of another journal, or one that cannot be read at all.
    Unreadable,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage { path, offset, bytes, lost, .. } = self;
        let what = match self.what {
            What::TornEnd => "torn end cut off",
            What::Groups => "damaged groups",
            What::Header => "damaged segment header",
            What::Missing => "missing entries",
            What::Unreadable => "unreadable segment",
        };
        write!(f, "{what} in {} at byte {offset}, {bytes} bytes", path.display())?;
        if !lost.is_empty() {
            write!(f, ", entries {} to {}", lost.start, lost.end - 1)?;
        }
        match &self.set_aside {
            Some(kept) => write!(f, ", kept in {}", kept.display()),
            None => Ok(()),
        }
    }
}

pub(super) fn open(dir: &Path, options: Options) -> Result<(Journal, Recovery), JournalError> {
    check(&options)?;
    fs::create_dir_all(dir).map_err(|source| JournalError::io("create", dir, source))?;
    let lock_file = lock_dir(dir)?;
    let mut recovery = Recovery::default();
    let mut files = list_segments(dir)?;
    let id = settle_id(dir, &files)?;
    let Loaded { file: position_file, positions, next_seq: floor } = PositionFile::load(dir)?;
    recovery.positions_lost = positions.unknown;
    check_headers(dir, id, &mut files, &mut recovery)?;
    let tail = mend_tail(dir, id, &mut files, floor, &mut recovery)?;
    let (index, folded) = read_owed(id, &files, tail.as_ref())?;
    let next_seq = tail.as_ref().map_or(floor, |tail| tail.next);
    let (synced, synced_rx) = watch::channel(next_seq - 1);
    let shared = Arc::new(Shared {
        id,
        max_bytes: options.max_bytes,
        index: Mutex::new(index),
        synced: synced_rx,
        positions: Mutex::new(positions),
        position_file: Mutex::new(position_file),
    });
    let mut journal = Journal {
        dir: dir.to_owned(),
        options,
        shared,
        synced,
        active: tail.map(|tail| tail.active),
        next_seq,
        voids_from: next_seq,
        confirmed: folded.confirmed,
        owed: folded.owed,
        newest: folded.newest,
        buffer: Vec::new(),
        started: false,
        lock: lock_file,
    };
    if journal.active.is_none() {
        recovery.fresh = recovery.damaged.is_empty();
        journal.begin_segment(now())?;
    }
    recovery.owed = journal.owed.list();
    recovery.next_seq = next_seq;
    Ok((journal, recovery))
}

fn check(options: &Options) -> Result<(), JournalError> {
    let problem = if options.segment_bytes < 64 << 10 {
        format!("segment_bytes is {}, at least 65536 are needed", options.segment_bytes)
    } else if options.max_bytes < options.segment_bytes.saturating_mul(4) {
        format!("max_bytes is {}, at least four segments of {} are needed", options.max_bytes, options.segment_bytes)
    } else if options.max_age.is_some_and(|age| age < Duration::from_secs(1)) {
        "max_age is below a second".to_owned()
    } else {
        return Ok(());
    };
    Err(JournalError::Invalid(format!("journal options: {problem}")))
}

fn lock_dir(dir: &Path) -> Result<File, JournalError> {
    let path = dir.join("lock");
    let failed = |attempted| move |source| JournalError::io(attempted, &dir.join("lock"), source);
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed("open"))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            return Err(JournalError::Locked { dir: dir.to_owned(), pid });
        }
        Err(errno) => return Err(failed("lock")(errno.into())),
    }
    // The number only serves the message above; a full disk must not keep the journal shut.
    if let Err(error) = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())) {
        tracing::debug!(%error, "the journal's lock file has no process id");
    }
    Ok(file)
}

/// A segment file that was found.
struct SegmentFile {
    path: PathBuf,
    base: Seq,
    file: File,
    length: u64,
    header: Option<SegmentHeader>,
}

impl SegmentFile {
    fn salt(&self, id: Uuid) -> Salt {
        Salt::new(id, self.base)
    }

    fn voids_from(&self) -> Seq {
        self.header.map_or(self.base, |header| header.voids_from)
    }

    fn created_at(&self) -> Micros {
        self.header.map_or(Micros::MIN, |header| header.created_at)
    }

    fn failed(&self, attempted: &'static str) -> impl Fn(io::Error) -> JournalError {
        move |source| JournalError::io(attempted, &self.path, source)
    }
}

fn list_segments(dir: &Path) -> Result<Vec<SegmentFile>, JournalError> {
    let failed = |source| JournalError::io("list", dir, source);
    let mut files = Vec::new();
    for item in fs::read_dir(dir).map_err(failed)? {
        let path = item.map_err(failed)?.path();
        let Some(base) = segment_base(&path) else { continue };
        let opened = OpenOptions::new().read(true).write(true).open(&path);
        let file = opened.map_err(|source| JournalError::io("open", &path, source))?;
        let length = file.metadata().map_err(|source| JournalError::io("examine", &path, source))?.len();
        let mut window = Window::default();
        let head = SEGMENT_HEADER as usize;
        window.load(&file, 0, head, head, length).map_err(|source| JournalError::io("read", &path, source))?;
        let header = match SegmentHeader::decode(window.from(0)) {
            Ok(header) => Some(header),
            Err(SegmentFault::Damaged) => None,
            Err(SegmentFault::Version(found)) => return Err(JournalError::Version { path, found, known: VERSION }),
        };
        files.push(SegmentFile { path, base, file, length, header });
    }
    files.sort_by_key(|file| file.base);
    Ok(files)
}

/// The journal's UUID: from its file, else from a segment, else a new one.
fn settle_id(dir: &Path, files: &[SegmentFile]) -> Result<Uuid, JournalError> {
    let path = dir.join("journal.id");
    match fs::read_to_string(&path) {
        Ok(text) => {
            if let Ok(id) = Uuid::try_parse(text.trim()) {
                return Ok(id);
            }
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {}
        Err(source) => return Err(JournalError::io("read", &path, source)),
    }
    let known = files.iter().rev().find_map(|file| file.header).map(|header| header.journal);
    let id = known.unwrap_or_else(Uuid::now_v7);
    let new = dir.join("journal.id.new");
    fs::write(&new, format!("{id}\n"))
        .and_then(|()| File::open(&new)?.sync_all())
        .and_then(|()| fs::rename(&new, &path))
        .and_then(|()| disk::sync_dir(dir))
        .map_err(|source| JournalError::io("write", &path, source))?;
    Ok(id)
}

/// Sets segments aside that are not of this journal, and writes damaged headers anew.
fn check_headers(
    dir: &Path,
    id: Uuid,
    files: &mut Vec<SegmentFile>,
    recovery: &mut Recovery,
) -> Result<(), JournalError> {
    let mut kept = Vec::with_capacity(files.len());
    for mut file in files.drain(..) {
        let ours = file.header.is_none_or(|header| header.journal == id && header.base == file.base);
        if !ours {
            recovery.damaged.push(set_file_aside(dir, &file)?);
            continue;
        }
        if file.header.is_none() && file.length > SEGMENT_HEADER {
            let created_at = kept.last().map_or(0, SegmentFile::created_at);
            let header = SegmentHeader { journal: id, base: file.base, voids_from: file.base, created_at };
            disk::write_at(&file.file, &header.encode(), 0).map_err(file.failed("write the header of"))?;
            file.header = Some(header);
            let (offset, lost) = (0, file.base..file.base);
            let (path, bytes) = (file.path.clone(), SEGMENT_HEADER);
            recovery.damaged.push(Damage { path, offset, bytes, lost, what: What::Header, set_aside: None });
        }
        kept.push(file);
    }
    *files = kept;
    Ok(())
}

/// The last segment, mended.
struct Tail {
    active: Active,
    next: Seq,
}

/// Repairs the last segment, so that its groups cover its numbers without a hole, and makes it durable. A last segment in
/// which nothing is sound was never in use; it goes.
fn mend_tail(
    dir: &Path,
    id: Uuid,
    files: &mut Vec<SegmentFile>,
    mut floor: Seq,
    recovery: &mut Recovery,
) -> Result<Option<Tail>, JournalError> {
    while let Some(last) = files.last() {
        let salt = last.salt(id);
        let examined = examine(&last.file, salt, last.base, last.length).map_err(last.failed("read"))?;
        floor = floor.max(last.base);
        if examined.sound_groups == 0 {
            if last.length > SEGMENT_HEADER {
                recovery.damaged.push(set_file_aside(dir, last)?);
            } else {
                fs::remove_file(&last.path).map_err(last.failed("delete"))?;
            }
            files.pop();
            continue;
        }
        let (written, next) = mend(dir, last, salt, &examined, floor, recovery)?;
        last.file.sync_all().map_err(last.failed("sync"))?;
        disk::sync_dir(dir).map_err(|source| JournalError::io("sync", dir, source))?;
        let file = last.file.try_clone().map_err(last.failed("open"))?;
        let (path, base, created_at) = (last.path.clone(), last.base, last.created_at());
        let active = Active { file, path, base, salt, written, durable: written, untidy: false, created_at };
        return Ok(Some(Tail { active, next }));
    }
    // What is left of a journal without a sound segment is where its numbers stood.
    Ok(None)
}

/// What stands in a segment.
#[derive(Default)]
struct Examined {
    /// After the last sound group.
    end: u64,
    /// The number after the last one that a sound group covers.
    next: Seq,
    sound_groups: u64,
    holes: Vec<Hole>,
    /// From `end` on there are bytes that are no group: the number after the greatest that may have been in them.
    torn_to: Option<Seq>,
}

struct Hole {
    from: u64,
    to: u64,
    lost: Range<Seq>,
}

fn examine(file: &File, salt: Salt, base: Seq, length: u64) -> io::Result<Examined> {
    let mut window = Window::default();
    let mut at = SEGMENT_HEADER;
    let mut examined = Examined { end: at, next: base, ..Examined::default() };
    let mut bad_from = None;
    loop {
        let found = scan::look(&mut window, file, salt, at, length)?;
        match found {
            Found::End => return Ok(examined),
            Found::Group(header) => {
                let from = bad_from.take().unwrap_or(at);
                if from < at || header.first > examined.next {
                    let lost = examined.next..header.first.max(examined.next);
                    examined.holes.push(Hole { from, to: at, lost });
                }
                at += header.frame_len();
                examined.end = at;
                examined.next = examined.next.max(header.end());
                examined.sound_groups += 1;
                examined.torn_to = None;
            }
            Found::BadBody(_) | Found::BadHeader => {
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

/// Puts `lost` groups over the holes, cuts a torn end off, and covers the numbers that must not be given out again.
fn mend(
    dir: &Path,
    segment: &SegmentFile,
    salt: Salt,
    examined: &Examined,
    floor: Seq,
    recovery: &mut Recovery,
) -> Result<(u64, Seq), JournalError> {
    for hole in &examined.holes {
        let what = if hole.from < hole.to { What::Groups } else { What::Missing };
        let set_aside = set_aside(dir, segment, hole.from, hole.to);
        cover_hole(segment, salt, hole)?;
        let (path, lost) = (segment.path.clone(), hole.lost.clone());
        recovery.damaged.push(Damage { path, offset: hole.from, bytes: hole.to - hole.from, lost, what, set_aside });
    }
    let mut next = examined.next.max(floor);
    if let Some(torn_to) = examined.torn_to {
        let bytes = segment.length - examined.end;
        let lost = examined.next..torn_to;
        let set_aside = set_aside(dir, segment, examined.end, segment.length);
        disk::truncate(&segment.file, examined.end).map_err(segment.failed("cut the torn end off"))?;
        let (path, offset) = (segment.path.clone(), examined.end);
        recovery.damaged.push(Damage { path, offset, bytes, lost, what: What::TornEnd, set_aside });
        recovery.truncated_bytes = bytes;
        // Nobody saw them, unless the disk lost what it had confirmed: then no other entry may get their numbers.
        next = next.max(torn_to);
    } else if floor > examined.next {
        let (path, offset, lost) = (segment.path.clone(), examined.end, examined.next..floor);
        recovery.damaged.push(Damage { path, offset, bytes: 0, lost, what: What::Missing, set_aside: None });
    }
    let mut end = examined.end;
    let mut from = examined.next;
    while from < next {
        let count = u32::try_from(next - from).unwrap_or(u32::MAX);
        let mut group = Vec::new();
        push_group(&mut group, salt, GroupHeader { count, ..control_header(Kind::Unused, from) }, &[]);
        disk::write_at(&segment.file, &group, end).map_err(segment.failed("mend"))?;
        end += group.len() as u64;
        from += u64::from(count);
    }
    Ok((end, next))
}

fn cover_hole(segment: &SegmentFile, salt: Salt, hole: &Hole) -> Result<(), JournalError> {
    let Some(body) = (hole.to - hole.from).checked_sub(GROUP_HEADER as u64) else { return Ok(()) };
    let header = GroupHeader {
        count: u32::try_from(hole.lost.end - hole.lost.start).unwrap_or(u32::MAX),
        body_len: u32::try_from(body).unwrap_or(u32::MAX),
        ..control_header(Kind::Lost, hole.lost.start)
    };
    disk::write_at(&segment.file, &header.encode(salt), hole.from).map_err(segment.failed("mend"))
}

/// Keeps a copy of damaged bytes, if the disk has room for it; the repair goes on without it.
fn set_aside(dir: &Path, segment: &SegmentFile, from: u64, to: u64) -> Option<PathBuf> {
    if from == to {
        return None;
    }
    let name = segment.path.file_name()?.to_string_lossy().into_owned();
    let path = dir.join(format!("{name}.{from}.damaged"));
    let copied = (|| {
        let mut copy = File::create(&path)?;
        let mut window = Window::default();
        let mut at = from;
        while at < to {
            let there = window.load(&segment.file, at, scan::READ_AHEAD, scan::READ_AHEAD, to)?;
            if there == 0 {
                break;
            }
            copy.write_all(&window.from(at)[..there])?;
            at += there as u64;
        }
        copy.sync_all()
    })();
    prune_damaged(dir);
    match copied {
        Ok(()) => Some(path),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "damaged bytes could not be kept");
            None
        }
    }
}

fn set_file_aside(dir: &Path, segment: &SegmentFile) -> Result<Damage, JournalError> {
    let kept = segment.path.with_extension("seg.damaged");
    fs::rename(&segment.path, &kept).map_err(segment.failed("set aside"))?;
    prune_damaged(dir);
    let (path, lost) = (segment.path.clone(), segment.base..segment.base);
    Ok(Damage { path, offset: 0, bytes: segment.length, lost, what: What::Unreadable, set_aside: Some(kept) })
}

fn prune_damaged(dir: &Path) {
    let Ok(items) = fs::read_dir(dir) else { return };
    let mut files: Vec<_> = items
        .filter_map(Result::ok)
        .map(|item| item.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "damaged"))
        .map(|path| (fs::metadata(&path).and_then(|meta| meta.modified()).ok(), path))
        .collect();
    files.sort();
    for (_, path) in files.iter().rev().skip(DAMAGED_KEPT) {
        if let Err(error) = fs::remove_file(path) {
            tracing::debug!(path = %path.display(), %error, "old damaged bytes stay");
        }
    }
}

/// What walking through the last segment tells.
#[derive(Default)]
struct Folded {
    owed: OwedList,
    confirmed: Seq,
    newest: Micros,
}

/// Lists the segments, and follows what is owed from the last owed snapshot on: that of the last segment, unless it is
/// damaged.
fn read_owed(id: Uuid, files: &[SegmentFile], tail: Option<&Tail>) -> Result<(Index, Folded), JournalError> {
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

fn now() -> Micros {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Micros::try_from(since.as_micros()).unwrap_or(Micros::MAX)
}
