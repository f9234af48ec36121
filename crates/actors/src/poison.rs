//! Which messages have stopped an actor, and how often: one that does so twice is given up, so that it can't do so for ever.
//!
//! Shared by the actor's incarnations. Only a panic while a message is being worked on is laid to it; one from elsewhere
//! blames nobody. The end of the whole process is laid to what it had [in hand](crate::in_hand).

use crate::in_hand::{InHand, MarkHolder, MessageMark};
use crate::lock::lock;
use std::collections::HashMap;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// How often a message may be in hand when its actor dies before it is given up.
const ALLOWED: u32 = 2;

/// See the module. `K` is what a message is known by.
#[derive(Debug)]
pub(crate) struct PoisonMessages<K> {
    /// Spares the lock in good times.
    is_empty: AtomicBool,
    counts: Mutex<HashMap<K, u32>>,
    process: Option<(Arc<InHand>, MarkHolder)>,
}

/// What a message is known by over the end of the process.
pub(crate) trait PoisonKey: Sized {
    fn mark(&self) -> MessageMark;
    fn of_mark(mark: MessageMark) -> Option<Self>;
}

impl<K: Copy + Eq + Hash + PoisonKey> PoisonMessages<K> {
    /// With the messages that have ended earlier processes while `holder` had them in hand.
    pub(crate) fn of_process(in_hand: Arc<InHand>, holder: MarkHolder) -> Self {
        let suspects = in_hand.suspects(holder).into_iter();
        let counts: HashMap<K, u32> = suspects.filter_map(|(mark, ends)| Some((K::of_mark(mark)?, ends))).collect();
        PoisonMessages {
            is_empty: AtomicBool::new(counts.is_empty()),
            counts: Mutex::new(counts),
            process: Some((in_hand, holder)),
        }
    }

    /// Works on one message, without waiting for anything; the end of the process is laid to it.
    pub(crate) fn hold<T>(&self, message: K, work: impl FnOnce() -> T) -> T {
        match &self.process {
            Some((in_hand, holder)) => in_hand.hold(*holder, message.mark(), work),
            None => work(),
        }
    }

    /// Forgets those that will not come again, also over the end of the process.
    pub(crate) fn acquit(&self, is_done: impl Fn(&K) -> bool) {
        if self.is_empty() {
            return;
        }
        self.forget(&is_done);
        if let Some((in_hand, holder)) = &self.process {
            in_hand.acquit(*holder, |mark| K::of_mark(mark).is_none_or(|message| is_done(&message)));
        }
    }
}

impl<K: Copy + Eq + Hash> PoisonMessages<K> {
    /// Whether no message is suspected.
    pub(crate) fn is_empty(&self) -> bool {
        self.is_empty.load(Ordering::Relaxed)
    }

    /// These messages were in hand when the actor died.
    pub(crate) fn note(&self, messages: impl IntoIterator<Item = K>) {
        let mut counts = lock(&self.counts);
        for message in messages {
            *counts.entry(message).or_default() += 1;
        }
        self.is_empty.store(counts.is_empty(), Ordering::Relaxed);
    }

    /// Whether this message must be given up.
    pub(crate) fn is_deadly(&self, message: K) -> bool {
        !self.is_empty() && lock(&self.counts).get(&message).is_some_and(|deaths| *deaths >= ALLOWED)
    }

    /// Forgets those that will not come again.
    pub(crate) fn forget(&self, is_done: impl Fn(&K) -> bool) {
        if self.is_empty() {
            return;
        }
        let mut counts = lock(&self.counts);
        counts.retain(|message, _| !is_done(message));
        self.is_empty.store(counts.is_empty(), Ordering::Relaxed);
    }

    /// Works on one message; a panic is laid to it, and goes on.
    pub(crate) fn risk<T>(&self, message: K, work: impl FnOnce() -> T) -> T {
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
            self.note([message]);
            resume_unwind(panic)
        })
    }

    /// Works on messages; a panic is laid to each of them, and goes on.
    pub(crate) async fn risk_all<T, M>(&self, messages: impl FnOnce() -> M, work: impl Future<Output = T>) -> T
    where
        M: IntoIterator<Item = K>,
    {
        let work = futures_util::FutureExt::catch_unwind(AssertUnwindSafe(work));
        work.await.unwrap_or_else(|panic| {
            self.note(messages());
            resume_unwind(panic)
        })
    }
}

impl<K> Default for PoisonMessages<K> {
    fn default() -> Self {
        PoisonMessages { is_empty: AtomicBool::new(true), counts: Mutex::default(), process: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn die() {
        panic!("on purpose");
    }

    #[tokio::test]
    async fn a_panic_is_laid_to_the_messages_in_hand_and_the_second_is_one_too_many() {
        let deaths = PoisonMessages::default();
        let all = catch_unwind(AssertUnwindSafe(|| {
            futures_util::FutureExt::now_or_never(deaths.risk_all(|| [1, 2], async { die() }))
        }));
        assert!(all.is_err(), "it goes on");
        assert!(!deaths.is_deadly(1) && !deaths.is_deadly(2));
        assert!(catch_unwind(AssertUnwindSafe(|| deaths.risk(2, die))).is_err());
        assert!(!deaths.is_deadly(1) && deaths.is_deadly(2));
    }

    #[tokio::test]
    async fn work_that_ends_well_blames_nobody() {
        let deaths = PoisonMessages::default();
        assert_eq!((deaths.risk(1, || 5), deaths.risk_all(|| [1], async { 6 }).await), (5, 6));
        assert!(deaths.is_empty());
    }

    impl PoisonKey for u64 {
        fn mark(&self) -> MessageMark {
            (*self, 0)
        }
        fn of_mark((number, _): MessageMark) -> Option<Self> {
            Some(number)
        }
    }

    #[test]
    fn a_message_with_which_two_processes_ended_is_given_up_by_the_third() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in-hand");
        let open = || PoisonMessages::<u64>::of_process(Arc::new(InHand::open(&path)), MarkHolder::Writer);
        for _ in 0..2 {
            let deaths = open();
            assert!(!deaths.is_deadly(5));
            let left = deaths.hold(5, || std::fs::read(&path).unwrap());
            std::fs::write(&path, left).unwrap();
        }
        let deaths = open();
        assert!(deaths.is_deadly(5) && !deaths.is_deadly(4));
        deaths.acquit(|message| *message == 5);
        assert!(open().is_empty());
    }

    #[test]
    fn what_is_done_is_forgotten() {
        let deaths = PoisonMessages::default();
        deaths.note([1, 2]);
        deaths.note([1, 2]);
        deaths.forget(|message| *message <= 1);
        assert!(!deaths.is_deadly(1) && deaths.is_deadly(2));
        deaths.forget(|message| *message <= 2);
        assert!(deaths.is_empty());
    }
}
