//! A TCP proxy between an MQTT client and its broker: it cuts connections, and reads along what the client told the broker
//! is safe.

use bytes::BytesMut;
use rumqttc::mqttbytes::v4::Packet;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const MAX_PACKET: usize = 16 << 20;
/// A broker that goes in turn through all packet identifiers (Mosquitto does) comes to the same one after 65,535; what is
/// older than half of that is another message.
const SAME_MESSAGE: u64 = 32_767;

/// What the client, a subscriber, has received and acknowledged. It outlives connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Messages at QoS 1 and 2 that the broker has sent as they came; one sent again counts once. What it sends because it
    /// is retained does not count.
    pub delivered: u64,
    /// Of those, the ones that the client has acknowledged by PUBACK or PUBREC: the client answers for them.
    pub taken: u64,
    /// PUBLISH packets with DUP set.
    pub sent_again: u64,
    /// SUBACKs.
    pub subscribed: u64,
    /// Connections of the client.
    pub connections: u64,
}

/// A running proxy; its connections end with this value.
pub struct Proxy {
    /// To be connected to, on 127.0.0.1.
    pub port: u16,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// A proxy for this port.
    ///
    /// # Errors
    /// No port to listen on.
    pub async fn start(target: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared { gate: watch::Sender::new(Gate::default()), account: Mutex::default() });
        let task = tokio::spawn(accept(listener, target, Arc::clone(&shared)));
        Ok(Proxy { port, shared, task })
    }

    /// Ends all connections, wherever they are. What was read and not passed on is lost.
    pub fn cut(&self) {
        self.shared.gate.send_modify(|gate| gate.cuts += 1);
    }

    /// Ends all connections, and lets no new one through until [`Proxy::open`].
    pub fn close(&self) {
        self.shared.gate.send_modify(|gate| {
            gate.cuts += 1;
            gate.closed = true;
        });
    }

    /// Lets connections through again.
    pub fn open(&self) {
        self.shared.gate.send_modify(|gate| gate.closed = false);
    }

    /// What went through so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.shared.lock().seen
    }

    /// The broker has forgotten the client's session: packet identifiers begin anew.
    pub fn forget_session(&self) {
        self.shared.lock().messages.clear();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.task.abort();
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Gate {
    cuts: u64,
    closed: bool,
}

struct Shared {
    gate: watch::Sender<Gate>,
    account: Mutex<Account>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Account {
    seen: Seen,
    /// By packet identifier: which delivery it stands for, and whether that was acknowledged, or does not count.
    messages: HashMap<u16, (u64, bool)>,
}

impl Account {
    fn delivered(&mut self, packet_id: u16, dup: bool, is_retained: bool) {
        self.seen.sent_again += u64::from(dup);
        let known = self.messages.get(&packet_id).map(|(number, _)| self.seen.delivered - number);
        if dup && known.is_some_and(|age| age < SAME_MESSAGE) {
            return;
        }
        self.seen.delivered += u64::from(!is_retained);
        self.messages.insert(packet_id, (self.seen.delivered, is_retained));
    }

    fn acknowledged(&mut self, packet_id: u16) {
        if let Some((_, taken)) = self.messages.get_mut(&packet_id) {
            self.seen.taken += u64::from(!std::mem::replace(taken, true));
        }
    }

    fn client_sent(&mut self, packet: &Packet) {
        match packet {
            Packet::PubAck(ack) => self.acknowledged(ack.pkid),
            Packet::PubRec(ack) => self.acknowledged(ack.pkid),
            _ => {}
        }
    }

    fn broker_sent(&mut self, packet: &Packet) {
        match packet {
            Packet::Publish(publish) if publish.pkid != 0 => {
                self.delivered(publish.pkid, publish.dup, publish.retain);
            }
            Packet::SubAck(_) => self.seen.subscribed += 1,
            _ => {}
        }
    }
}

async fn accept(listener: TcpListener, target: u16, shared: Arc<Shared>) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let gate = *shared.gate.borrow();
        if gate.closed {
            continue;
        }
        tokio::spawn(serve(client, target, gate, Arc::clone(&shared)));
    }
}

async fn serve(client: TcpStream, target: u16, gate: Gate, shared: Arc<Shared>) {
    let Ok(broker) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    drop((client.set_nodelay(true), broker.set_nodelay(true)));
    shared.lock().seen.connections += 1;
    let (from_client, to_client) = client.into_split();
    let (from_broker, to_broker) = broker.into_split();
    let mut changes = shared.gate.subscribe();
    tokio::select! {
        () = pass(from_client, to_broker, |packet| shared.lock().client_sent(packet)) => {}
        () = pass(from_broker, to_client, |packet| shared.lock().broker_sent(packet)) => {}
        _ = changes.wait_for(|now| now.cuts != gate.cuts) => {}
    }
}

/// Passes bytes on until one side ends. They are looked at before they are passed on: what the other side has, is counted.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut look: impl FnMut(&Packet)) {
    let mut bytes = BytesMut::with_capacity(64 << 10);
    let mut unread = BytesMut::new();
    let mut is_mqtt = true;
    while from.read_buf(&mut bytes).await.is_ok_and(|count| count > 0) {
        if is_mqtt {
            unread.extend_from_slice(&bytes);
            is_mqtt = read_along(&mut unread, &mut look);
        }
        if to.write_all(&bytes).await.is_err() {
            return;
        }
        bytes.clear();
    }
}

/// `false`: this is not MQTT 3.1.1; it is passed on all the same.
fn read_along(unread: &mut BytesMut, look: &mut impl FnMut(&Packet)) -> bool {
    loop {
        match Packet::read(unread, MAX_PACKET) {
            Ok(packet) => look(&packet),
            Err(rumqttc::Error::InsufficientBytes(_)) => return true,
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_sent_again_counts_once() {
        let mut account = Account::default();
        account.delivered(1, false, false);
        account.delivered(2, false, false);
        account.acknowledged(1);
        account.delivered(1, true, false);
        account.delivered(2, true, false);
        account.acknowledged(1);
        account.acknowledged(2);
        let Seen { delivered, taken, sent_again, .. } = account.seen;
        assert_eq!((delivered, taken, sent_again), (2, 2, 2));
    }

    #[test]
    fn a_first_delivery_that_was_lost_before_us_counts_when_it_is_sent_again() {
        let mut account = Account::default();
        account.delivered(7, true, false);
        account.acknowledged(7);
        assert_eq!((account.seen.delivered, account.seen.taken), (1, 1));
    }

    #[test]
    fn what_is_sent_because_it_is_retained_does_not_count() {
        let mut account = Account::default();
        account.delivered(1, false, true);
        account.acknowledged(1);
        account.delivered(2, false, false);
        account.acknowledged(2);
        assert_eq!((account.seen.delivered, account.seen.taken), (1, 1));
    }
}
