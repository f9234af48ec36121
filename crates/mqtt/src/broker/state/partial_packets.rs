//! Packets of which only a part has come.

use crate::broker::state::session::LinkKey;
use std::collections::HashMap;

#[derive(Debug)]
pub(super) struct Partial {
    /// Rises with each packet that begins.
    pub(super) began: u64,
    pub(super) bytes: usize,
}

/// The partial packets of all connections.
#[derive(Debug, Default)]
pub(super) struct PartialPackets {
    pub(super) by_link: HashMap<LinkKey, Partial>,
    pub(super) bytes: usize,
    pub(super) last: u64,
}

impl PartialPackets {
    pub(super) fn set(&mut self, link: LinkKey, bytes: usize) {
        self.last += 1;
        let partial = self.by_link.entry(link).or_insert(Partial { began: self.last, bytes: 0 });
        self.bytes = (self.bytes + bytes).saturating_sub(partial.bytes);
        partial.bytes = bytes;
    }

    pub(super) fn remove(&mut self, link: LinkKey) {
        if let Some(partial) = self.by_link.remove(&link) {
            self.bytes = self.bytes.saturating_sub(partial.bytes);
        }
    }

    pub(super) fn oldest(&self) -> Option<LinkKey> {
        self.by_link.iter().min_by_key(|(_, partial)| partial.began).map(|(link, _)| *link)
    }
}
