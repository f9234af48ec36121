//! What each flow stored last of each topic, as digests: a retained message comes again with each subscription, and is
//! stored once.
//!
//! A broker does not say of a message that is published whether it keeps it, so all count. The topics that were in use
//! last are remembered, of all flows together; a retained message on another one is stored again when it comes again.

use crate::journal::format::FieldReader;
use std::collections::HashMap;

/// Topics that are remembered at least; at most twice as many, in 8 MB at most.
const TOPICS: usize = 50_000;

/// In the file: the flow has a number.
const FILE_HAS_ID: u8 = 1;
/// In the file: see [`LatestDigest::is_restored`]. Earlier versions did not write it.
const FILE_IS_RESTORED: u8 = 2;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct LatestDigests {
    /// Two generations: when the young one is full it becomes the old one, and what was old and not stored since is gone.
    young: HashMap<Place, LatestDigest>,
    old: HashMap<Place, LatestDigest>,
    /// Digests of the codes that flows had: a number may be given to another flow.
    codes: HashMap<i64, u64>,
}

/// Number of a flow (none for all of them together), and digest of a topic.
type Place = (Option<i64>, u64);

/// A flow, as the digests know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowKey {
    /// Its number; none for what concerns every flow.
    pub id: Option<i64>,
    /// Digest of its code; none when it is not known.
    pub code: Option<u64>,
}

/// What a flow stored last of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatestDigest(u64);

/// Whether it was a restored one; the content's own lowest bit is not kept.
const IS_RESTORED: u64 = 1;

impl LatestDigest {
    /// Of a message with this digest. `is_restored` says that it came because the embedded broker had kept it since before
    /// this process, so that its publisher may yet send it again.
    #[must_use]
    pub fn new(content: u64, is_restored: bool) -> Self {
        LatestDigest((content & !IS_RESTORED) | u64::from(is_restored))
    }

    /// Whether it had this content.
    #[must_use]
    pub fn has(self, content: u64) -> bool {
        (self.0 ^ content) & !IS_RESTORED == 0
    }

    /// See [`LatestDigest::new`].
    #[must_use]
    pub fn is_restored(self) -> bool {
        self.0 & IS_RESTORED != 0
    }
}

impl LatestDigests {
    /// What the flow stored last of a topic.
    #[must_use]
    pub fn get(&self, flow: FlowKey, topic: u64) -> Option<LatestDigest> {
        if self.is_other(flow) {
            return None;
        }
        let place = (flow.id, topic);
        self.young.get(&place).or_else(|| self.old.get(&place)).copied()
    }

    /// The flow has stored a message of this topic. Tells whether its code is new, which the entries of the journal do not
    /// tell: see [`Journal::keep_latest`](super::super::Journal::keep_latest).
    pub fn put(&mut self, flow: FlowKey, topic: u64, content: LatestDigest) -> bool {
        if self.is_other(flow) {
            self.young.retain(|(id, _), _| *id != flow.id);
            self.old.retain(|(id, _), _| *id != flow.id);
        }
        let is_news = match (flow.id, flow.code) {
            (Some(id), Some(code)) => self.codes.insert(id, code) != Some(code),
            _ => false,
        };
        let place = (flow.id, topic);
        if let Some(known) = self.young.get_mut(&place) {
            *known = content;
            return is_news;
        }
        self.old.remove(&place);
        if self.young.len() >= TOPICS {
            self.old = std::mem::take(&mut self.young);
            let LatestDigests { old, codes, .. } = self;
            let used: std::collections::HashSet<i64> = old.keys().filter_map(|(id, _)| *id).collect();
            codes.retain(|id, _| used.contains(id) || flow.id == Some(*id));
        }
        self.young.insert(place, content);
        is_news
    }

    /// The number was another flow's.
    fn is_other(&self, flow: FlowKey) -> bool {
        let (Some(id), Some(code)) = (flow.id, flow.code) else { return false };
        self.codes.get(&id).is_some_and(|known| *known != code)
    }

    /// For a file.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.codes.len() as u32).to_le_bytes());
        for (id, code) in &self.codes {
            out.extend_from_slice(&id.to_le_bytes());
            out.extend_from_slice(&code.to_le_bytes());
        }
        out.extend_from_slice(&((self.old.len() + self.young.len()) as u32).to_le_bytes());
        for ((id, topic), content) in self.old.iter().chain(&self.young) {
            let has_id = if id.is_some() { FILE_HAS_ID } else { 0 };
            let is_restored = if content.is_restored() { FILE_IS_RESTORED } else { 0 };
            out.push(has_id | is_restored);
            out.extend_from_slice(&id.unwrap_or_default().to_le_bytes());
            out.extend_from_slice(&topic.to_le_bytes());
            out.extend_from_slice(&content.0.to_le_bytes());
        }
    }

    /// From a file.
    pub(in crate::journal) fn decode(fields: &mut FieldReader<'_>) -> Option<Self> {
        let mut latest = LatestDigests::default();
        for _ in 0..fields.u32()? {
            latest.codes.insert(fields.i64()?, fields.u64()?);
        }
        for _ in 0..fields.u32()? {
            let (flags, id) = (fields.u8()?, fields.i64()?);
            let flow = FlowKey { id: (flags & FILE_HAS_ID != 0).then_some(id), code: None };
            let (topic, content) = (fields.u64()?, fields.u64()?);
            latest.put(flow, topic, LatestDigest::new(content, flags & FILE_IS_RESTORED != 0));
        }
        Some(latest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(content: u64) -> LatestDigest {
        LatestDigest::new(content, false)
    }

    const FLOW: FlowKey = FlowKey { id: Some(1), code: Some(70) };

    #[test]
    fn the_last_of_each_topic_is_known_to_its_flow_and_comes_back_from_a_file() {
        let mut latest = LatestDigests::default();
        latest.put(FLOW, 5, live(50));
        latest.put(FLOW, 5, LatestDigest::new(51, true));
        latest.put(FlowKey { id: None, code: None }, 5, live(52));
        let mut bytes = Vec::new();
        latest.encode(&mut bytes);
        let latest = LatestDigests::decode(&mut FieldReader(&bytes)).unwrap();
        assert_eq!((latest.get(FLOW, 5), latest.get(FLOW, 6)), (Some(LatestDigest::new(51, true)), None));
        assert_eq!(latest.get(FlowKey { id: Some(2), code: None }, 5), None);
        assert_eq!(latest.get(FlowKey { id: None, code: None }, 5), Some(live(52)));
    }

    #[test]
    fn a_flow_that_has_the_number_of_another_one_knows_nothing_of_it() {
        let mut latest = LatestDigests::default();
        latest.put(FLOW, 5, live(50));
        let other = FlowKey { code: Some(71), ..FLOW };
        assert_eq!(latest.get(other, 5), None);
        latest.put(other, 6, live(60));
        assert_eq!((latest.get(other, 5), latest.get(other, 6)), (None, Some(live(60))));
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut latest = LatestDigests::default();
        for topic in 0..TOPICS as u64 * 3 {
            latest.put(FlowKey { id: Some((topic % 700) as i64), code: Some(1) }, topic, live(1));
        }
        assert!(latest.young.len() + latest.old.len() <= 2 * TOPICS && latest.codes.len() <= 700);
        assert_eq!(latest.get(FlowKey { id: Some(149_999 % 700), code: Some(1) }, 149_999), Some(live(1)));
    }
}
