//! What goes to the gateway in this process: batches in order of arrival, and the account of what it has acknowledged.

use super::session::LinkKey;
use crate::link::{ConnectionNumber, DeliveryTag, MessageBatch, SenderEvent, SenderNews};
use hearthgate_domain::delivery::InboundMessage;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// A batch is handed over as it is; these only bound it.
const BATCH_MESSAGES: usize = 1_000;
const BATCH_BYTES: usize = 256 * 1024;
/// So fine is the account of unacknowledged bytes.
const ACCOUNT_MESSAGES: u64 = 64;

/// News that may wait for the next message; what is beyond that only takes memory a little longer elsewhere.
const NEWS_AT_MOST: usize = 4_096;

static CONNECTIONS: AtomicU64 = AtomicU64::new(1);

/// Consecutive messages of one publisher.
#[derive(Clone, Copy, Debug)]
struct Run {
    last: u64,
    link: LinkKey,
}

/// Some messages that count as one in the account.
#[derive(Clone, Copy, Debug)]
struct Portion {
    first: u64,
    last: u64,
    bytes: usize,
}

/// A batch in the making.
#[derive(Debug, Default)]
struct Gathered {
    messages: Vec<InboundMessage>,
    news: Vec<SenderNews>,
    bytes: usize,
}

/// The queue towards the gateway. It never drops: who fills it is not read any more.
#[derive(Debug)]
pub(crate) struct GatewayQueue {
    pub(crate) connection: ConnectionNumber,
    /// Number of the last message taken.
    last: u64,
    acknowledged: u64,
    /// Number of the first message in `open` or `closed`.
    unsent: u64,
    open: Gathered,
    closed: VecDeque<Gathered>,
    portions: VecDeque<Portion>,
    unacknowledged_bytes: usize,
    max_unacknowledged_bytes: usize,
    waiting: VecDeque<Run>,
    /// Wakes whoever hands batches over.
    pub(crate) ready: Rc<Notify>,
}

impl GatewayQueue {
    pub(crate) fn new(max_unacknowledged_bytes: usize) -> Self {
        GatewayQueue {
            connection: CONNECTIONS.fetch_add(1, Ordering::Relaxed),
            last: 0,
            acknowledged: 0,
            unsent: 1,
            open: Gathered::default(),
            closed: VecDeque::new(),
            portions: VecDeque::new(),
            unacknowledged_bytes: 0,
            max_unacknowledged_bytes,
            waiting: VecDeque::new(),
            ready: Rc::default(),
        }
    }

    /// Whether publishers have to wait.
    pub(crate) fn is_full(&self) -> bool {
        self.unacknowledged_bytes >= self.max_unacknowledged_bytes
    }

    pub(crate) fn has_acknowledged(&self, number: u64) -> bool {
        number <= self.acknowledged
    }

    /// Takes a message and returns its number. `waits` is the publisher's connection, if it is to be acknowledged;
    /// `begins` says that the message is the first with an origin on it.
    pub(crate) fn push(&mut self, message: InboundMessage, waits: Option<LinkKey>, begins: bool) -> u64 {
        self.last += 1;
        let bytes = message.topic.len() + message.payload.len() + size_of::<InboundMessage>();
        self.account(bytes);
        if let Some(link) = waits {
            match self.waiting.back_mut() {
                Some(run) if run.link == link => run.last = self.last,
                _ => self.waiting.push_back(Run { last: self.last, link }),
            }
        }
        let open = &mut self.open;
        let count = open.messages.len();
        if count >= BATCH_MESSAGES || open.bytes + bytes > BATCH_BYTES && count > 0 {
            self.closed.push_back(std::mem::take(open));
        }
        if open.messages.is_empty() {
            self.ready.notify_one();
        }
        if let Some(origin) = message.origin.filter(|_| begins) {
            open.news.push(SenderNews {
                before: open.messages.len(),
                session: origin.session,
                what: SenderEvent::Connected,
            });
        }
        open.messages.push(message);
        open.bytes += bytes;
        self.last
    }

    /// The next batch, if there is anything.
    pub(crate) fn take(&mut self) -> Option<MessageBatch> {
        let gathered = match self.closed.pop_front() {
            Some(closed) => closed,
            // News alone wait for a message.
            None if self.open.messages.is_empty() => return None,
            None => std::mem::take(&mut self.open),
        };
        let Gathered { messages, news, bytes: _ } = gathered;
        let count = messages.len() as u64;
        let first = DeliveryTag { connection: self.connection, number: self.unsent };
        self.unsent += count;
        Some(MessageBatch { first, messages, news })
    }

    /// Something became known of a publisher that makes its messages forgettable.
    pub(crate) fn hear(&mut self, session: u64, what: SenderEvent) {
        let Gathered { messages, news, .. } = &mut self.open;
        if news.len() < NEWS_AT_MOST {
            news.push(SenderNews { before: messages.len(), session, what });
        }
    }

    /// Notes an acknowledgement; returns the connections whose publishers may now get theirs.
    pub(crate) fn acknowledge(&mut self, through: DeliveryTag) -> Vec<LinkKey> {
        // More than was handed over can't be acknowledged.
        if through.connection != self.connection || through.number >= self.unsent {
            if through.connection == self.connection {
                tracing::error!(ticket = through.number, "the gateway acknowledged a message that it was not given");
            }
            return Vec::new();
        }
        self.acknowledged = self.acknowledged.max(through.number);
        while let Some(portion) = self.portions.front().filter(|portion| portion.last <= self.acknowledged) {
            self.unacknowledged_bytes -= portion.bytes;
            self.portions.pop_front();
        }
        let mut links = Vec::new();
        let mut before = 0;
        while let Some(run) = self.waiting.front().copied() {
            if before >= self.acknowledged {
                break;
            }
            if !links.contains(&run.link) {
                links.push(run.link);
            }
            if run.last > self.acknowledged {
                break;
            }
            before = run.last;
            self.waiting.pop_front();
        }
        links
    }

    fn account(&mut self, bytes: usize) {
        self.unacknowledged_bytes += bytes;
        match self.portions.back_mut() {
            Some(portion) if self.last - portion.first < ACCOUNT_MESSAGES => {
                portion.last = self.last;
                portion.bytes += bytes;
            }
            _ => self.portions.push_back(Portion { first: self.last, last: self.last, bytes }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use hearthgate_domain::delivery::{QoS, SubscriptionIds};

    fn inbound(bytes: usize) -> InboundMessage {
        let payload = Bytes::from(vec![0; bytes]);
        let (topic, via) = ("a".into(), SubscriptionIds::Any);
        InboundMessage {
            topic,
            payload,
            qos: QoS::AtLeastOnce,
            retain: false,
            received_at: 0,
            origin: None,
            via,
            unusable: None,
            kept_since: None,
            is_restored: false,
            is_release: false,
        }
    }

    #[test]
    fn tickets_rise_by_one_over_all_batches() {
        let mut gateway = GatewayQueue::new(1 << 30);
        for _ in 0..2_500 {
            gateway.push(inbound(10), Some(1), false);
        }
        let batches: Vec<MessageBatch> = std::iter::from_fn(|| gateway.take()).collect();
        assert_eq!(batches.iter().map(|batch| batch.messages.len()).collect::<Vec<_>>(), [1000, 1000, 500]);
        assert_eq!(batches.iter().map(|batch| batch.first.number).collect::<Vec<_>>(), [1, 1001, 2001]);
        assert_eq!(batches[2].last().number, 2500);
    }

    #[test]
    fn an_acknowledgement_names_the_publishers_that_it_reaches_and_frees_their_bytes() {
        let mut gateway = GatewayQueue::new(20_000);
        for link in [1, 1, 2, 1] {
            for _ in 0..64 {
                gateway.push(inbound(100), Some(link), false);
            }
        }
        assert!(gateway.is_full());
        while gateway.take().is_some() {}
        let ticket = |number| DeliveryTag { connection: gateway.connection, number };
        let (early, middle, all, beyond) = (ticket(100), ticket(150), ticket(256), ticket(257));
        assert_eq!(gateway.acknowledge(early), [1]);
        assert_eq!(gateway.acknowledge(middle), [1, 2]);
        assert!(gateway.has_acknowledged(150) && !gateway.has_acknowledged(151));
        assert_eq!(gateway.acknowledge(beyond), Vec::<usize>::new());
        assert_eq!(gateway.acknowledge(all), [2, 1]);
        assert!(!gateway.is_full());
        assert_eq!(gateway.unacknowledged_bytes, 0);
    }

    #[test]
    fn an_acknowledgement_of_another_connection_is_void() {
        let mut gateway = GatewayQueue::new(1 << 20);
        gateway.push(inbound(1), Some(1), false);
        gateway.take();
        let other = DeliveryTag { connection: gateway.connection + 1_000_000, number: 1 };
        assert!(gateway.acknowledge(other).is_empty());
        assert!(!gateway.has_acknowledged(1));
    }
}
