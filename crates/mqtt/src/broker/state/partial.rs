//! Large packets of which only a part has come: they take memory until the rest comes, which it may never do.

use super::BrokerState;
use super::session::LinkKey;
use crate::codec::reason::ReasonCode;

impl BrokerState {
    /// A connection holds so many bytes of a large packet that has not come whole; 0 for none. When all of them together
    /// are too much, the packet that has been coming for longest makes room: who sends at all is done with it soon.
    pub(crate) fn note_partial(&mut self, link: LinkKey, bytes: usize) {
        if bytes == 0 {
            return self.partials.remove(link);
        }
        self.partials.set(link, bytes);
        let limit = self.limits.max_partial_bytes.max(2 * self.limits.max_packet_size);
        while self.partials.bytes > limit {
            let Some(oldest) = self.partials.oldest() else { return };
            self.partials.remove(oldest);
            let client = self.links.get(oldest).map(|link| link.client_id.clone());
            tracing::warn!(
                client = client.as_deref(),
                "closed a connection with a packet that does not end: the memory is needed for others"
            );
            self.end_link(oldest, ReasonCode::QuotaExceeded);
        }
    }
}
