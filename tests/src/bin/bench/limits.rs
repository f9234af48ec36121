//! What the surroundings can do without the gateway.

use crate::load::{self, Content, Load};
use crate::seen::Seen;
use crate::{PATIENCE, endpoint::Endpoint};
use anyhow::{Context, ensure};
use hearthgate_tests::broker::Mosquitto;
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use sqlx::{AssertSqlSafe, Connection};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Messages of one bare INSERT: 1,500 rows.
const MESSAGES_AN_INSERT: u64 = 500;

/// A rumqttc client that receives, acknowledges and drops.
pub(crate) struct BareSubscriber {
    /// Dropping it would end the connection.
    _client: AsyncClient,
    events: EventLoop,
}

impl BareSubscriber {
    /// Connects and subscribes.
    pub(crate) async fn start(port: u16, filter: &str, qos: u8) -> anyhow::Result<Self> {
        let mut options = MqttOptions::new("bare", "127.0.0.1", port);
        options.set_keep_alive(Duration::from_secs(60));
        options.set_max_packet_size(2 << 20, 2 << 20);
        let (client, mut events) = AsyncClient::new(options, 100);
        let qos = if qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
        client.subscribe(filter, qos).await?;
        while !matches!(events.poll().await?, Event::Incoming(Packet::SubAck(_))) {}
        Ok(BareSubscriber { _client: client, events })
    }

    /// Waits for all messages, each once; answers how many a second came since `since`.
    pub(crate) async fn receive(&mut self, messages: u64, since: Instant) -> anyhow::Result<f64> {
        let mut seen = Seen::new(messages);
        while seen.count() < messages {
            let event = tokio::time::timeout(PATIENCE, self.events.poll()).await;
            let event = event.with_context(|| format!("void: {} of {messages} messages arrived", seen.count()))?;
            if let Event::Incoming(Packet::Publish(message)) = event? {
                seen.note(load::number_in(&message.payload));
            }
        }
        let rate = messages as f64 / since.elapsed().as_secs_f64();
        seen.verify()?;
        Ok(rate)
    }
}

/// Messages a second from our load generator through Mosquitto to a bare subscriber.
pub(crate) async fn bare_subscriber(
    broker: &Mosquitto,
    messages: u64,
    qos: u8,
    content: Content,
) -> anyhow::Result<f64> {
    let mut subscriber = BareSubscriber::start(broker.port, "#", qos).await?;
    let since = Instant::now();
    let publisher = load::publish(Load { port: broker.port, messages, qos, rate: None, content });
    let rate = subscriber.receive(messages, since).await?;
    load::join(publisher)?;
    Ok(rate)
}

/// Calls a second of a bare reqwest loop with so many calls at a time.
pub(crate) async fn bare_posts(
    endpoint: &Endpoint,
    messages: u64,
    payload: usize,
    parallel: u64,
) -> anyhow::Result<f64> {
    let client = reqwest::Client::builder().no_proxy().tcp_nodelay(true).build()?;
    endpoint.expect(messages);
    let since = Instant::now();
    let calls = (0..parallel).map(|first| {
        let (client, url) = (client.clone(), endpoint.url.clone());
        async move {
            for number in (first..messages).step_by(parallel as usize) {
                let mut body = Vec::new();
                load::reading(number, payload, &mut body);
                let answer = client.post(&url).header("content-type", "application/json").body(body).send().await?;
                ensure!(answer.status().is_success(), "the endpoint answers {}", answer.status());
                answer.bytes().await?;
            }
            anyhow::Ok(())
        }
    });
    #[expect(clippy::disallowed_methods, reason = "each task is waited for, and its failure ends the benchmark")]
    let tasks: Vec<_> = calls.map(tokio::spawn).collect();
    for task in tasks {
        task.await??;
    }
    let rate = messages as f64 / since.elapsed().as_secs_f64();
    endpoint.verify()?;
    Ok(rate)
}

macro_rules! insert_all {
    ($connection:expr, $values:expr, $messages:expr, $payload:expr) => {{
        let rows = (0..MESSAGES_AN_INSERT * 3).map($values).collect::<Vec<_>>().join(",");
        let columns = "received_at, flow_code, attribute_name, attribute_value, last_msg_id";
        let insert: Arc<str> = format!("INSERT INTO data ({columns}) VALUES {rows}").into();
        let unit = "C".repeat($payload.saturating_sub(load::SMALLEST) + 14);
        let since = Instant::now();
        for first in (0..$messages).step_by(MESSAGES_AN_INSERT as usize) {
            let mut query = sqlx::query(AssertSqlSafe(Arc::clone(&insert)));
            for number in first..first + MESSAGES_AN_INSERT {
                let at = chrono::DateTime::from_timestamp_micros(1_795_264_496_000_000 + number as i64 * 10);
                let at = at.context("a time")?.naive_utc();
                let shown = load::shown(number).to_string();
                for (name, value) in [("t", "21.5"), ("n", &shown), ("unit", &unit)] {
                    query = query.bind(at).bind("BARE").bind(name).bind(value.to_owned()).bind(number as i32);
                }
            }
            query.execute(&mut $connection).await?;
        }
        $messages as f64 / since.elapsed().as_secs_f64()
    }};
}

/// Messages a second that the same rows make as bare INSERTs of 1,500 rows, each its own transaction, prepared once.
pub(crate) async fn bare_inserts(url: &str, messages: u64, payload: usize) -> anyhow::Result<f64> {
    let messages = messages.next_multiple_of(MESSAGES_AN_INSERT);
    let question = |_: u64| "(?,?,?,?,?)".to_owned();
    if url.starts_with("postgres") {
        let dollars = |row: u64| {
            let at = row * 5;
            format!("(${},${},${},${},${})", at + 1, at + 2, at + 3, at + 4, at + 5)
        };
        let mut connection = sqlx::PgConnection::connect(url).await.context("connecting to PostgreSQL")?;
        Ok(insert_all!(connection, dollars, messages, payload))
    } else {
        let mut connection = sqlx::MySqlConnection::connect(url).await.context("connecting to MariaDB")?;
        Ok(insert_all!(connection, question, messages, payload))
    }
}
