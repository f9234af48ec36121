//! Clients come and go: CONNECT, takeover, the end of a connection, the end of a session.

use super::output::OutputBuffer;
use super::{BrokerState, ClientLink};
use crate::broker::BrokerLoss;
use crate::broker::packets::connect::ConnectRequest;
use crate::broker::packets::outgoing;
use crate::broker::packets::outgoing::ConnackProperties;
use crate::broker::server::auth::ClientRights;
use crate::broker::state::holdings::{SessionHoldings, weigh_will};
use crate::broker::state::session::{ClientIdentity, ClientSession, DeliveryQueue, LinkKey};
use crate::broker::state::tree::SessionKey;
use crate::codec::ProtocolLevel;
use crate::codec::reason::ReasonCode;
use crate::link::SenderEvent;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A connection that was accepted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AcceptedClient {
    pub(crate) link: LinkKey,
    pub(crate) session: SessionKey,
    /// Seconds; 0 is off.
    pub(crate) keep_alive: u16,
    /// The generation that the store must have committed before the client hears that it has a session; 0 for none.
    pub(crate) stored: u64,
}

/// How a connection ended, as far as the will and the session are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientDeparture {
    /// DISCONNECT with reason 0: the will is forgotten.
    Orderly {
        /// A new session expiry, in seconds.
        session_expiry: Option<u32>,
    },
    /// DISCONNECT that asks for the will.
    WithWill {
        /// A new session expiry, in seconds.
        session_expiry: Option<u32>,
    },
    /// Everything else.
    Lost,
}

impl BrokerState {
    /// Takes a client in and writes CONNACK. Its credentials were checked.
    pub(crate) fn connect(
        &mut self,
        mut connect: ConnectRequest,
        user: Option<Arc<str>>,
        alive: &Rc<()>,
        rights: impl FnOnce(&str) -> ClientRights,
    ) -> Result<AcceptedClient, ReasonCode> {
        if self.closing {
            return Err(ReasonCode::ServerShuttingDown);
        }
        let assigned = self.check_client_id(&mut connect, user.as_ref())?;
        let identity = ClientIdentity { user, client_id: connect.client_id.as_str().into() };
        self.adopt_nameless(&identity);
        if let Some(key) = self.by_identity.get(&identity).copied() {
            self.take_over(key, connect.clean_start);
        }
        let known = self.by_identity.get(&identity).copied();
        let expiry = self.session_expiry(&connect);
        let replaced = known.and_then(|key| self.sessions[key].holdings.will()).map_or(0, weigh_will);
        let more = connect.will.as_ref().map_or(0, weigh_will).saturating_sub(replaced);
        if !self.make_room_to_hold(known, identity.user.as_ref(), more) {
            return Err(ReasonCode::QuotaExceeded);
        }
        let (key, is_known) = match known {
            Some(key) => (key, true),
            None if expiry > 0 && !self.make_room_for_session() => return Err(ReasonCode::QuotaExceeded),
            None => (self.new_session(identity), false),
        };
        let keep_alive = self.keep_alive(&connect);
        let link = self.new_link(key, &connect, Rc::downgrade(alive));
        let session = &mut self.sessions[key];
        // The client id may have been assigned just now.
        session.rights = rights(&connect.client_id);
        session.version = connect.version;
        session.expiry = expiry;
        session.link = Some(link);
        session.left = None;
        let had_will = session.holdings.set_will(connect.will.take()).is_some();
        let has_will = session.holdings.will().is_some();
        session.keep_alive = keep_alive;
        session.outgoing.begin_connection();
        self.cancel_timers(key);
        self.tell_dropped(key);
        if is_known && expiry == 0 {
            // It was kept, and ends with this connection now.
            let number = self.sessions[key].number;
            self.store(|delta| delta.end_session(number));
        }
        let stored = self.store_session(key);
        if had_will || has_will {
            self.store_will(key, None);
            self.store_now();
        }
        let announcement = self.announcement(&connect, assigned, expiry, keep_alive);
        let present = is_known && connect.version != ProtocolLevel::V31;
        outgoing::connack(
            self.links[link].out.begin_packet(),
            connect.version,
            present,
            ReasonCode::Success,
            &announcement,
        );
        self.pump(key, link);
        self.traffic.most_links = self.traffic.most_links.max(self.links.len());
        self.follow_figures_for(key);
        let session = &mut self.sessions[key];
        if !is_known {
            session.stored = stored;
        }
        // One that was there before is in the store already, unless it came only just now.
        Ok(AcceptedClient { link, session: key, keep_alive, stored: session.stored })
    }

    /// Gives an id to a client without one; returns whether it did.
    fn check_client_id(&mut self, connect: &mut ConnectRequest, user: Option<&Arc<str>>) -> Result<bool, ReasonCode> {
        if !connect.client_id.is_empty() {
            return Ok(false);
        }
        if connect.version == ProtocolLevel::V31 || connect.version == ProtocolLevel::V311 && !connect.clean_start {
            return Err(ReasonCode::ClientIdentifierNotValid);
        }
        loop {
            connect.client_id = format!("auto-{:016x}", fastrand::u64(..));
            let identity = ClientIdentity { user: user.cloned(), client_id: connect.client_id.as_str().into() };
            if !self.by_identity.contains_key(&identity) {
                return Ok(true);
            }
        }
    }

    /// Makes room for one more session that is kept; `false`: all that are kept have their clients connected. What is not
    /// kept takes no room, it is bounded by the connections.
    fn make_room_for_session(&mut self) -> bool {
        let kept = || self.sessions.iter().filter(|(_, session)| session.is_persistent());
        if self.sessions.len() < self.limits.max_sessions || kept().count() < self.limits.max_sessions {
            return true;
        }
        let absent = || kept().filter(|(_, session)| session.link.is_none());
        let mut crowds: HashMap<Option<&Arc<str>>, usize> = HashMap::new();
        for (_, session) in absent() {
            *crowds.entry(session.identity.user.as_ref()).or_default() += 1;
        }
        // Of the user who has left most of them behind: first one that waits for nothing, and who is away for longest.
        let Some(crowd) = crowds.into_iter().max_by_key(|(_, count)| *count).map(|(user, _)| user) else {
            return false;
        };
        let of_crowd = absent().filter(|(_, session)| session.identity.user.as_ref() == crowd);
        let oldest =
            of_crowd.min_by_key(|(_, session)| (!session.subscriptions.is_empty(), session.left, session.number));
        let Some(key) = oldest.map(|(key, _)| key) else { return false };
        let total = self.losses.count(BrokerLoss::SessionEvicted);
        if total.is_power_of_two() {
            let client = &self.sessions[key].identity.client_id;
            let limit = self.limits.max_sessions;
            tracing::warn!(%client, total, limit, "ended the session of a client that is away: as many sessions are kept as may be");
        }
        self.expire_session(key);
        true
    }

    /// What a client without a name left behind, before there were users, goes on as the session of this user.
    fn adopt_nameless(&mut self, identity: &ClientIdentity) {
        if identity.user.is_none() || self.by_identity.contains_key(identity) {
            return;
        }
        let nameless = ClientIdentity { user: None, client_id: identity.client_id.clone() };
        if let Some(key) = self.by_identity.remove(&nameless) {
            let session = &mut self.sessions[key];
            session.origin = identity.origin();
            session.identity = identity.clone();
            self.by_identity.insert(identity.clone(), key);
        }
    }

    fn session_expiry(&self, connect: &ConnectRequest) -> u32 {
        let most = u32::try_from(self.limits.max_session_expiry.as_secs()).unwrap_or(u32::MAX);
        match connect.version {
            ProtocolLevel::V5 => connect.session_expiry.unwrap_or(0).min(most),
            ProtocolLevel::V31 | ProtocolLevel::V311 if connect.clean_start => 0,
            ProtocolLevel::V31 | ProtocolLevel::V311 => most,
        }
    }

    fn keep_alive(&self, connect: &ConnectRequest) -> u16 {
        let most = u16::try_from(self.limits.max_keep_alive.as_secs()).unwrap_or(u16::MAX);
        if connect.version != ProtocolLevel::V5 || most == 0 || (1..=most).contains(&connect.keep_alive) {
            return connect.keep_alive;
        }
        most
    }

    fn announcement<'a>(
        &self,
        connect: &'a ConnectRequest,
        assigned: bool,
        expiry: u32,
        keep_alive: u16,
    ) -> ConnackProperties<'a> {
        let asked = connect.session_expiry.unwrap_or(0);
        ConnackProperties {
            session_expiry: (expiry != asked).then_some(expiry),
            receive_maximum: (self.limits.receive_maximum < u16::MAX).then_some(self.limits.receive_maximum),
            maximum_packet_size: u32::try_from(self.limits.max_packet_size).ok(),
            assigned_client_id: assigned.then_some(connect.client_id.as_str()),
            topic_alias_maximum: self.limits.topic_alias_maximum,
            server_keep_alive: (keep_alive != connect.keep_alive).then_some(keep_alive),
            reason_string: None,
        }
    }

    fn new_session(&mut self, identity: ClientIdentity) -> SessionKey {
        let (number, outgoing) = (self.number(), DeliveryQueue::new(self.queued.clone(), self.sessions.vacant_key()));
        let holdings = SessionHoldings::new(self.holdings.clone());
        let session = ClientSession::new(identity.clone(), number, ClientRights::default(), outgoing, holdings);
        let key = self.sessions.insert(session);
        self.by_identity.insert(identity, key);
        key
    }

    fn new_link(&mut self, session: SessionKey, connect: &ConnectRequest, alive: std::rc::Weak<()>) -> LinkKey {
        self.links.insert(ClientLink {
            version: connect.version,
            session: Some(session),
            client_id: connect.client_id.as_str().into(),
            out: OutputBuffer::default(),
            last_written: Instant::now(),
            waker: None,
            alive,
            acks: VecDeque::new(),
            replies: VecDeque::new(),
            reply_bytes: 0,
            pubacks: 0,
            window: connect.receive_maximum.into(),
            limit: connect.maximum_packet_size,
            alias_maximum: connect.topic_alias_maximum.min(self.limits.topic_alias_maximum),
            aliases: HashMap::new(),
            has_published: false,
            closing: false,
        })
    }

    /// Another connection comes for a session that exists.
    fn take_over(&mut self, key: SessionKey, clean_start: bool) {
        if self.sessions[key].link.is_some() {
            let client = &self.sessions[key].identity.client_id;
            tracing::info!(%client, "another connection has taken over the client id; do two clients share it?");
            self.detach(key, ReasonCode::SessionTakenOver);
            let delay = self.sessions[key].holdings.will().map_or(0, |will| will.delay);
            if delay == 0 || clean_start || self.sessions[key].expiry == 0 {
                self.publish_will(key);
            }
        } else if self.sessions[key].expiry == 0 {
            // Its connection ended with the broker, not by itself, and here it is again.
            self.forget_will(key);
        }
        if clean_start || self.sessions[key].expiry == 0 {
            self.remove_session(key);
        }
    }

    /// Ends a session's connection, if there is one; the session no longer has anything to do with it.
    pub(super) fn detach(&mut self, key: SessionKey, reason: ReasonCode) {
        let Some(link) = self.sessions.get_mut(key).and_then(|session| session.link.take()) else { return };
        self.end_link(link, reason);
        if let Some(link) = self.links.get_mut(link) {
            link.session = None;
        }
    }

    /// Says goodbye to a connection; its task closes it once that is written.
    pub(crate) fn end_link(&mut self, key: LinkKey, reason: ReasonCode) {
        let Some(link) = self.links.get_mut(key) else { return };
        if !link.closing {
            outgoing::disconnect(link.out.begin_packet(), link.version, reason);
            link.closing = true;
            link.wake();
        }
    }

    /// A connection's task has ended.
    pub(crate) fn disconnected(&mut self, key: LinkKey, farewell: ClientDeparture) {
        let Some(link) = self.links.try_remove(key) else { return };
        self.stalled.remove(&key);
        self.crowded.remove(&key);
        self.partials.remove(key);
        let link_session = link.session;
        drop(link);
        self.pump_crowded();
        let Some(session_key) = link_session else { return };
        let session = &mut self.sessions[session_key];
        session.link = None;
        session.left = Some(Instant::now());
        if let ClientDeparture::Orderly { session_expiry: Some(expiry) }
        | ClientDeparture::WithWill { session_expiry: Some(expiry) } = farewell
        {
            let most = u32::try_from(self.limits.max_session_expiry.as_secs()).unwrap_or(u32::MAX);
            session.expiry = expiry.min(most);
        }
        let expiry = session.expiry;
        let orderly = matches!(farewell, ClientDeparture::Orderly { .. });
        if let Some(gateway) = self.gateway.as_mut().filter(|_| orderly && expiry == 0) {
            gateway.hear(session.origin, SenderEvent::Gone);
        }
        if orderly {
            self.forget_will(session_key);
        } else if self.closing {
            // We end the connection, not the client: the store keeps its will for the next start.
            session.holdings.set_will(None);
        }
        let delay = self.sessions[session_key].holdings.will().map(|will| will.delay.min(expiry));
        match delay {
            Some(0) => self.publish_will(session_key),
            Some(seconds) => {
                let delay = Duration::from_secs(seconds.into());
                self.store_will(session_key, Some(Instant::now() + delay));
                self.send_will_in(session_key, delay);
            }
            None => {}
        }
        self.hand_on_shared(session_key, expiry == 0);
        if expiry == 0 {
            self.remove_session(session_key);
        } else {
            self.store_session(session_key);
            self.expire_session_in(session_key, Duration::from_secs(expiry.into()));
        }
    }

    /// Forgets connections whose tasks ended in a panic while they worked.
    pub(crate) fn bury_lost_links(&mut self) {
        let lost: Vec<LinkKey> = self.links.iter().filter(|(_, link)| link.is_lost()).map(|(key, _)| key).collect();
        for key in lost {
            self.disconnected(key, ClientDeparture::Lost);
        }
    }

    /// The end of a session: whatever it still was owed is gone.
    pub(super) fn remove_session(&mut self, key: SessionKey) {
        self.publish_will(key);
        self.hand_on_shared(key, true);
        let Some(session) = self.sessions.try_remove(key) else { return };
        self.by_identity.remove(&session.identity);
        self.subscription_bytes = self.subscription_bytes.saturating_sub(session.subscription_bytes);
        for filter in session.subscriptions.keys() {
            self.drop_subscription(key, filter);
        }
        self.store(|delta| delta.end_session(session.number));
    }

    /// Tells the store about a session, if it is to be kept; the generation that this belongs to, or 0.
    fn store_session(&mut self, key: SessionKey) -> u64 {
        let session = &self.sessions[key];
        let (number, identity) = (session.number, session.identity.clone());
        let (expiry, left) = (session.expiry, session.left);
        if !session.is_persistent() {
            return 0;
        }
        self.store(|delta| delta.keep_session(number, identity, expiry, left));
        self.store_now()
    }

    /// Whether the store has committed this generation.
    pub(crate) fn has_stored(&self, generation: u64) -> bool {
        generation <= self.committed
    }
}
