//! Packet identifiers for what we send (MQTT 3.1.1, section 2.3.1).

use std::collections::HashSet;

/// Hands out identifiers that are not in use, each as late as possible after its last use.
#[derive(Debug, Default)]
pub(crate) struct PacketIds {
    last: u16,
    used: HashSet<u16>,
}

impl PacketIds {
    /// A free identifier; `None` when all 65,535 are in use.
    pub(crate) fn take(&mut self) -> Option<u16> {
        if self.used.len() >= usize::from(u16::MAX) {
            return None;
        }
        loop {
            self.last = self.last.checked_add(1).unwrap_or(1);
            if self.used.insert(self.last) {
                return Some(self.last);
            }
        }
    }

    pub(crate) fn free(&mut self, packet_id: u16) {
        self.used.remove(&packet_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_in_use_is_never_handed_out_again() {
        let mut ids = PacketIds::default();
        let first = ids.take();
        assert_eq!(first, Some(1));
        for _ in 1..65_535 {
            assert_ne!(ids.take(), first);
        }
        assert_eq!(ids.take(), None);
        ids.free(77);
        assert_eq!(ids.take(), Some(77));
    }
}
