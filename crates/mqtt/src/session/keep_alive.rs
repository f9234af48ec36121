//! PINGREQ in two roles: keep-alive, and a barrier behind acknowledgements. A broker works off a connection's packets in
//! order, so when PINGRESP comes, everything that we wrote before the ping has been processed.

use crate::link::DeliveryTag;
use crate::session::outbound::packets::PINGREQ;
use bytes::BytesMut;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Acknowledgements wait no longer than this for their barrier.
const BARRIER_DELAY: Duration = Duration::from_millis(100);
/// So many acknowledgements get a barrier at once.
const BARRIER_ACKS: usize = 5_000;
/// Longest wait for PINGRESP when there is no keep-alive to go by.
const DEFAULT_PATIENCE: Duration = Duration::from_secs(60);

/// The pings of one connection.
#[derive(Debug)]
pub(super) struct KeepAlive {
    keep_alive: Option<Duration>,
    last_written: Instant,
    /// Newest acknowledgement written, and how many since the last ping.
    written: DeliveryTag,
    uncovered: usize,
    uncovered_since: Instant,
    /// Sent and unanswered: when, and what each covers.
    outstanding: VecDeque<(Instant, DeliveryTag)>,
    confirmed: u64,
}

impl KeepAlive {
    pub(super) fn new(keep_alive: Duration, now: Instant) -> Self {
        KeepAlive {
            keep_alive: (!keep_alive.is_zero()).then_some(keep_alive),
            last_written: now,
            written: DeliveryTag::default(),
            uncovered: 0,
            uncovered_since: now,
            outstanding: VecDeque::new(),
            confirmed: 0,
        }
    }

    /// Anything was written.
    pub(super) fn wrote(&mut self, now: Instant) {
        self.last_written = now;
    }

    /// Acknowledgements were written, up to `ticket`.
    pub(super) fn acknowledged(&mut self, ticket: DeliveryTag, count: usize, now: Instant) {
        if count == 0 {
            return;
        }
        if self.uncovered == 0 {
            self.uncovered_since = now;
        }
        self.uncovered += count;
        self.written = ticket;
    }

    /// Writes a ping if one is due: for the keep-alive in any case, as a barrier only while none is on its way.
    pub(super) fn write_due(&mut self, out: &mut BytesMut, now: Instant) {
        let alive = self.keep_alive_at().is_some_and(|at| now >= at);
        let barrier = self.outstanding.is_empty()
            && self.uncovered > 0
            && (self.uncovered >= BARRIER_ACKS || now >= self.uncovered_since + BARRIER_DELAY);
        if alive || barrier {
            self.write(out, now);
        }
    }

    /// Writes a ping now.
    pub(super) fn write(&mut self, out: &mut BytesMut, now: Instant) {
        out.extend_from_slice(&PINGREQ);
        self.last_written = now;
        self.uncovered = 0;
        self.outstanding.push_back((now, self.written));
    }

    /// PINGRESP; returns what it confirms, if that is news.
    pub(super) fn answered(&mut self) -> Option<DeliveryTag> {
        let (_, ticket) = self.outstanding.pop_front()?;
        (ticket.number > self.confirmed).then(|| {
            self.confirmed = ticket.number;
            ticket
        })
    }

    /// Whether everything acknowledged is confirmed too.
    pub(super) fn is_settled(&self) -> bool {
        self.uncovered == 0 && self.outstanding.is_empty()
    }

    /// Reading was paused by ourselves, so the broker is not to blame for a missing answer.
    pub(super) fn excuse(&mut self, now: Instant) {
        for (sent, _) in &mut self.outstanding {
            *sent = now;
        }
    }

    /// How long the broker has been silent, if too long.
    pub(super) fn overdue(&self, now: Instant) -> Option<Duration> {
        let (sent, _) = self.outstanding.front()?;
        let silent = now.saturating_duration_since(*sent);
        (silent >= self.patience()).then_some(silent)
    }

    /// When to look again.
    pub(super) fn next_at(&self) -> Option<Instant> {
        let barrier = (self.uncovered > 0 && self.outstanding.is_empty()).then(|| self.uncovered_since + BARRIER_DELAY);
        let answer = self.outstanding.front().map(|(sent, _)| *sent + self.patience());
        [self.keep_alive_at(), barrier, answer].into_iter().flatten().min()
    }

    fn keep_alive_at(&self) -> Option<Instant> {
        self.keep_alive.map(|interval| self.last_written + interval.mul_f32(0.75))
    }

    fn patience(&self) -> Duration {
        self.keep_alive.unwrap_or(DEFAULT_PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(number: u64) -> DeliveryTag {
        DeliveryTag { connection: 1, number }
    }

    #[test]
    fn a_barrier_follows_acknowledgements_once_and_then_there_is_silence() {
        let (start, mut out) = (Instant::now(), BytesMut::new());
        let mut pings = KeepAlive::new(Duration::ZERO, start);
        assert_eq!(pings.next_at(), None, "no timer when idle");
        pings.acknowledged(ticket(3), 3, start);
        pings.write_due(&mut out, start);
        assert!(out.is_empty(), "more acknowledgements may follow");
        pings.acknowledged(ticket(5), 2, start + BARRIER_DELAY / 2);
        pings.write_due(&mut out, start + BARRIER_DELAY);
        assert_eq!(&out[..], PINGREQ);
        assert_eq!(pings.answered(), Some(ticket(5)));
        assert_eq!(pings.next_at(), None);
        assert!(pings.is_settled());
    }

    #[test]
    fn at_high_rate_at_most_one_barrier_is_on_its_way() {
        let (start, mut out) = (Instant::now(), BytesMut::new());
        let mut pings = KeepAlive::new(Duration::ZERO, start);
        for round in 1..=10_u64 {
            pings.acknowledged(ticket(round * 6_000), 6_000, start);
            pings.write_due(&mut out, start);
        }
        assert_eq!(&out[..], PINGREQ);
        assert_eq!(pings.answered(), Some(ticket(6_000)));
        pings.write_due(&mut out, start);
        assert_eq!(pings.answered(), Some(ticket(60_000)));
    }

    #[test]
    fn a_silent_broker_is_noticed_unless_we_did_not_read() {
        let (start, mut out) = (Instant::now(), BytesMut::new());
        let interval = Duration::from_secs(10);
        let mut pings = KeepAlive::new(interval, start);
        pings.write_due(&mut out, start + interval);
        assert_eq!(&out[..], PINGREQ);
        assert!(pings.overdue(start + interval * 2).is_some());
        pings.excuse(start + interval * 2);
        assert_eq!(pings.overdue(start + interval * 2), None);
    }
}
