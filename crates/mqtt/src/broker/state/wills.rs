//! Wills that a stop or a crash of the broker must not swallow.

use super::BrokerState;
use super::holdings::SessionHoldings;
use super::session::{ClientSession, DeliveryQueue};
use super::tree::SessionKey;
use crate::broker::server::auth::AccessControl;
use crate::broker::store::kept_will::KeptWill;
use crate::broker::store::wills::StoredWill;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// So long at most, clients whose connections ended with the broker may take to come back before their wills say that
/// they are gone.
const GRACE_AT_MOST: Duration = Duration::from_secs(30);

/// The time in which we would have missed a client, had we been there; without a keep-alive the most.
fn grace(keep_alive: u16) -> Duration {
    match keep_alive {
        0 => GRACE_AT_MOST,
        seconds => Duration::from_millis(1500 * u64::from(seconds)).min(GRACE_AT_MOST),
    }
}

impl BrokerState {
    /// Keeps a session's will, or forgets it when there is none any more; `due` is when it is to be published.
    pub(super) fn store_will(&mut self, key: SessionKey, due: Option<Instant>) {
        let Some(session) = self.sessions.get(key) else { return };
        let number = session.number;
        let kept = session.holdings.will().map(|will| KeptWill {
            identity: session.identity.clone(),
            will: will.clone(),
            keep_alive: session.keep_alive,
            due,
        });
        self.store(|delta| delta.keep_will(number, kept));
    }

    /// A client has said goodbye, or is there again.
    pub(super) fn forget_will(&mut self, key: SessionKey) {
        if self.sessions.get_mut(key).and_then(|session| session.holdings.set_will(None)).is_some() {
            self.store_will(key, None);
        }
    }

    /// Puts back the wills of clients that were connected, or whose wills were not due yet, when the broker ended.
    pub(super) fn restore_wills(&mut self, wills: Vec<StoredWill>, gatekeeper: &AccessControl) {
        let numbers: HashMap<u64, SessionKey> =
            self.sessions.iter().map(|(key, session)| (session.number, key)).collect();
        for StoredWill { session: number, identity, will, keep_alive, remaining } in wills {
            let user = identity.user.as_deref();
            let rights = gatekeeper.rights(user, &identity.client_id);
            let is_known = user.is_none_or(|user| gatekeeper.knows(user));
            let is_taken = self.by_identity.contains_key(&identity) && !numbers.contains_key(&number);
            if !is_known || is_taken || !rights.may_publish(&will.topic) {
                self.store(|delta| delta.keep_will(number, None));
                continue;
            }
            let key = match numbers.get(&number) {
                Some(key) => *key,
                None => {
                    // Its session ended with its connection; it stays until the will is published.
                    let outgoing = DeliveryQueue::new(self.queued.clone(), self.sessions.vacant_key());
                    let holdings = SessionHoldings::new(self.holdings.clone());
                    let session = ClientSession::new(identity.clone(), number, rights, outgoing, holdings);
                    let key = self.sessions.insert(session);
                    self.by_identity.insert(identity, key);
                    key
                }
            };
            let session = &mut self.sessions[key];
            let expiry = Duration::from_secs(session.expiry.into());
            let delay = Duration::from_secs(will.delay.into()).min(expiry).max(grace(keep_alive));
            session.holdings.set_will(Some(will));
            session.keep_alive = keep_alive;
            let delay = remaining.unwrap_or(delay);
            self.send_will_in(key, delay);
            if expiry.is_zero() {
                self.expire_session_in(key, delay);
            }
            self.store_will(key, Some(Instant::now() + delay));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_have_as_long_to_come_back_as_silence_is_allowed_but_not_for_ever() {
        let seconds = |keep_alive| grace(keep_alive).as_secs_f64();
        assert_eq!((seconds(5), seconds(60), seconds(0)), (7.5, 30.0, 30.0));
    }
}
