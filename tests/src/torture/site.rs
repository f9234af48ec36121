//! What a run works with: the gateway, what it lives on, and what looks at it from outside.

use super::commands;
use super::lots;
use super::plan::{BrokerKind, DatabaseKind, Plan};
use crate::broker::Mosquitto;
use crate::database::Database;
use crate::endpoint::{Answer, Endpoint};
use crate::gateway::{Gateway, Home};
use crate::proxy::Proxy;
use crate::publisher::{Options, Publisher};
use crate::server::{Kind, Server};
use crate::subscriber::Subscriber;
use crate::tmpfs::Tmpfs;
use crate::{PATIENCE, http, until};
use anyhow::{Context, ensure};
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::{JoinHandle, block_in_place};

const LOOK: Duration = Duration::from_millis(50);

/// Everything ends with it, the gateway first.
pub(super) struct Site {
    gateway: Option<Gateway>,
    pub(super) proxy: Proxy,
    pub(super) mosquitto: Option<Mosquitto>,
    pub(super) server: Option<Server>,
    pub(super) database: Database,
    pub(super) endpoint: Endpoint,
    /// Of what a flow publishes.
    pub(super) subscriber: Subscriber,
    pub(super) disk: Option<Tmpfs>,
    pub(super) home: Home,
    memory: Memory,
}

impl Site {
    /// Starts everything, and waits until messages can go end to end.
    pub(super) async fn start(plan: &Plan) -> anyhow::Result<Self> {
        let home = Home::new();
        let disk = if plan.needs_disk() { Some(Tmpfs::mount(&home.path().join("data"))?) } else { None };
        let mosquitto = (plan.broker == BrokerKind::Mosquitto).then(Mosquitto::start);
        let proxy = Proxy::start(mosquitto.as_ref().map_or(home.mqtt, |broker| broker.port)).await?;
        let server = block_in_place(|| match plan.database {
            DatabaseKind::Sqlite => None,
            DatabaseKind::Mariadb => Some(Server::start(Kind::MariaDb)),
            DatabaseKind::Postgres => Some(Server::start(Kind::Postgres)),
        });
        let created = match &server {
            Some(server) => Some(Database::create(&server.admin_url()).await),
            None => None,
        };
        let broker = mosquitto.as_ref().map(|_| proxy.port);
        home.configure(&configuration(broker, created.as_ref().map(|database| database.url.as_str())));
        fs::write(home.path().join("bell.sh"), commands::PROGRAM)?;
        let mut gateway = home.start();
        gateway.wait_for_log(&["flows loaded"]);
        let database = match created {
            Some(database) => database,
            None => Database::sqlite(home.path()).await,
        };
        let endpoint = Endpoint::start(Answer::Status(200));
        for statement in lots::flows(&endpoint.url) {
            database.execute(&statement).await;
        }
        gateway.signal("HUP");
        gateway.wait_for_log(&["flows reloaded", &format!("added={}", lots::FLOWS)]);
        let memory = Memory::watch(gateway.pid());
        let port = mosquitto.as_ref().map_or(home.mqtt, |broker| broker.port);
        let subscriber = Subscriber::start(port, "service", lots::OUT);
        let site = Site {
            gateway: Some(gateway),
            proxy,
            mosquitto,
            server,
            database,
            endpoint,
            subscriber,
            disk,
            home,
            memory,
        };
        until("the gateway is ready", async || site.is_ready().then_some(())).await;
        site.wait_until_subscribed(0).await?;
        Ok(site)
    }

    /// A publisher on the way that devices take.
    pub(super) fn publisher(&self, plan: &Plan) -> Publisher {
        let port = self.mosquitto.as_ref().map_or(self.proxy.port, |broker| broker.port);
        Publisher::start(Options { qos: plan.qos, window: plan.window, ..Options::new(port, "device") })
    }

    /// The running gateway.
    pub(super) fn gateway(&mut self) -> anyhow::Result<&mut Gateway> {
        self.gateway.as_mut().context("the gateway does not run")
    }

    /// Starts the gateway, which does not run.
    pub(super) fn start_gateway(&mut self) {
        let gateway = self.home.start();
        self.memory.pid.store(gateway.pid(), Ordering::Relaxed);
        self.gateway = Some(gateway);
    }

    /// `kill -9`.
    pub(super) fn kill_gateway(&mut self) -> anyhow::Result<()> {
        let gateway = self.gateway.take().context("the gateway does not run")?;
        self.keep_log("kill -9", &block_in_place(|| gateway.kill()))
    }

    /// The log of a gateway that has ended by itself, if it has.
    pub(super) fn ended(&mut self) -> anyhow::Result<Option<String>> {
        if !self.gateway()?.has_ended() {
            return Ok(None);
        }
        let mut gateway = self.gateway.take().context("the gateway does not run")?;
        let status = gateway.wait();
        let log = gateway.log();
        self.keep_log(&status.to_string(), &log)?;
        Ok(Some(log))
    }

    /// SIGTERM, and an end in order.
    pub(super) fn terminate_gateway(&mut self) -> anyhow::Result<()> {
        let gateway = self.gateway.take().context("the gateway does not run")?;
        let (status, log) = block_in_place(|| gateway.terminate());
        self.keep_log("SIGTERM", &log)?;
        ensure!(status.success(), "the gateway ended with {status}:\n{log}");
        Ok(())
    }

    fn keep_log(&self, end: &str, log: &str) -> anyhow::Result<()> {
        let file = fs::File::options().create(true).append(true).open(self.home.path().join("gateway.log"));
        writeln!(file?, "{log}\n--- {end} ---")?;
        Ok(())
    }

    /// Whether messages can go end to end.
    pub(super) fn is_ready(&self) -> bool {
        block_in_place(|| http::is_ready(self.home.http))
    }

    /// Waits until the subscriber has subscribed more often than that.
    pub(super) async fn wait_until_subscribed(&self, before: u64) -> anyhow::Result<()> {
        let since = Instant::now();
        while self.subscriber.received(|received| received.subscribed) <= before {
            ensure!(since.elapsed() < PATIENCE, "the subscriber does not subscribe");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    pub(super) fn why_not_ready(&self) -> String {
        let answer = http::request(self.home.http, "GET", "/readyz");
        let log = self.gateway.as_ref().map(Gateway::log).unwrap_or_default();
        format!("{answer:?}\n{log}")
    }

    /// The file of the dead letters.
    pub(super) async fn letters(&self) -> anyhow::Result<Database> {
        let file = self.home.path().join("data/dead-letters.db");
        Ok(until("the file of the dead letters", async || Database::try_open(&file).await).await)
    }

    /// Copies everything that could show what went wrong.
    pub(super) fn keep(&self, plan: &Plan) -> anyhow::Result<PathBuf> {
        let name = plan.to_string().replace(", ", "-");
        let name = format!("hearthgate-torture-{name}-{}-{}", plan.seed, std::process::id());
        let folder = std::env::temp_dir().join(name);
        let copied = std::process::Command::new("cp").arg("-a").arg(self.home.path()).arg(&folder).status()?;
        ensure!(copied.success(), "copying to {}", folder.display());
        Ok(folder)
    }

    /// Of any of its gateways, in KiB.
    pub(super) fn peak_memory(&self) -> u64 {
        self.memory.peak.load(Ordering::Relaxed)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.memory.task.abort();
    }
}

/// The default but for short pauses, small files, and an endpoint that is never given up.
fn configuration(broker: Option<u16>, database: Option<&str>) -> String {
    let mqtt = broker.map_or(String::from("[broker]\nenabled = true\n"), |port| {
        format!("[mqtt]\nserver = \"mqtt://127.0.0.1:{port}\"\n")
    });
    let database = database.map_or(String::new(), |url| format!("[database]\nurl = \"{url}\"\n"));
    let pauses = vec!["\"300ms\""; 99].join(", ");
    format!(
        "{mqtt}[mqtt.reconnect]\ninitial = \"50ms\"\nmax = \"500ms\"\n\
         {database}\
         [journal]\nsegment_size = \"4MiB\"\n\
         [endpoints]\nhttp_timeout = \"500ms\"\nretry = [\"0s\", {pauses}]\n[endpoints.breaker]\nrest = \"300ms\"\n\
         [dead_letters]\nmax_messages = 1000000\nmax_size = \"1GiB\"\n\
         [supervision]\nbackoff = \"20ms\"\nmax_backoff = \"200ms\"\nmax_restarts = 100000\n{}",
        commands::SECTION
    )
}

/// The most memory that a gateway has had, looked at again and again since each may be killed at any moment.
struct Memory {
    pid: Arc<AtomicU32>,
    peak: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Memory {
    fn watch(pid: u32) -> Self {
        let pid = Arc::new(AtomicU32::new(pid));
        let peak = Arc::new(AtomicU64::new(0));
        let (of, most) = (Arc::clone(&pid), Arc::clone(&peak));
        let task = tokio::spawn(async move {
            loop {
                if let Some(now) = peak_kib(of.load(Ordering::Relaxed)) {
                    most.fetch_max(now, Ordering::Relaxed);
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        Memory { pid, peak, task }
    }
}

fn peak_kib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    // Between fork and exec the child is still a copy of ourselves.
    if !status.starts_with("Name:\thearthgate") {
        return None;
    }
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}
