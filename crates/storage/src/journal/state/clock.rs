//! The clock by which the journal tells how long something waits: time that was lived through.
//!
//! The wall clock may jump, by a minute or by years and in both directions: then nothing has become older. So this one begins
//! where it stood when the last segment was begun, or at the wall clock's time in a new journal, and goes on by the
//! monotonic clock. What the gateway was not running for is not counted.

use hearthgate_domain::delivery::UnixMicros;
use std::time::Instant;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SteadyClock {
    base: UnixMicros,
    since: Instant,
}

impl SteadyClock {
    /// A clock that stands there.
    pub(crate) fn from(base: UnixMicros) -> Self {
        SteadyClock { base, since: Instant::now() }
    }

    pub(crate) fn now(self) -> UnixMicros {
        let lived = UnixMicros::try_from(self.since.elapsed().as_micros()).unwrap_or(UnixMicros::MAX);
        self.base.saturating_add(lived)
    }

    /// As if so much time had been lived through.
    #[cfg(test)]
    pub(crate) fn advance(&mut self, time: UnixMicros) {
        self.base += time;
    }
}
