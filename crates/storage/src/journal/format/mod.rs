//! Headers of segments and groups, as the module's documentation lays them out.

pub(crate) mod entry;
pub(crate) mod groups;
pub(crate) mod hash;
pub(crate) mod notes;
pub(crate) mod scan;
use super::Seq;
use hearthgate_domain::delivery::UnixMicros;
use std::path::{Path, PathBuf};
use uuid::Uuid;

pub(super) const VERSION: u16 = 2;
/// The first version; it has no groups of the kind `notes`.
const VERSION_WITHOUT_NOTES: u16 = 1;
pub(super) const SEGMENT_HEADER: u64 = 64;
pub(super) const GROUP_HEADER: usize = 40;
const SEGMENT_MAGIC: &[u8; 6] = b"HGJRNL";
const GROUP_MAGIC: &[u8; 4] = b"HGG1";

/// What the checksums of a segment's groups start from.
#[derive(Clone, Copy, Debug)]
pub(super) struct SegmentSalt(u32);

impl SegmentSalt {
    pub(super) fn new(journal: Uuid, base: Seq) -> Self {
        SegmentSalt(crc32c::crc32c_append(crc32c::crc32c(journal.as_bytes()), &base.to_le_bytes()))
    }

    pub(super) fn checksum(self, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(self.0, bytes)
    }
}

/// Path of the segment that starts with `base`.
pub(super) fn segment_path(dir: &Path, base: Seq) -> PathBuf {
    dir.join(format!("{base:020}.seg"))
}

/// First sequence number of a segment by its file name, if it is one.
pub(super) fn segment_base(path: &Path) -> Option<Seq> {
    let digits = path.file_name()?.to_str()?.strip_suffix(".seg")?;
    if digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) journal: Uuid,
    pub(super) base: Seq,
    pub(super) voids_from: Seq,
    pub(super) created_at: UnixMicros,
}

pub(super) enum SegmentFault {
    Damaged,
    Version(u16),
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; SEGMENT_HEADER as usize] {
        let mut out = [0; SEGMENT_HEADER as usize];
        out[..6].copy_from_slice(SEGMENT_MAGIC);
        out[6..8].copy_from_slice(&VERSION.to_le_bytes());
        out[8..24].copy_from_slice(self.journal.as_bytes());
        out[24..32].copy_from_slice(&self.base.to_le_bytes());
        out[32..40].copy_from_slice(&self.voids_from.to_le_bytes());
        out[40..48].copy_from_slice(&self.created_at.to_le_bytes());
        let checksum = crc32c::crc32c(&out[..60]);
        out[60..].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, SegmentFault> {
        let mut fields = FieldReader(bytes);
        let read = (|| {
            let magic = fields.take(6)?;
            let version = fields.u16()?;
            let journal = Uuid::from_slice(fields.take(16)?).ok()?;
            let header =
                SegmentHeader { journal, base: fields.u64()?, voids_from: fields.u64()?, created_at: fields.i64()? };
            fields.take(12)?;
            let sound = magic == SEGMENT_MAGIC && fields.u32()? == crc32c::crc32c(bytes.get(..60)?);
            sound.then_some((version, header))
        })();
        match read {
            Some((VERSION | VERSION_WITHOUT_NOTES, header)) => Ok(header),
            Some((other, _)) => Err(SegmentFault::Version(other)),
            None => Err(SegmentFault::Damaged),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GroupKind {
    Entries = 1,
    Begin = 2,
    Lost = 3,
    Unused = 4,
    Settled = 5,
    Notes = 6,
}

impl GroupKind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => GroupKind::Entries,
            2 => GroupKind::Begin,
            3 => GroupKind::Lost,
            4 => GroupKind::Unused,
            5 => GroupKind::Settled,
            6 => GroupKind::Notes,
            _ => return None,
        })
    }

    /// Whether the body means anything, so that its checksum has to be right.
    fn has_body(self) -> bool {
        !matches!(self, GroupKind::Lost | GroupKind::Unused)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupHeader {
    pub(super) kind: GroupKind,
    pub(super) first: Seq,
    pub(super) count: u32,
    pub(super) body_len: u32,
    pub(super) body_checksum: u32,
    /// So many bytes of the segment were synced when it was written; 0: all before it, or not known.
    pub(super) synced: u64,
}

impl GroupHeader {
    /// Number after the last one that the group covers.
    pub(super) fn end(&self) -> Seq {
        self.first.saturating_add(u64::from(self.count))
    }

    /// Length on disk: header, body, filling.
    pub(super) fn frame_len(&self) -> u64 {
        GROUP_HEADER as u64 + u64::from(self.body_len).next_multiple_of(8)
    }

    pub(super) fn body_is_sound(&self, body: &[u8], salt: SegmentSalt) -> bool {
        !self.kind.has_body() || salt.checksum(body) == self.body_checksum
    }

    pub(super) fn encode(&self, salt: SegmentSalt) -> [u8; GROUP_HEADER] {
        let mut out = [0; GROUP_HEADER];
        out[..4].copy_from_slice(GROUP_MAGIC);
        out[4] = self.kind as u8;
        out[8..16].copy_from_slice(&self.first.to_le_bytes());
        out[16..20].copy_from_slice(&self.count.to_le_bytes());
        out[20..24].copy_from_slice(&self.body_len.to_le_bytes());
        out[24..32].copy_from_slice(&self.synced.to_le_bytes());
        out[32..36].copy_from_slice(&self.body_checksum.to_le_bytes());
        let checksum = salt.checksum(&out[..36]);
        out[36..].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// `None` when these bytes are no group header of this segment.
    pub(super) fn decode(bytes: &[u8], salt: SegmentSalt) -> Option<Self> {
        let mut fields = FieldReader(bytes);
        if fields.take(4)? != GROUP_MAGIC {
            return None;
        }
        let kind = fields.u8()?;
        fields.take(3)?;
        let kind = GroupKind::from_byte(kind)?;
        let (first, count, body_len) = (fields.u64()?, fields.u32()?, fields.u32()?);
        let synced = fields.u64()?;
        let header = GroupHeader { kind, first, count, body_len, body_checksum: fields.u32()?, synced };
        (fields.u32()? == salt.checksum(bytes.get(..36)?)).then_some(header)
    }
}

/// Appends a group of one of the kinds that are not entries.
pub(super) fn push_group(out: &mut Vec<u8>, salt: SegmentSalt, mut header: GroupHeader, body: &[u8]) {
    header.body_len = u32::try_from(body.len()).unwrap_or(u32::MAX);
    header.body_checksum = salt.checksum(body);
    out.extend_from_slice(&header.encode(salt));
    out.extend_from_slice(body);
    out.resize(out.len().next_multiple_of(8), 0);
}

/// Reads little-endian fields off the front; `None` when there are too few bytes.
pub(super) struct FieldReader<'a>(pub(super) &'a [u8]);

impl<'a> FieldReader<'a> {
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(length)?;
        self.0 = tail;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk()?;
        self.0 = tail;
        Some(*head)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }
}
