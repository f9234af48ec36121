//! A broker on a thread of its own, and a client that sends what it is told to.

use hearthgate_domain::delivery::{InboundMessage, QoS};
use hearthgate_mqtt::broker::{BrokerError, BrokerLoss, BrokerOptions, EmbeddedBroker};
use hearthgate_mqtt::link::{DeliveryTag, LinkEvent, LinkHandle, LinkSubscription, SenderEvent, SenderNews, link};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// No test waits longer for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// So long nothing may come where nothing must.
pub(crate) const SILENCE: Duration = Duration::from_millis(150);

/// A running broker, ended in order when it is dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    /// Of the TLS listener, if there is one, and of the WebSocket's.
    pub(crate) others: Vec<SocketAddr>,
    pub(crate) handle: LinkHandle,
    pub(crate) received: Arc<Mutex<Vec<(DeliveryTag, InboundMessage)>>>,
    /// What became known of publishers, before which ticket.
    pub(crate) news: Arc<Mutex<Vec<(u64, SenderEvent)>>>,
    /// What the broker had to let go.
    pub(crate) losses: Arc<Mutex<Vec<BrokerLoss>>>,
    crash: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<Result<(), BrokerError>>>,
}

/// How the gateway behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gateway {
    /// Wants nothing.
    Absent,
    /// Wants everything and acknowledges at once.
    Prompt,
    /// Wants everything; the test acknowledges.
    Held,
    /// Does not know yet what it wants; acknowledges at once.
    Undecided,
}

pub(crate) fn options() -> BrokerOptions {
    BrokerOptions { listen: "127.0.0.1:0".into(), ..BrokerOptions::default() }
}

pub(crate) fn start() -> Running {
    start_with(options(), Gateway::Absent)
}

pub(crate) fn start_with(options: BrokerOptions, gateway: Gateway) -> Running {
    let (handle, port, mut events) = link(64, 64);
    match gateway {
        Gateway::Absent => handle.subscribe_exactly(Vec::new()),
        Gateway::Prompt | Gateway::Held => {
            handle.subscribe_exactly(vec![LinkSubscription { filter: "#".into(), qos: QoS::ExactlyOnce }]);
        }
        Gateway::Undecided => {}
    }
    let mut broker = EmbeddedBroker::bind(options).unwrap();
    broker.attach(port);
    let losses: Arc<Mutex<Vec<BrokerLoss>>> = Arc::default();
    let lost = losses.clone();
    broker.observe_losses(Box::new(move |loss| lost.lock().unwrap().push(loss)));
    let mut others = broker.addresses();
    let address = others.remove(0);
    let (crash, crashed) = oneshot::channel();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let server = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            tokio::select! {
                ended = broker.run() => ended,
                _ = crashed => Ok(()),
            }
        })
    });
    let received = Arc::new(Mutex::new(Vec::new()));
    let acknowledger = (gateway != Gateway::Held).then_some(handle.clone());
    let news = Arc::new(Mutex::new(Vec::new()));
    let (kept, heard) = (received.clone(), news.clone());
    std::thread::spawn(move || take(&mut events, &kept, &heard, acknowledger.as_ref(), &ready));
    if gateway != Gateway::Undecided {
        is_ready.recv_timeout(PATIENCE).unwrap();
    }
    Running { address, others, handle, received, news, losses, crash: Some(crash), server: Some(server) }
}

type Kept = Mutex<Vec<(DeliveryTag, InboundMessage)>>;

fn take(
    events: &mut mpsc::Receiver<LinkEvent>,
    kept: &Kept,
    heard: &Mutex<Vec<(u64, SenderEvent)>>,
    acknowledger: Option<&LinkHandle>,
    ready: &std::sync::mpsc::Sender<()>,
) {
    while let Some(event) = events.blocking_recv() {
        match event {
            LinkEvent::Messages(batch) => {
                let (mut ticket, last) = (batch.first, batch.last());
                let mut kept = kept.lock().unwrap();
                let place = |news: &SenderNews| (ticket.number + news.before as u64, news.what);
                heard.lock().unwrap().extend(batch.news.iter().map(place));
                for message in batch.messages {
                    kept.push((ticket, message));
                    ticket.number += 1;
                }
                if let Some(handle) = acknowledger {
                    handle.acknowledge(last);
                }
            }
            // The filters hold from the first report on.
            LinkEvent::Subscribed(_) => drop(ready.send(())),
            _ => {}
        }
    }
}

impl Running {
    /// Ends the broker as `kill -9` would: nothing more is written.
    pub(crate) fn crash(mut self) {
        self.crash.take().unwrap().send(()).unwrap();
        self.server.take().unwrap().join().unwrap().unwrap();
    }

    /// Ends the broker in order.
    pub(crate) fn stop(mut self) -> Result<(), BrokerError> {
        self.handle.close();
        self.server.take().unwrap().join().unwrap()
    }

    /// What the gateway got, once there are so many.
    pub(crate) fn gateway_messages(&self, count: usize) -> Vec<(DeliveryTag, InboundMessage)> {
        wait_until(|| self.received.lock().unwrap().len() >= count);
        self.received.lock().unwrap().clone()
    }

    pub(crate) fn v4(&self, id: &str) -> Client {
        Client::connect(self.address, &Connect { id: id.into(), ..Connect::v4() }).0
    }

    pub(crate) fn v5(&self, id: &str) -> Client {
        Client::connect(self.address, &Connect { id: id.into(), ..Connect::v5() }).0
    }

    pub(crate) fn connect(&self, connect: &Connect) -> (Client, Connack) {
        Client::connect(self.address, connect)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(server) = self.server.take() {
            // A test that fails already must not panic again.
            let _ = server.join();
        }
    }
}

pub(crate) fn wait_until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "it did not come about in time");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// CONNECT, field by field.
#[derive(Clone)]
pub(crate) struct Connect {
    pub(crate) level: u8,
    pub(crate) id: String,
    pub(crate) clean: bool,
    pub(crate) keep_alive: u16,
    pub(crate) properties: Vec<u8>,
    /// Flags (QoS and retain bits), topic, payload and properties.
    pub(crate) will: Option<(u8, String, Vec<u8>, Vec<u8>)>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
}

impl Connect {
    pub(crate) fn v4() -> Self {
        Connect {
            level: 4,
            id: "client".into(),
            clean: true,
            keep_alive: 60,
            properties: Vec::new(),
            will: None,
            user: None,
            password: None,
        }
    }

    pub(crate) fn v5() -> Self {
        Connect { level: 5, ..Connect::v4() }
    }

    /// A session that is kept for an hour, and resumed.
    pub(crate) fn kept(level: u8, id: &str) -> Self {
        let properties = if level == 5 { property_u32(0x11, 3600) } else { Vec::new() };
        Connect { level, id: id.into(), clean: false, properties, ..Connect::v4() }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut flags = u8::from(self.clean) << 1;
        flags |= self.will.as_ref().map_or(0, |will| 0x04 | will.0);
        flags |= u8::from(self.user.is_some()) << 7 | u8::from(self.password.is_some()) << 6;
        let mut body = text("MQTT");
        body.extend([self.level, flags]);
        body.extend(self.keep_alive.to_be_bytes());
        if self.level == 5 {
            body.extend(section(&self.properties));
        }
        body.extend(text(&self.id));
        if let Some((_, topic, payload, properties)) = &self.will {
            if self.level == 5 {
                body.extend(section(properties));
            }
            body.extend(text(topic));
            body.extend(binary(payload));
        }
        body.extend(self.user.as_deref().map(text).unwrap_or_default());
        body.extend(self.password.as_deref().map(text).unwrap_or_default());
        packet(0x10, &body)
    }
}

/// CONNACK.
#[derive(Debug)]
pub(crate) struct Connack {
    pub(crate) present: bool,
    pub(crate) code: u8,
    pub(crate) properties: Vec<u8>,
}

/// PUBLISH as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    pub(crate) id: u16,
    pub(crate) properties: Vec<u8>,
}

impl Message {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).unwrap()
    }
}

/// A client made of bytes.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) level: u8,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) fn open(address: SocketAddr, level: u8) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, level, buffer: Vec::new() }
    }

    pub(crate) fn connect(address: SocketAddr, connect: &Connect) -> (Client, Connack) {
        let mut client = Client::open(address, connect.level);
        client.send(&connect.bytes());
        let (header, body) = client.receive();
        assert_eq!(header, 0x20, "CONNACK");
        let properties = if connect.level == 5 { unsection(&body[2..]).0.to_vec() } else { Vec::new() };
        (client, Connack { present: body[0] == 1, code: body[1], properties })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next packet: first byte and body.
    pub(crate) fn receive(&mut self) -> (u8, Vec<u8>) {
        self.next(PATIENCE).expect("a packet, not the end of the connection").expect("a packet in time")
    }

    /// `Err` at the end of the connection, `None` when nothing comes.
    pub(crate) fn next(&mut self, within: Duration) -> Result<Option<(u8, Vec<u8>)>, ()> {
        let deadline = Instant::now() + within;
        loop {
            if let Some((header, body, end)) = whole(&self.buffer) {
                let packet = (header, self.buffer[body..end].to_vec());
                self.buffer.drain(..end);
                return Ok(Some(packet));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.stream.set_read_timeout(Some(left)).unwrap();
            let mut chunk = [0; 64 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(()),
                Ok(count) => self.buffer.extend(&chunk[..count]),
                Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                }
                Err(_) => return Err(()),
            }
        }
    }

    pub(crate) fn expect(&mut self, expected: &[u8]) {
        let (header, body) = self.receive();
        assert_eq!(packet(header, &body), expected);
    }

    /// Nothing comes, and everything sent before was worked off: a ping is answered next.
    pub(crate) fn expect_nothing(&mut self) {
        self.send(&[0xc0, 0]);
        self.expect(&[0xd0, 0]);
        assert_eq!(self.next(SILENCE), Ok(None));
    }

    /// The broker ends the connection, in MQTT 5 with this reason.
    pub(crate) fn expect_end(&mut self, reason: u8) {
        let mut last = None;
        while let Ok(Some(packet)) = self.next(PATIENCE) {
            last = Some(packet);
        }
        assert_eq!(self.next(SILENCE), Err(()), "the connection ends");
        if self.level == 5 {
            assert_eq!(last, Some((0xe0, vec![reason])), "DISCONNECT with its reason");
        } else {
            assert_ne!(last.map(|(header, _)| header), Some(0xe0), "MQTT 3 servers send no DISCONNECT");
        }
    }

    pub(crate) fn subscribe(&mut self, filter: &str, options: u8) -> u8 {
        self.subscribe_with(filter, options, &[])
    }

    /// Returns the code of SUBACK.
    pub(crate) fn subscribe_with(&mut self, filter: &str, options: u8, properties: &[u8]) -> u8 {
        let mut body = vec![0, 77];
        if self.level == 5 {
            body.extend(section(properties));
        }
        body.extend(text(filter));
        body.push(options);
        self.send(&packet(0x82, &body));
        let (header, body) = self.receive();
        assert_eq!((header, &body[..2]), (0x90, [0, 77].as_slice()), "SUBACK");
        *body.last().unwrap()
    }

    pub(crate) fn unsubscribe(&mut self, filter: &str) -> Vec<u8> {
        let mut body = vec![0, 78];
        if self.level == 5 {
            body.push(0);
        }
        body.extend(text(filter));
        self.send(&packet(0xa2, &body));
        let (header, body) = self.receive();
        assert_eq!((header, &body[..2]), (0xb0, [0, 78].as_slice()), "UNSUBACK");
        body[2..].to_vec()
    }

    /// Sends PUBLISH. `flags` are DUP, QoS and RETAIN as they stand in the first byte.
    pub(crate) fn publish(&mut self, flags: u8, topic: &str, id: u16, payload: impl AsRef<[u8]>) {
        self.publish_with(flags, topic, id, payload, &[]);
    }

    pub(crate) fn publish_with(
        &mut self,
        flags: u8,
        topic: &str,
        id: u16,
        payload: impl AsRef<[u8]>,
        properties: &[u8],
    ) {
        let bytes = self.publish_bytes(flags, topic, id, payload.as_ref(), properties);
        self.send(&bytes);
    }

    pub(crate) fn publish_bytes(&self, flags: u8, topic: &str, id: u16, payload: &[u8], properties: &[u8]) -> Vec<u8> {
        let mut body = text(topic);
        if flags & 6 != 0 {
            body.extend(id.to_be_bytes());
        }
        if self.level == 5 {
            body.extend(section(properties));
        }
        body.extend(payload);
        packet(0x30 | flags, &body)
    }

    /// The next packet is a PUBLISH.
    pub(crate) fn message(&mut self) -> Message {
        let (header, body) = self.receive();
        self.as_message(header, &body)
    }

    pub(crate) fn as_message(&self, header: u8, body: &[u8]) -> Message {
        assert_eq!(header & 0xf0, 0x30, "PUBLISH, not {header:02x} {body:02x?}");
        let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let topic = String::from_utf8(body[2..2 + length].to_vec()).unwrap();
        let mut rest = &body[2 + length..];
        let qos = (header >> 1) & 3;
        let mut id = 0;
        if qos > 0 {
            id = u16::from_be_bytes([rest[0], rest[1]]);
            rest = &rest[2..];
        }
        let mut properties = Vec::new();
        if self.level == 5 {
            let (found, after) = unsection(rest);
            properties = found.to_vec();
            rest = after;
        }
        let (retain, dup) = (header & 1 == 1, header & 8 == 8);
        Message { topic, payload: rest.to_vec(), qos, retain, dup, id, properties }
    }

    /// A message at QoS 1, acknowledged.
    pub(crate) fn message_acknowledged(&mut self) -> Message {
        let message = self.message();
        self.acknowledge(4, message.id);
        message
    }

    /// PUBACK (4), PUBREC (5), PUBREL (6), PUBCOMP (7).
    pub(crate) fn acknowledge(&mut self, kind: u8, id: u16) {
        self.send(&acknowledgement(kind, id));
    }

    pub(crate) fn expect_acknowledgement(&mut self, kind: u8, id: u16) {
        self.expect(&acknowledgement(kind, id));
    }

    pub(crate) fn disconnect(mut self) {
        self.send(&[0xe0, 0]);
        while let Ok(Some(_)) = self.next(PATIENCE) {}
    }
}

pub(crate) fn acknowledgement(kind: u8, id: u16) -> Vec<u8> {
    packet(kind << 4 | if kind == 6 { 2 } else { 0 }, &id.to_be_bytes())
}

pub(crate) fn packet(header: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![header];
    bytes.extend(variable(body.len()));
    bytes.extend(body);
    bytes
}

pub(crate) fn variable(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (value % 128) as u8;
        value /= 128;
        if value == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}

pub(crate) fn text(value: &str) -> Vec<u8> {
    binary(value.as_bytes())
}

pub(crate) fn binary(value: &[u8]) -> Vec<u8> {
    let mut bytes = (value.len() as u16).to_be_bytes().to_vec();
    bytes.extend(value);
    bytes
}

pub(crate) fn section(properties: &[u8]) -> Vec<u8> {
    let mut bytes = variable(properties.len());
    bytes.extend(properties);
    bytes
}

fn unsection(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (mut length, mut at) = (0, 0);
    loop {
        length |= usize::from(bytes[at] & 0x7f) << (7 * at);
        at += 1;
        if bytes[at - 1] & 0x80 == 0 {
            return bytes[at..].split_at(length);
        }
    }
}

fn whole(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (mut length, mut at) = (0, 0);
    loop {
        let byte = *bytes.get(1 + at)?;
        length |= usize::from(byte & 0x7f) << (7 * at);
        at += 1;
        if byte & 0x80 == 0 {
            let (body, end) = (1 + at, 1 + at + length);
            return (bytes.len() >= end).then_some((bytes[0], body, end));
        }
    }
}

pub(crate) fn property_u32(id: u8, value: u32) -> Vec<u8> {
    let mut bytes = vec![id];
    bytes.extend(value.to_be_bytes());
    bytes
}

pub(crate) fn property_u16(id: u8, value: u16) -> Vec<u8> {
    let mut bytes = vec![id];
    bytes.extend(value.to_be_bytes());
    bytes
}

pub(crate) fn property_text(id: u8, value: &str) -> Vec<u8> {
    let mut bytes = vec![id];
    bytes.extend(text(value));
    bytes
}

/// Whether CONNACK's properties hold these bytes.
pub(crate) fn has(properties: &[u8], wanted: &[u8]) -> bool {
    properties.windows(wanted.len()).any(|window| window == wanted)
}
