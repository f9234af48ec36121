//! The gateway that is measured: the release binary with its flows, ready and warmed up.

use crate::PATIENCE;
use crate::load::{self, Load};
use crate::process::Process;
use crate::report::Round;
use crate::tap::Tap;
use anyhow::{Context, bail, ensure};
use hearthgate_tests::broker::Mosquitto;
use hearthgate_tests::database::Database;
use hearthgate_tests::gateway::{Gateway, Home};
use hearthgate_tests::http::request;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// Time between two looks at the far end.
const LOOK: Duration = Duration::from_millis(10);
/// Nothing may come in this long after the last message.
const QUIET: Duration = Duration::from_millis(300);
/// This part of the messages warms a gateway up.
const WARM_UP: u64 = 20;

/// What is measured and how.
pub(crate) struct Setup<'a> {
    /// The embedded broker without.
    pub(crate) broker: Option<&'a Mosquitto>,
    /// Between that broker and the gateway.
    pub(crate) tap: Option<&'a Tap>,
    /// SQLite in the gateway's own folder without.
    pub(crate) database: Option<Database>,
    /// More of its configuration.
    pub(crate) toml: String,
    /// Statements that make the flows.
    pub(crate) flows: Vec<String>,
}

/// A gateway with its far ends.
pub(crate) struct Subject {
    pub(crate) home: Home,
    pub(crate) gateway: Gateway,
    pub(crate) database: Database,
    /// Where messages are published.
    pub(crate) port: u16,
}

/// A flow of three fields as a statement.
pub(crate) fn flow(code: &str, topic: &str, action: &str, endpoint: &str) -> String {
    format!(
        "INSERT INTO flows (code, description, topic, action, payload_schema, endpoint_url) \
         VALUES ('{code}', '', '{topic}', '{action}', '{{\"t\":\"float\",\"n\":\"int\",\"unit\":\"string\"}}', '{endpoint}')"
    )
}

/// A flow's options as a statement.
pub(crate) fn options(code: &str, json: &str) -> String {
    format!(
        "INSERT INTO hearthgate_flow_options (flow_id, flow_code, options) \
         SELECT id, code, '{json}' FROM flows WHERE code = '{code}'"
    )
}

impl Subject {
    /// Starts it and makes the flows.
    pub(crate) async fn start(setup: Setup<'_>) -> anyhow::Result<Self> {
        let home = Home::new();
        let mut toml = String::new();
        if let Some(broker) = setup.broker {
            let port = setup.tap.map_or(broker.port, |tap| tap.port);
            writeln!(toml, "[mqtt]\nserver = \"mqtt://127.0.0.1:{port}\"")?;
        }
        if let Some(database) = &setup.database {
            writeln!(toml, "[database]\nurl = \"{}\"", database.url)?;
        }
        toml.push_str(&setup.toml);
        home.configure(&toml);
        let mut gateway = home.start();
        gateway.wait_for_log(&["flows loaded"]);
        let database = match setup.database {
            Some(database) => database,
            None => Database::sqlite(home.path()).await,
        };
        if !setup.flows.is_empty() {
            for statement in &setup.flows {
                database.execute(statement).await;
            }
            gateway.signal("HUP");
            gateway.wait_for_log(&["flows reloaded"]);
        }
        let port = setup.broker.map_or(home.mqtt, |broker| broker.port);
        Ok(Subject { home, gateway, database, port })
    }

    /// Publishes single messages until one has arrived, then some more to warm everything up.
    pub(crate) async fn warm_up(
        &self,
        far_end: &FarEnd,
        messages: u64,
        load: impl Fn(u64) -> Load,
    ) -> anyhow::Result<()> {
        let since = Instant::now();
        while far_end.count(self).await? == 0 {
            ensure!(since.elapsed() < PATIENCE, "nothing arrives; log:\n{}", self.gateway.log());
            load::join(load::publish(load(1)))?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let before = self.quiet(far_end).await?;
        let messages = (messages / WARM_UP).max(1);
        load::join(load::publish(load(messages)))?;
        self.wait(far_end, before + messages).await?;
        Ok(())
    }

    /// From the first message to the last one at the far end, each counted there.
    pub(crate) async fn measure(&self, far_end: &FarEnd, load: Load) -> anyhow::Result<Round> {
        let messages = load.messages;
        let process = self.process();
        let before = self.quiet(far_end).await?;
        let cpu = process.cpu_seconds()?;
        let since = Instant::now();
        let publisher = load::publish(load);
        self.wait(far_end, before + messages).await?;
        let seconds = since.elapsed().as_secs_f64();
        load::join(publisher)?;
        let round = self.round(messages, seconds, cpu)?;
        let end = self.quiet(far_end).await?;
        ensure!(end == before + messages, "void: {} messages arrived of {messages}", end - before);
        Ok(round)
    }

    /// The figures of a run that began with so much processor time.
    pub(crate) fn round(&self, messages: u64, seconds: f64, cpu_before: f64) -> anyhow::Result<Round> {
        let process = self.process();
        Ok(Round {
            value: messages as f64 / seconds,
            limit: None,
            cpu_seconds: Some((process.cpu_seconds()? - cpu_before) * 100_000.0 / messages as f64),
            peak_mb: Some(process.peak_mb()?),
        })
    }

    pub(crate) fn process(&self) -> Process {
        Process(self.gateway.pid())
    }

    async fn wait(&self, far_end: &FarEnd, until: u64) -> anyhow::Result<()> {
        let since = Instant::now();
        loop {
            let count = far_end.count(self).await?;
            if count >= until {
                return Ok(());
            }
            if since.elapsed() > PATIENCE {
                bail!("void: {count} of {until} messages arrived; log:\n{}", self.gateway.log());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until nothing more arrives; answers how many have.
    pub(crate) async fn quiet(&self, far_end: &FarEnd) -> anyhow::Result<u64> {
        let mut count = far_end.count(self).await?;
        loop {
            tokio::time::sleep(QUIET).await;
            let now = far_end.count(self).await?;
            if now == count {
                return Ok(count);
            }
            count = now;
        }
    }

    /// The sum of a counter over all label sets that contain all of `labels`.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> anyhow::Result<u64> {
        let (status, text) = request(self.home.http, "GET", "/metrics").context("reading the gateway's metrics")?;
        ensure!(status == 200, "the gateway's metrics answer {status}");
        let lines =
            text.lines().filter(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)));
        let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        Ok(lines.filter_map(value).sum::<f64>() as u64)
    }
}

/// Where arrived messages are counted.
pub(crate) enum FarEnd {
    /// A query of the database.
    Query(String),
    /// Commands that interfaces have taken; a refused one makes the run void.
    Interfaces,
    /// What has left the journal's desk with this outcome.
    Desk(&'static str),
}

impl FarEnd {
    /// The messages of one flow that are committed.
    pub(crate) fn flow(code: &str) -> Self {
        FarEnd::Query(format!("SELECT last_msg_id FROM flows WHERE code = '{code}'"))
    }

    async fn count(&self, subject: &Subject) -> anyhow::Result<u64> {
        match self {
            FarEnd::Query(query) => Ok(subject.database.number(query).await.unsigned_abs()),
            FarEnd::Desk(outcome) => subject.metric("hearthgate_journal_messages_total", &[outcome]),
            FarEnd::Interfaces => {
                const RECEIVED: &str = "hearthgate_interface_received_messages_total";
                let refused = subject.metric(RECEIVED, &["outcome=\"refused\""])?;
                ensure!(refused == 0, "void: {refused} messages were refused; log:\n{}", subject.gateway.log());
                subject.metric(RECEIVED, &["outcome=\"ok\""])
            }
        }
    }
}
