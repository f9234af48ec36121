//! Walking through the groups of a segment, whatever state it is in.

use crate::journal::format::{GROUP_HEADER, GroupHeader, SegmentSalt};
use hearthgate_files::disk::DiskFile;
use std::io;

/// How much is read ahead, in bytes.
pub(crate) const READ_AHEAD: usize = 256 << 10;

/// A part of a file in memory.
#[derive(Debug, Default)]
pub(crate) struct ScanWindow {
    bytes: Vec<u8>,
    start: u64,
}

impl ScanWindow {
    /// The bytes from `at`, as many as are here.
    pub(crate) fn from(&self, at: u64) -> &[u8] {
        let skip = at.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        skip.and_then(|skip| self.bytes.get(skip..)).unwrap_or_default()
    }

    /// Makes sure that `length` bytes from `at` are here, or as many as there are before `limit`; reads `ahead` bytes if
    /// it has to read. Tells how many are.
    pub(crate) fn load(
        &mut self,
        file: &DiskFile,
        at: u64,
        length: usize,
        ahead: usize,
        limit: u64,
    ) -> io::Result<usize> {
        let there = usize::try_from(limit.saturating_sub(at)).unwrap_or(usize::MAX);
        let length = length.min(there);
        if self.from(at).len() < length {
            self.read(file, at, length.max(ahead).min(there))?;
        }
        Ok(self.from(at).len().min(there))
    }

    fn read(&mut self, file: &DiskFile, at: u64, length: usize) -> io::Result<()> {
        self.start = at;
        if self.bytes.len() > 4 * READ_AHEAD && length <= READ_AHEAD {
            self.bytes = Vec::new();
        }
        self.bytes.resize(length, 0);
        let mut filled = 0;
        while filled < length {
            match file.read_at(&mut self.bytes[filled..], at + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.bytes.clear();
                    return Err(error);
                }
            }
        }
        self.bytes.truncate(filled);
        Ok(())
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }
}

/// The body of a group whose frame starts at the front of `frame`.
pub(crate) fn body<'a>(frame: &'a [u8], header: &GroupHeader) -> Option<&'a [u8]> {
    frame.get(GROUP_HEADER..)?.get(..header.body_len as usize)
}

/// What stands at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FoundGroup {
    /// The end.
    End,
    /// A sound group; it is in the window as a whole.
    Group(GroupHeader),
    /// A group whose header is sound but whose body is not, or is cut off.
    BadBody(GroupHeader),
    /// No group header.
    BadHeader,
}

/// Looks at what stands at `at`.
pub(crate) fn look(
    window: &mut ScanWindow,
    file: &DiskFile,
    salt: SegmentSalt,
    at: u64,
    limit: u64,
) -> io::Result<FoundGroup> {
    if at >= limit {
        return Ok(FoundGroup::End);
    }
    window.load(file, at, GROUP_HEADER, READ_AHEAD, limit)?;
    let Some(header) = GroupHeader::decode(window.from(at), salt) else {
        return Ok(FoundGroup::BadHeader);
    };
    if header.frame_len() > limit - at {
        return Ok(FoundGroup::BadBody(header));
    }
    window.load(file, at, header.frame_len() as usize, READ_AHEAD, limit)?;
    let sound = body(window.from(at), &header).is_some_and(|body| header.body_is_sound(body, salt));
    Ok(if sound { FoundGroup::Group(header) } else { FoundGroup::BadBody(header) })
}

/// A stretch of a segment that cannot be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DamagedStretch {
    /// Where the next group stands, or the end.
    pub(crate) to: u64,
    /// The number after the last one lost, as far as it can be told from here.
    pub(crate) lost_end: Option<u64>,
}

/// Finds the end of the damage that `look` found at `at`.
pub(crate) fn past_damage(
    window: &mut ScanWindow,
    file: &DiskFile,
    salt: SegmentSalt,
    at: u64,
    limit: u64,
    found: FoundGroup,
) -> io::Result<DamagedStretch> {
    if let FoundGroup::BadBody(header) = found {
        let to = at.saturating_add(header.frame_len()).min(limit);
        return Ok(DamagedStretch { to, lost_end: Some(header.end()) });
    }
    // Groups stand at multiples of 8, and none is shorter than its header.
    let mut candidate = at + GROUP_HEADER as u64;
    while candidate < limit {
        let there = window.load(file, candidate, GROUP_HEADER, READ_AHEAD, limit)?;
        if there < GROUP_HEADER {
            break;
        }
        let bytes = window.from(candidate);
        if let Some(header) = GroupHeader::decode(bytes, salt) {
            return Ok(DamagedStretch { to: candidate, lost_end: Some(header.first) });
        }
        candidate += 8;
    }
    Ok(DamagedStretch { to: limit, lost_end: None })
}
