//! A subscriber as a service ought to be: a persistent session, and an acknowledgement for each message that it has noted.

use crate::publisher::next_packet;
use anyhow::ensure;
use bytes::BytesMut;
use rumqttc::QoS;
use rumqttc::mqttbytes::v4::{Connect, ConnectReturnCode, Packet, PubAck, Subscribe};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

const RECONNECT_PAUSE: Duration = Duration::from_millis(20);

/// What came so far.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// Payloads in the order of their coming; one that is sent again is there again.
    pub payloads: Vec<String>,
    /// SUBACKs.
    pub subscribed: u64,
}

/// A running subscriber at QoS 1; it connects again for as long as it lives.
pub struct Subscriber {
    received: Arc<Mutex<Received>>,
    task: JoinHandle<()>,
}

impl Subscriber {
    /// Of a broker on 127.0.0.1.
    #[must_use]
    pub fn start(port: u16, client_id: &str, filter: &str) -> Self {
        let received = Arc::new(Mutex::new(Received::default()));
        let notes = Arc::clone(&received);
        let (client_id, filter) = (client_id.to_owned(), filter.to_owned());
        let task = tokio::spawn(async move {
            loop {
                // Why a connection ended does not matter: the session goes on with the next one.
                drop(connection(port, &client_id, &filter, &notes).await);
                tokio::time::sleep(RECONNECT_PAUSE).await;
            }
        });
        Subscriber { received, task }
    }

    /// A look at what came so far.
    pub fn received<T>(&self, look: impl FnOnce(&Received) -> T) -> T {
        look(&self.received.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connection(port: u16, client_id: &str, filter: &str, notes: &Mutex<Received>) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut incoming, mut outgoing) = (BytesMut::new(), BytesMut::new());
    let mut connect = Connect::new(client_id);
    connect.clean_session = false;
    connect.keep_alive = 0;
    connect.write(&mut outgoing)?;
    loop {
        stream.write_all(&outgoing).await?;
        outgoing.clear();
        ensure!(stream.read_buf(&mut incoming).await? > 0, "the broker closed the connection");
        while let Some(packet) = next_packet(&mut incoming)? {
            match packet {
                Packet::ConnAck(answer) => {
                    ensure!(answer.code == ConnectReturnCode::Success, "refused: {:?}", answer.code);
                    let mut subscribe = Subscribe::new(filter, QoS::AtLeastOnce);
                    subscribe.pkid = 1;
                    subscribe.write(&mut outgoing)?;
                }
                Packet::SubAck(_) => notes.lock().unwrap_or_else(PoisonError::into_inner).subscribed += 1,
                Packet::Publish(message) => {
                    let payload = String::from_utf8_lossy(&message.payload).into_owned();
                    notes.lock().unwrap_or_else(PoisonError::into_inner).payloads.push(payload);
                    PubAck::new(message.pkid).write(&mut outgoing)?;
                }
                _ => {}
            }
        }
    }
}
