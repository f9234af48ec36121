//! A publisher as a device ought to be: a persistent session, a window in flight, everything unacknowledged sent again
//! after a reconnect (MQTT 3.1.1, section 4.4), and an exact account of what was acknowledged.
//!
//! rumqttc's own client drops what is pending when the session is absent; only its packets are used here.

use anyhow::{Context, bail, ensure};
use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::v4::{ConnAck, Connect, ConnectReturnCode, Packet, PubRel, Publish};
use rumqttc::{Error as WireError, QoS};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Larger than anything that is sent here.
const MAX_PACKET: usize = 16 << 20;
/// So many messages may wait for their place in the window.
const BACKLOG: usize = 1_000;
const RECONNECT_PAUSE: Duration = Duration::from_millis(20);
/// A broker that is frozen takes connections and does not answer.
const ANSWER: Duration = Duration::from_secs(10);

/// How it publishes.
#[derive(Clone, Debug)]
pub struct Options {
    /// Of the broker, on 127.0.0.1.
    pub port: u16,
    /// Its session.
    pub client_id: String,
    /// 1 or 2.
    pub qos: QoS,
    /// Messages in flight without their acknowledgement.
    pub window: usize,
    /// Packet identifiers go in turn through 1 to this number, as most devices' and Mosquitto's do.
    pub packet_ids: u16,
}

impl Options {
    /// QoS 1, 200 in flight, all packet identifiers.
    #[must_use]
    pub fn new(port: u16, client_id: &str) -> Self {
        Options { port, client_id: client_id.to_owned(), qos: QoS::AtLeastOnce, window: 200, packet_ids: u16::MAX }
    }
}

/// What became of what was published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Handed to [`Publisher::publish`].
    pub published: u64,
    /// Acknowledged by PUBACK, or by PUBREC: from then on the broker answers for it.
    pub acknowledged: u64,
    /// PUBLISH packets sent again.
    pub sent_again: u64,
    /// Connections that stood.
    pub connections: u64,
    /// Connections on which the broker did not know the session any more, the first one not counted.
    pub sessions_lost: u64,
    /// Packets that a broker must not send: acknowledgements of nothing in flight, and worse.
    pub violations: u64,
}

/// A running publisher; it disconnects without a word when it is dropped.
pub struct Publisher {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Publisher {
    /// Connects, and goes on connecting for as long as it lives.
    #[must_use]
    pub fn start(options: Options) -> Self {
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn(run(options, Arc::clone(&shared)));
        Publisher { shared, task }
    }

    /// Hands over a message; waits while too many wait already.
    pub async fn publish(&self, topic: &str, payload: impl Into<Bytes>) {
        self.hand_over(Message { topic: topic.to_owned(), payload: payload.into(), retain: false }).await;
    }

    /// As [`Publisher::publish`]; the broker is to keep the message as the last one of its topic.
    pub async fn publish_retained(&self, topic: &str, payload: impl Into<Bytes>) {
        self.hand_over(Message { topic: topic.to_owned(), payload: payload.into(), retain: true }).await;
    }

    async fn hand_over(&self, message: Message) {
        loop {
            let room = self.shared.progress.notified();
            {
                let mut state = self.shared.lock();
                if state.backlog.len() < BACKLOG {
                    state.backlog.push_back(message);
                    state.account.published += 1;
                    self.shared.news.notify_one();
                    return;
                }
            }
            room.await;
        }
    }

    /// What became of everything so far.
    #[must_use]
    pub fn account(&self) -> Account {
        self.shared.lock().account
    }

    /// When each message that has been sent was sent first, in the order of publishing.
    #[must_use]
    pub fn first_sent(&self) -> Vec<SystemTime> {
        self.shared.lock().first_sent.clone()
    }

    /// Waits until everything published is acknowledged.
    ///
    /// # Errors
    /// Nothing was acknowledged for `patience`.
    pub async fn all_acknowledged(&self, patience: Duration) -> anyhow::Result<Account> {
        loop {
            let progress = self.shared.progress.notified();
            let account = self.account();
            if account.acknowledged == account.published {
                return Ok(account);
            }
            if tokio::time::timeout(patience, progress).await.is_err() {
                bail!("nothing was acknowledged for {patience:?}: {account:?}");
            }
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Something waits to be sent.
    news: Notify,
    /// Something left the backlog or was acknowledged.
    progress: Notify,
}

#[derive(Default)]
struct State {
    backlog: VecDeque<Message>,
    account: Account,
    first_sent: Vec<SystemTime>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Message {
    topic: String,
    payload: Bytes,
    retain: bool,
}

struct InFlight {
    packet_id: u16,
    message: Message,
    /// PUBREC came: PUBREL is what is sent again.
    released: bool,
}

/// The session: it outlives connections.
struct Session {
    options: Options,
    shared: Arc<Shared>,
    in_flight: VecDeque<InFlight>,
    last_id: u16,
}

async fn run(options: Options, shared: Arc<Shared>) {
    let mut session = Session { options, shared, in_flight: VecDeque::new(), last_id: 0 };
    loop {
        // Why a connection ended does not matter: what counts is what is acknowledged in the end.
        drop(session.connection().await);
        tokio::time::sleep(RECONNECT_PAUSE).await;
    }
}

impl Session {
    /// One connection, to its end.
    async fn connection(&mut self) -> anyhow::Result<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.options.port)).await?;
        stream.set_nodelay(true)?;
        let mut incoming = BytesMut::with_capacity(64 << 10);
        let mut outgoing = BytesMut::with_capacity(64 << 10);
        let greeted = tokio::time::timeout(ANSWER, self.greet(&mut stream, &mut incoming)).await;
        let answer = greeted.context("waiting for CONNACK")??;
        ensure!(answer.code == ConnectReturnCode::Success, "refused: {:?}", answer.code);
        self.resume(answer.session_present, &mut outgoing)?;
        let shared = Arc::clone(&self.shared);
        loop {
            let handled = self.handle_all(&mut incoming, &mut outgoing);
            handled.inspect_err(|error| {
                eprintln!("publisher {}: {error:#}", self.options.client_id);
                shared.lock().account.violations += 1;
            })?;
            self.fill_window(&mut outgoing)?;
            if !outgoing.is_empty() {
                // Reading goes on meanwhile: a broker that waits for us to read does not read either.
                tokio::select! {
                    read = stream.readable() => read?,
                    written = stream.writable() => {
                        written?;
                        match stream.try_write(&outgoing) {
                            Ok(count) => drop(outgoing.split_to(count)),
                            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                            Err(error) => return Err(error.into()),
                        }
                    }
                }
            } else {
                tokio::select! {
                    read = stream.readable() => read?,
                    () = shared.news.notified() => {}
                }
            }
            match stream.try_read_buf(&mut incoming) {
                Ok(0) => bail!("the broker closed the connection"),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn greet(&self, stream: &mut TcpStream, incoming: &mut BytesMut) -> anyhow::Result<ConnAck> {
        let mut connect = Connect::new(self.options.client_id.as_str());
        connect.clean_session = false;
        connect.keep_alive = 0;
        let mut hello = BytesMut::new();
        connect.write(&mut hello)?;
        stream.write_all(&hello).await?;
        loop {
            if let Some(packet) = next_packet(incoming)? {
                let Packet::ConnAck(answer) = packet else { bail!("{packet:?} before CONNACK") };
                return Ok(answer);
            }
            ensure!(stream.read_buf(incoming).await? > 0, "closed before CONNACK");
        }
    }

    /// Sends again, in the original order, what was not acknowledged. Without its session the broker knows of nothing: what
    /// it has not acknowledged is sent as new; what it has taken by PUBREC is its own.
    fn resume(&mut self, session_present: bool, outgoing: &mut BytesMut) -> anyhow::Result<()> {
        if !session_present {
            self.in_flight.retain(|one| !one.released);
        }
        let mut state = self.shared.lock();
        state.account.connections += 1;
        if !session_present && state.account.connections > 1 {
            state.account.sessions_lost += 1;
        }
        state.account.sent_again += self.in_flight.iter().filter(|one| !one.released).count() as u64;
        drop(state);
        for one in &self.in_flight {
            if one.released {
                PubRel::new(one.packet_id).write(outgoing)?;
            } else {
                write_publish(self.options.qos, one, session_present, outgoing)?;
            }
        }
        Ok(())
    }

    fn handle_all(&mut self, incoming: &mut BytesMut, outgoing: &mut BytesMut) -> anyhow::Result<()> {
        while let Some(packet) = next_packet(incoming)? {
            self.handle(&packet, outgoing)?;
        }
        Ok(())
    }

    fn handle(&mut self, packet: &Packet, outgoing: &mut BytesMut) -> anyhow::Result<()> {
        match packet {
            Packet::PubAck(ack) => {
                let position = self.find(ack.pkid).context("PUBACK for nothing in flight")?;
                self.in_flight.remove(position);
                self.acknowledged();
            }
            Packet::PubRec(ack) => {
                let position = self.find(ack.pkid).context("PUBREC for nothing in flight")?;
                let is_first = !std::mem::replace(&mut self.in_flight[position].released, true);
                PubRel::new(ack.pkid).write(outgoing)?;
                if is_first {
                    self.acknowledged();
                }
            }
            Packet::PubComp(ack) => {
                let position = self.find(ack.pkid).context("PUBCOMP for nothing in flight")?;
                self.in_flight.remove(position);
            }
            other => bail!("{other:?} was not expected"),
        }
        Ok(())
    }

    fn find(&self, packet_id: u16) -> Option<usize> {
        self.in_flight.iter().position(|one| one.packet_id == packet_id)
    }

    fn acknowledged(&self) {
        self.shared.lock().account.acknowledged += 1;
        self.shared.progress.notify_waiters();
    }

    fn fill_window(&mut self, outgoing: &mut BytesMut) -> anyhow::Result<()> {
        // What is written and not yet sent must stay small, or the window would be all in our own memory.
        while self.in_flight.len() < self.options.window && outgoing.len() < 64 << 10 {
            let mut state = self.shared.lock();
            let Some(message) = state.backlog.pop_front() else { break };
            state.first_sent.push(SystemTime::now());
            drop(state);
            self.shared.progress.notify_waiters();
            let one = InFlight { packet_id: self.next_id(), message, released: false };
            write_publish(self.options.qos, &one, false, outgoing)?;
            self.in_flight.push_back(one);
        }
        Ok(())
    }

    fn next_id(&mut self) -> u16 {
        loop {
            self.last_id = if self.last_id >= self.options.packet_ids { 1 } else { self.last_id + 1 };
            if self.find(self.last_id).is_none() {
                return self.last_id;
            }
        }
    }
}

fn write_publish(qos: QoS, one: &InFlight, dup: bool, outgoing: &mut BytesMut) -> anyhow::Result<()> {
    let mut publish = Publish::from_bytes(one.message.topic.as_str(), qos, one.message.payload.clone());
    publish.pkid = one.packet_id;
    publish.dup = dup;
    publish.retain = one.message.retain;
    publish.write(outgoing)?;
    Ok(())
}

/// The next packet that is whole.
pub(crate) fn next_packet(incoming: &mut BytesMut) -> anyhow::Result<Option<Packet>> {
    match Packet::read(incoming, MAX_PACKET) {
        Ok(packet) => Ok(Some(packet)),
        Err(WireError::InsufficientBytes(_)) => Ok(None),
        Err(error) => bail!("the broker sent what is no MQTT packet: {error:?}"),
    }
}
