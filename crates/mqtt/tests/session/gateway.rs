//! The gateway's end of a session: takes events, remembers what it saw, acknowledges when told.

use hearthgate_domain::delivery::{InboundMessage, OutboundMessage, QoS};
use hearthgate_mqtt::link::{self, DeliveryTag, LinkEvent, LinkHandle, LinkSubscription, MessageBatch};
use hearthgate_mqtt::session::{self, BrokerServer, ProtocolVersion, ReconnectDelay, SessionEnd, SessionOptions};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

pub(crate) const BOTH: [ProtocolVersion; 2] = [ProtocolVersion::V3, ProtocolVersion::V5];
const PATIENCE: Duration = Duration::from_secs(30);

/// Options for a broker on this machine, with short waits between attempts.
pub(crate) fn options(port: u16, protocol: ProtocolVersion) -> SessionOptions {
    let mut options = SessionOptions::new(BrokerServer::Tcp { host: "127.0.0.1".into(), port }, "gateway");
    options.protocol = protocol;
    options.backoff = ReconnectDelay {
        first: Duration::from_millis(50),
        longest: Duration::from_millis(200),
        jitter: 0.2,
        stable_after: Duration::from_secs(30),
    };
    options
}

pub(crate) struct Gateway {
    pub(crate) handle: LinkHandle,
    events: mpsc::Receiver<LinkEvent>,
    task: JoinSet<SessionEnd>,
    pub(crate) connected: u64,
    pub(crate) session: u64,
    pub(crate) session_present: bool,
    pub(crate) held: Vec<String>,
    pub(crate) refused: Vec<(String, String)>,
    pub(crate) dropped: Vec<(String, String)>,
    pub(crate) reasons: Vec<String>,
    pub(crate) messages: Vec<InboundMessage>,
    pub(crate) unusable: Vec<InboundMessage>,
    pub(crate) batches: Vec<usize>,
    pub(crate) last: DeliveryTag,
    pub(crate) confirmed: DeliveryTag,
}

impl Gateway {
    pub(crate) fn start(options: SessionOptions, filters: &[&str]) -> Self {
        let (handle, port, events) = link::link(16, 4);
        let mut task = JoinSet::new();
        task.spawn(session::run(options, port));
        let gateway = Gateway {
            handle,
            events,
            task,
            connected: 0,
            session: 0,
            session_present: false,
            held: Vec::new(),
            refused: Vec::new(),
            dropped: Vec::new(),
            reasons: Vec::new(),
            messages: Vec::new(),
            unusable: Vec::new(),
            batches: Vec::new(),
            last: DeliveryTag::default(),
            confirmed: DeliveryTag::default(),
        };
        gateway.subscribe(filters);
        gateway
    }

    /// Starts and waits until the subscriptions stand.
    pub(crate) async fn subscribed(options: SessionOptions, filters: &[&str]) -> Self {
        let mut gateway = Self::start(options, filters);
        let mut expected: Vec<&str> = filters.to_vec();
        expected.sort_unstable();
        gateway.until("subscribed", |it| it.held == expected).await;
        gateway
    }

    pub(crate) fn subscribe(&self, filters: &[&str]) {
        let each = filters.iter().map(|it| LinkSubscription { filter: (*it).into(), qos: QoS::ExactlyOnce });
        self.handle.subscribe_exactly(each.collect());
    }

    pub(crate) fn publish(&self, topic: &str, payloads: &[String], qos: QoS) {
        let each = payloads.iter().map(|it| OutboundMessage {
            topic: topic.into(),
            payload: it.clone().into(),
            qos,
            retain: false,
        });
        self.handle.publish(each.collect()).unwrap();
    }

    /// Takes events until `done`; fails with what was waited for.
    pub(crate) async fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        while !done(self) {
            match timeout(PATIENCE, self.events.recv()).await {
                Ok(Some(event)) => self.take(event),
                Ok(None) => panic!("the session ended before: {what}"),
                Err(_) => panic!(
                    "never happened: {what}; messages {}, held {:?}, reasons {:?}, dropped {:?}",
                    self.messages.len(),
                    self.held,
                    self.reasons,
                    self.dropped
                ),
            }
        }
    }

    pub(crate) async fn until_messages(&mut self, count: usize) {
        self.until(&format!("{count} messages"), |it| it.messages.len() >= count).await;
    }

    fn take(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Connected { connection, session_present, session } => {
                self.connected = connection;
                self.session = session;
                self.session_present = session_present;
            }
            LinkEvent::Disconnected { reason, .. } => self.reasons.push(reason),
            LinkEvent::Messages(batch) => self.take_batch(batch),
            LinkEvent::Confirmed(ticket) => self.confirmed = ticket,
            LinkEvent::Refused(refused) => self.refused.extend(refused),
            LinkEvent::Subscribed(held) => self.held = held,
            LinkEvent::Dropped { topic, reason, .. } => self.dropped.push((topic, reason)),
        }
    }

    fn take_batch(&mut self, batch: MessageBatch) {
        assert!(!batch.messages.is_empty(), "a batch is never empty");
        let expected = if batch.first.connection == self.last.connection { self.last.number + 1 } else { 1 };
        assert_eq!(batch.first.number, expected, "tickets follow by one");
        self.last = batch.last();
        self.batches.push(batch.messages.len());
        let (unusable, messages): (Vec<_>, Vec<_>) = batch.messages.into_iter().partition(|it| it.unusable.is_some());
        self.unusable.extend(unusable);
        self.messages.extend(messages.into_iter().filter(|it| !it.is_release));
    }

    /// Acknowledges everything so far, and waits until the broker has processed that.
    pub(crate) async fn acknowledge_all(&mut self) {
        let last = self.last;
        self.handle.acknowledge(last);
        self.until("confirmed", |it| it.confirmed == last).await;
    }

    pub(crate) fn payloads(&self) -> Vec<String> {
        self.messages.iter().map(|it| String::from_utf8_lossy(&it.payload).into_owned()).collect()
    }

    /// Closes in order; returns how the session ended, with all events taken.
    pub(crate) async fn close(mut self) -> SessionEnd {
        self.handle.close();
        while timeout(PATIENCE, self.events.recv()).await.expect("events end").is_some() {}
        timeout(PATIENCE, self.task.join_next()).await.expect("the session ends").unwrap().unwrap()
    }
}

/// `count` lines that start with `start`.
pub(crate) fn lines(start: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{start}{number}")).collect()
}
