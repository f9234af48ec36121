//! The memory that messages for all clients share, and who holds most of it.
//!
//! When it is full, whoever holds most loses first: clients that never come back must not cost others their messages.

use super::tree::SessionKey;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

/// Holders are told apart down to so many bytes; who holds less is not in the order at all, which spares those who read
/// as fast as they get.
const GRAIN: usize = 1024;

/// Bytes of all sessions, and the sessions in the order of what they hold.
#[derive(Debug, Default)]
pub(crate) struct QueuePool {
    total: Cell<usize>,
    holders: RefCell<BTreeSet<(usize, SessionKey)>>,
}

impl QueuePool {
    /// Bytes of all sessions together.
    pub(crate) fn total(&self) -> usize {
        self.total.get()
    }

    /// A session holds `after` bytes instead of `before`.
    pub(super) fn account(&self, holder: SessionKey, before: usize, after: usize) {
        self.total.set((self.total.get() + after).saturating_sub(before));
        let (old, new) = (before / GRAIN, after / GRAIN);
        if old != new {
            let mut holders = self.holders.borrow_mut();
            holders.remove(&(old, holder));
            if new > 0 {
                holders.insert((new, holder));
            }
        }
    }

    /// The first session that `is_fit` of those who hold more than `bytes`, beginning with who holds most.
    pub(crate) fn find_heaviest(&self, bytes: usize, is_fit: impl Fn(SessionKey) -> bool) -> Option<SessionKey> {
        let holders = self.holders.borrow();
        let heavier = holders.iter().rev().take_while(|(grains, _)| *grains > bytes / GRAIN);
        heavier.map(|(_, holder)| *holder).find(|holder| is_fit(*holder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_most_is_found_first_and_nobody_who_holds_less() {
        let pool = QueuePool::default();
        pool.account(1, 0, 10 * GRAIN);
        pool.account(2, 0, 30 * GRAIN);
        pool.account(3, 0, 20 * GRAIN);
        assert_eq!(pool.find_heaviest(0, |_| true), Some(2));
        assert_eq!(pool.find_heaviest(0, |holder| holder != 2), Some(3));
        assert_eq!(pool.find_heaviest(20 * GRAIN, |holder| holder != 2), None);
        pool.account(2, 30 * GRAIN, GRAIN / 2);
        assert_eq!(pool.find_heaviest(0, |_| true), Some(3));
        assert_eq!(pool.total(), 30 * GRAIN + GRAIN / 2);
    }
}
