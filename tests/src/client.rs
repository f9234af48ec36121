//! An MQTT client for tests, on rumqttc, MQTT 3.1.1.

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A connected client; what it receives queues up in `inbox`.
pub struct Client {
    client: AsyncClient,
    inbox: mpsc::UnboundedReceiver<rumqttc::Publish>,
    acknowledged: mpsc::UnboundedReceiver<()>,
    task: JoinHandle<()>,
}

impl Client {
    /// Connects with a clean session.
    pub async fn connect(port: u16, id: &str) -> Self {
        let mut options = MqttOptions::new(id, "127.0.0.1", port);
        options.set_keep_alive(Duration::from_secs(30));
        options.set_max_packet_size(8 << 20, 8 << 20);
        options.set_inflight(1000);
        let (client, mut events) = AsyncClient::new(options, 1000);
        let (received, inbox) = mpsc::unbounded_channel();
        let (confirm, acknowledged) = mpsc::unbounded_channel();
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        let mut ready = Some(ready);
        let task = tokio::spawn(async move {
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Packet::ConnAck(_))) => {
                        if let Some(ready) = ready.take() {
                            ready.send(()).ok();
                        }
                    }
                    Ok(Event::Incoming(Packet::Publish(message))) => drop(received.send(message)),
                    Ok(Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_) | Packet::SubAck(_))) => {
                        confirm.send(()).ok();
                    }
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        });
        tokio::time::timeout(crate::PATIENCE, is_ready).await.expect("a broker").expect("a connection");
        Client { client, inbox, acknowledged, task }
    }

    /// Subscribes, and waits for the broker's answer.
    pub async fn subscribe(&mut self, filter: &str) {
        self.client.subscribe(filter, QoS::ExactlyOnce).await.expect("subscribing");
        self.confirmed(1).await;
    }

    /// Publishes at QoS 1 without waiting for the acknowledgement.
    pub async fn publish(&self, topic: &str, payload: impl Into<Vec<u8>>) {
        self.client.publish(topic, QoS::AtLeastOnce, false, payload).await.expect("publishing");
    }

    /// Publishes with any QoS and flag.
    pub async fn publish_with(&self, topic: &str, payload: impl Into<Vec<u8>>, qos: QoS, retain: bool) {
        self.client.publish(topic, qos, retain, payload).await.expect("publishing");
    }

    /// Waits for so many acknowledgements.
    ///
    /// # Panics
    /// When they do not come.
    pub async fn confirmed(&mut self, count: usize) {
        for _ in 0..count {
            let next = tokio::time::timeout(crate::PATIENCE, self.acknowledged.recv()).await;
            next.expect("an acknowledgement in time").expect("a client that runs");
        }
    }

    /// The next message that came in.
    ///
    /// # Panics
    /// When none comes.
    pub async fn next_message(&mut self) -> rumqttc::Publish {
        let next = tokio::time::timeout(crate::PATIENCE, self.inbox.recv()).await;
        next.expect("a message in time").expect("a client that runs")
    }

    /// The next message that came in: topic and payload as text.
    ///
    /// # Panics
    /// When none comes.
    pub async fn next(&mut self) -> (String, String) {
        let message = self.next_message().await;
        (message.topic, String::from_utf8_lossy(&message.payload).into_owned())
    }

    /// The next message on a topic, as text; those on others are passed over.
    ///
    /// # Panics
    /// When none comes.
    pub async fn next_on(&mut self, topic: &str) -> String {
        let found = async {
            loop {
                let (on, payload) = self.next().await;
                if on == topic {
                    return payload;
                }
            }
        };
        tokio::time::timeout(crate::PATIENCE, found).await.unwrap_or_else(|_| panic!("nothing comes on {topic}"))
    }

    /// What has come in and was not taken yet.
    pub fn waiting(&mut self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        while let Ok(message) = self.inbox.try_recv() {
            all.push((message.topic, String::from_utf8_lossy(&message.payload).into_owned()));
        }
        all
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}
