//! One standing connection: reads, acknowledgements, publishes and subscriptions, each in batches, until it ends.

use super::backoff::{ConnectionLoss, LossKind};
use super::options::SessionOptions;
use super::state::SessionState;
use super::transport::Established;
use crate::codec::reason::ReasonCode;
use crate::link::LinkEvent;
use crate::session::broker_switch::BrokerSwitch;
use crate::session::events::ReceiverGone;
use crate::session::inbound::intake::InboundWindow;
use crate::session::inbound::packet::{BrokerPacket, BrokerPublish, MalformedPacket, UnusableMessage};
use crate::session::keep_alive::KeepAlive;
use crate::session::outbound::outbox::RejectedMessage;
use crate::session::outbound::packets::DISCONNECT;
use crate::session::transport::read_coalescer::ReadCoalescer;
use hearthgate_domain::delivery::{SubscriptionIds, UnixMicros, unix_micros};
use std::io;
use std::pin::pin;
use std::time::{Duration, Instant, SystemTime};
use tokio::time::{sleep, timeout};

/// What comes so long after a session was taken up again is taken for new, even if there was no pause.
const CATCHING_UP: Duration = Duration::from_secs(10);
/// Before we go to another broker, what is in hand is made safe and acknowledged, within this time.
const LEAVING: Duration = Duration::from_secs(10);

/// How a connection ended.
#[derive(Debug)]
pub(super) enum ConnectionEnd {
    Lost(ConnectionLoss),
    /// In order, because we were asked to.
    Closed,
    /// In order, to go to another broker.
    Moved,
    /// Nobody listens to us any more.
    Abandoned,
}

impl From<ReceiverGone> for ConnectionEnd {
    fn from(_: ReceiverGone) -> Self {
        ConnectionEnd::Abandoned
    }
}

impl From<MalformedPacket> for ConnectionEnd {
    fn from(error: MalformedPacket) -> Self {
        ConnectionEnd::Lost(ConnectionLoss::new(LossKind::Broken, error.to_string()))
    }
}

impl From<io::Error> for ConnectionEnd {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        ConnectionEnd::Lost(match error.kind() {
            UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe => {
                ConnectionLoss::new(LossKind::ClosedByBroker, "the broker closed the connection")
            }
            _ => ConnectionLoss::new(LossKind::Broken, format!("the connection broke: {error}")),
        })
    }
}

/// A standing connection at work.
pub(super) struct EstablishedConnection<'a> {
    options: &'a SessionOptions,
    desk: &'a mut SessionState,
    intake: &'a mut InboundWindow,
    moves: &'a mut BrokerSwitch,
    standing: Established,
    pings: KeepAlive,
    pace: ReadCoalescer,
    is_leaving: bool,
    closing_since: Option<Instant>,
    rejected: Vec<RejectedMessage>,
    /// Until it is known that what the broker kept while we were away has come: since when we were.
    kept: Option<Kept>,
}

/// The broker still sends what it kept.
struct Kept {
    since: UnixMicros,
    /// A message came since the last answer to a ping.
    has_heard: bool,
    /// Not for ever: under steady traffic there is always a message.
    until: Instant,
}

impl<'a> EstablishedConnection<'a> {
    pub(super) fn new(
        options: &'a SessionOptions,
        desk: &'a mut SessionState,
        intake: &'a mut InboundWindow,
        moves: &'a mut BrokerSwitch,
        standing: Established,
        kept_since: Option<UnixMicros>,
    ) -> Self {
        let granted = standing.accepted.keep_alive_seconds.map(|it| Duration::from_secs(it.into()));
        let now = Instant::now();
        let (pings, pace) = (KeepAlive::new(granted.unwrap_or(options.keep_alive), now), ReadCoalescer::new(now));
        let (is_leaving, closing_since, rejected) = (false, None, Vec::new());
        let kept = kept_since.map(|since| Kept { since, has_heard: false, until: now + CATCHING_UP });
        EstablishedConnection {
            kept,
            options,
            desk,
            intake,
            moves,
            standing,
            pings,
            pace,
            is_leaving,
            closing_since,
            rejected,
        }
    }

    /// Works until the connection ends.
    pub(super) async fn serve(mut self) -> ConnectionEnd {
        match self.work_and_wait().await {
            Ok(never) => match never {},
            Err(lost @ ConnectionEnd::Lost(_)) => lost,
            Err(ended @ (ConnectionEnd::Closed | ConnectionEnd::Moved | ConnectionEnd::Abandoned)) => {
                self.disconnect().await;
                ended
            }
        }
    }

    async fn work_and_wait(&mut self) -> Result<std::convert::Infallible, ConnectionEnd> {
        // A timer far away instead of none: the branch below is switched off then.
        if self.kept.is_some() {
            self.pings.write(&mut self.standing.wire.output, Instant::now());
        }
        let mut timer = pin!(sleep(Duration::from_secs(3600)));
        loop {
            self.work()?;
            let rest = self.pace.rests_until(Instant::now()).filter(|_| !self.standing.wire.has_more);
            let reading = rest.is_none() && self.may_read();
            let next = self.next_at().into_iter().chain(rest).min();
            if let Some(at) = next
                && timer.deadline().into_std() != at
            {
                timer.as_mut().reset(at.into());
            }
            let SessionState { port, reports, outbox, subscriptions, closing, .. } = &mut *self.desk;
            tokio::select! {
                moved = self.standing.wire.exchange(reading) => moved?,
                changed = port.acknowledged.changed(), if port.acknowledged.has_changed().is_ok() => {
                    *closing |= changed.is_err();
                }
                room = port.events.reserve(), if !reports.is_empty() => drop(room.map_err(|_| ConnectionEnd::Abandoned)?),
                () = port.events.closed(), if reports.is_empty() => return Err(ConnectionEnd::Abandoned),
                batch = port.outgoing.recv(), if outbox.has_room() && !*closing => match batch {
                    Some(batch) => outbox.push(batch),
                    None => *closing = true,
                },
                changed = port.wanted.changed(), if !*closing => match changed {
                    Ok(()) => subscriptions.want(port.wanted.borrow_and_update().clone()),
                    Err(_) => *closing = true,
                },
                () = super::state::asked_to_close(&mut port.closing), if !*closing => *closing = true,
                () = self.moves.ordered(), if !self.is_leaving => self.is_leaving = true,
                () = &mut timer, if next.is_some() => {}
            }
        }
    }

    /// Everything that can be done without waiting.
    fn work(&mut self) -> Result<(), ConnectionEnd> {
        let now = Instant::now();
        self.take_in(now)?;
        self.acknowledge(now);
        self.subscribe()?;
        self.publish();
        self.close_step(now)?;
        if !self.may_read() {
            self.pings.excuse(now);
        }
        if let Some(silent) = self.pings.overdue(now) {
            let reason = format!("the broker has not answered a ping for {} s", silent.as_secs());
            return Err(ConnectionEnd::Lost(ConnectionLoss::new(LossKind::Broken, reason)));
        }
        self.pings.write_due(&mut self.standing.wire.output, now);
        if !self.standing.wire.output.is_empty() {
            self.pings.wrote(now);
        }
        self.desk.reports.deliver(&self.desk.port.events)?;
        Ok(())
    }

    /// Reading stops while the gateway has too much in hand; pings and acknowledgements go on.
    fn may_read(&self) -> bool {
        self.desk.reports.len() < 2 && self.intake.unacknowledged() <= self.options.max_unacknowledged_bytes
    }

    fn next_at(&self) -> Option<Instant> {
        let patience = if self.desk.closing { self.options.close_timeout } else { LEAVING };
        let closing = self.closing_since.map(|since| since + patience);
        [self.pings.next_at(), closing].into_iter().flatten().min()
    }

    fn take_in(&mut self, now: Instant) -> Result<(), ConnectionEnd> {
        if self.standing.wire.input.is_empty() {
            return Ok(());
        }
        let received_at = unix_micros(SystemTime::now());
        let mut packets = 0;
        while let Some(packet) = self.standing.parser.next(&mut self.standing.wire.input)? {
            self.handle(packet, received_at)?;
            packets += 1;
        }
        if packets > 0 {
            self.desk.heard_at = Some(received_at);
            self.pace.read(packets, now);
        }
        Ok(())
    }

    fn handle(&mut self, packet: BrokerPacket, received_at: UnixMicros) -> Result<(), ConnectionEnd> {
        let SessionState { outbox, subscriptions, ids, reports, .. } = &mut *self.desk;
        let output = &mut self.standing.wire.output;
        match packet {
            BrokerPacket::Publish(message) => self.take_message(message, received_at),
            BrokerPacket::Unusable(message) => self.take_unusable(message, received_at),
            BrokerPacket::PubAck { packet_id, answer } => {
                self.rejected.extend(outbox.acknowledged(packet_id, answer, ids))
            }
            BrokerPacket::PubRec { packet_id, answer } => {
                self.rejected.extend(outbox.recorded(packet_id, answer, ids, output));
            }
            BrokerPacket::PubRel { packet_id } => self.take_release(packet_id, received_at),
            BrokerPacket::PubComp { packet_id } => outbox.completed(packet_id, ids),
            BrokerPacket::SubAck { packet_id, results } => subscriptions.granted(packet_id, results, ids),
            BrokerPacket::UnsubAck { packet_id } => subscriptions.removed(packet_id, ids),
            BrokerPacket::PingResp => {
                if let Some(ticket) = self.pings.answered() {
                    reports.push(LinkEvent::Confirmed(ticket));
                }
                // It has our acknowledgements, and had nothing more to send.
                let is_settled = self.intake.is_settled();
                self.kept.take_if(|kept| !std::mem::take(&mut kept.has_heard) && is_settled);
                if self.kept.is_some() && is_settled {
                    self.pings.write(output, Instant::now());
                }
            }
            BrokerPacket::Disconnect { code, reason } => {
                let kind =
                    if code == ReasonCode::SessionTakenOver as u8 { LossKind::TakenOver } else { LossKind::Broken };
                return Err(ConnectionEnd::Lost(ConnectionLoss::new(
                    kind,
                    format!("the broker ended the connection: {reason}"),
                )));
            }
            BrokerPacket::ConnAck(_) | BrokerPacket::Refused { .. } => {
                return Err(ConnectionEnd::Lost(ConnectionLoss::new(
                    LossKind::Broken,
                    "the broker sent a second CONNACK",
                )));
            }
        }
        Ok(())
    }

    /// Once we are closing, messages are left with the broker: nobody would take them.
    fn take_message(&mut self, message: BrokerPublish, received_at: UnixMicros) {
        if self.closing_since.is_some() {
            return;
        }
        let ticket = self.intake.next_ticket();
        if let Some((mut message, begins)) = self.intake.accept(message, received_at) {
            message.kept_since = self.kept_since();
            self.desk.reports.message(ticket, message, begins);
        }
    }

    fn take_release(&mut self, packet_id: u16, received_at: UnixMicros) {
        if self.closing_since.is_some() {
            return;
        }
        let ticket = self.intake.next_ticket();
        let release = self.intake.release(packet_id, received_at);
        self.desk.reports.release(ticket, release, self.intake.session(), packet_id);
    }

    /// Since when the broker may have kept a message that comes now.
    fn kept_since(&mut self) -> Option<UnixMicros> {
        self.kept.take_if(|kept| Instant::now() >= kept.until);
        let kept = self.kept.as_mut()?;
        kept.has_heard = true;
        Some(kept.since)
    }

    /// It is handed over all the same, so that it is acknowledged once it is kept as a dead letter.
    fn take_unusable(&mut self, message: UnusableMessage, received_at: UnixMicros) {
        if self.closing_since.is_some() {
            return;
        }
        let UnusableMessage { topic, qos, packet_id, bytes, reason, first, retain, dup } = message;
        let publish = BrokerPublish {
            topic: topic.as_str().into(),
            payload: first,
            qos,
            retain,
            dup,
            packet_id,
            via: SubscriptionIds::Any,
        };
        let ticket = self.intake.next_ticket();
        if let Some((mut inbound, begins)) = self.intake.accept(publish, received_at) {
            let why = format!("not taken in, {bytes} bytes, of which the first are kept: {reason}");
            inbound.unusable = Some(why.into());
            self.desk.reports.message(ticket, inbound, begins);
        }
        self.desk.reports.dropped(RejectedMessage { topic, bytes, reason: format!("not taken in: {reason}") });
    }

    fn acknowledge(&mut self, now: Instant) {
        let through = *self.desk.port.acknowledged.borrow_and_update();
        let count = self.intake.acknowledge(through, &mut self.standing.wire.output);
        self.pings.acknowledged(self.intake.written(), count, now);
    }

    fn subscribe(&mut self) -> Result<(), ConnectionEnd> {
        let SessionState { subscriptions, ids, reports, .. } = &mut *self.desk;
        subscriptions.ask(&mut self.standing.wire.output, ids).map_err(|error| {
            ConnectionEnd::Lost(ConnectionLoss::new(LossKind::Broken, format!("cannot subscribe: {error}")))
        })?;
        let refusals = subscriptions.take_refusals();
        if !refusals.is_empty() {
            let in_words = refusals.into_iter().map(|(filter, refusal)| (filter, refusal.to_string()));
            reports.push(LinkEvent::Refused(in_words.collect()));
        }
        if let Some(held) = subscriptions.take_change() {
            reports.push(LinkEvent::Subscribed(held));
        }
        Ok(())
    }

    fn publish(&mut self) {
        let SessionState { outbox, ids, reports, closing, .. } = &mut *self.desk;
        // What is not sent yet goes to the next broker.
        if *closing || !self.is_leaving {
            outbox.fill(&mut self.standing.wire.output, ids, &mut self.rejected);
        }
        for rejected in self.rejected.drain(..) {
            reports.dropped(rejected);
        }
    }

    /// Closing: what was handed over for publishing goes out, what is acknowledged is confirmed, both within a time limit.
    fn close_step(&mut self, now: Instant) -> Result<(), ConnectionEnd> {
        if !self.desk.closing {
            return if self.is_leaving { self.leave_step(now) } else { Ok(()) };
        }
        // Not closed for sending: the gateway takes that for the end, and the end is after DISCONNECT.
        while let Ok(batch) = self.desk.port.outgoing.try_recv() {
            self.desk.outbox.push(batch);
        }
        let since = *self.closing_since.get_or_insert_with(|| {
            self.pings.write(&mut self.standing.wire.output, now);
            now
        });
        self.publish();
        let settled = self.desk.outbox.is_empty() && self.pings.is_settled();
        if settled || now >= since + self.options.close_timeout { Err(ConnectionEnd::Closed) } else { Ok(()) }
    }

    /// Leaving: all that came in is settled and acknowledged, all that was sent is acknowledged by the broker.
    fn leave_step(&mut self, now: Instant) -> Result<(), ConnectionEnd> {
        let since = *self.closing_since.get_or_insert_with(|| {
            self.pings.write(&mut self.standing.wire.output, now);
            now
        });
        let settled = self.intake.is_settled() && self.pings.is_settled() && self.desk.outbox.has_landed();
        if !settled && now < since + LEAVING {
            return Ok(());
        }
        if !settled {
            tracing::warn!(
                server = %self.options.server,
                "moving to another broker although not everything was acknowledged in time; the old one keeps it for our session"
            );
        }
        Err(ConnectionEnd::Moved)
    }

    async fn disconnect(mut self) {
        self.standing.wire.output.extend_from_slice(&DISCONNECT);
        match timeout(self.options.close_timeout.max(Duration::from_millis(200)), self.standing.wire.finish()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the connection broke while closing"),
            Err(_) => tracing::debug!("the broker did not take DISCONNECT in time"),
        }
    }
}
