//! Who gives way when sessions hold too much.

use super::BrokerState;
use crate::broker::BrokerLoss;
use crate::broker::state::session::ClientSession;
use crate::broker::state::tree::SessionKey;
use crate::codec::reason::ReasonCode;
use std::collections::HashMap;
use std::sync::Arc;

/// So many bytes each session may hold, however many others hold.
const GRANTED_BYTES: usize = 1024;

impl BrokerState {
    /// Bytes that all sessions may hold together.
    pub(super) fn holding_limit(&self) -> usize {
        self.limits.max_total_queued_bytes / 4
    }

    /// Makes room for a session to hold so many bytes more: of the user whose sessions hold most, the one that holds most
    /// ends, first among those whose clients are away. `false`: whoever asks holds most. `asker` is `None` for a session
    /// that begins.
    pub(crate) fn make_room_to_hold(
        &mut self,
        asker: Option<SessionKey>,
        user: Option<&Arc<str>>,
        more: usize,
    ) -> bool {
        let held = asker.and_then(|key| self.sessions.get(key)).map_or(0, |session| session.holdings.bytes());
        while held + more > GRANTED_BYTES && self.holdings.total() + more > self.holding_limit() {
            let Some(heaviest) = self.heaviest_holder(asker, user, held + more) else { return false };
            let total = self.losses.count(BrokerLoss::SessionEvicted);
            if total.is_power_of_two() {
                let session = &self.sessions[heaviest];
                let (client, bytes) = (&session.identity.client_id, session.holdings.bytes());
                tracing::warn!(%client, bytes, total, "ended a session: its will and its open messages of QoS 2 take the memory of others");
            }
            self.detach(heaviest, ReasonCode::QuotaExceeded);
            self.expire_session(heaviest);
        }
        true
    }

    fn heaviest_holder(&self, asker: Option<SessionKey>, user: Option<&Arc<str>>, holds: usize) -> Option<SessionKey> {
        let mut of_users = HashMap::from([(user, holds)]);
        for (_, session) in self.sessions.iter().filter(|(key, _)| Some(*key) != asker) {
            *of_users.entry(session.identity.user.as_ref()).or_default() += session.holdings.bytes();
        }
        let (heaviest, _) = of_users.into_iter().max_by_key(|(_, bytes)| *bytes)?;
        let gives_way = |key: SessionKey, session: &ClientSession| {
            let bytes = session.holdings.bytes();
            let is_lighter = heaviest == user && session.link.is_some() && bytes <= holds;
            session.identity.user.as_ref() == heaviest && Some(key) != asker && bytes > GRANTED_BYTES && !is_lighter
        };
        let holders = self.sessions.iter().filter(|(key, session)| gives_way(*key, session));
        holders.max_by_key(|(_, session)| (session.link.is_none(), session.holdings.bytes())).map(|(key, _)| key)
    }
}
