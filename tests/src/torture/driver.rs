//! Carries a plan out: injects its faults one after the other, some of which last while others happen.

use super::load::Load;
use super::lots;
use super::plan::{BrokerKind, Fault, Plan};
use super::report::{Outcome, Times};
use super::site::Site;
use super::verdict;
use crate::PATIENCE;
use crate::database::Locked;
use crate::endpoint::Answer;
use crate::http;
use anyhow::{Context, ensure};
use fastrand::Rng;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};
use tokio::task::block_in_place;

const PARTS: [&str; 7] = ["mqtt", "mapper", "router", "writer", "poster", "dead_letters", "supervisor"];
/// Nothing moves for so long: it is stuck.
const STUCK: Duration = Duration::from_secs(30);
/// Longer than the age at which a command is carried out.
const AWAY: Duration = Duration::from_secs(4);

pub(super) async fn run(plan: &Plan) -> anyhow::Result<Outcome> {
    let mut random = Rng::with_seed(plan.seed);
    let schedule = plan.schedule(&mut random);
    let site = Site::start(plan).await?;
    let load = Load::start(site.publisher(plan), plan);
    let mut driver = Driver {
        plan,
        random,
        site,
        load,
        windows: Vec::new(),
        forgotten: Vec::new(),
        restarts: Vec::new(),
        injected: BTreeMap::new(),
        skipped: BTreeMap::new(),
        unexpected_ends: 0,
        disk_was_full: false,
    };
    match driver.carry_out(&schedule).await {
        Ok(outcome) if outcome.is_clean() => Ok(outcome),
        Ok(mut outcome) => {
            outcome.kept = Some(driver.site.keep(plan)?);
            Ok(outcome)
        }
        Err(reason) => {
            let kept = driver.site.keep(plan)?;
            Err(reason.context(format!(
                "{plan}, seed {}; the gateway's folder is kept in {}",
                plan.seed,
                kept.display()
            )))
        }
    }
}

/// A fault that lasts.
enum Window {
    Server,
    Lock(Locked),
    Endpoint,
    Disk,
    Closed,
}

pub(super) struct Driver<'a> {
    pub(super) plan: &'a Plan,
    random: Rng,
    pub(super) site: Site,
    pub(super) load: Load,
    windows: Vec<(Instant, Window)>,
    /// Messages that Mosquitto forgot together with our session.
    pub(super) forgotten: Vec<Range<u64>>,
    restarts: Vec<Duration>,
    injected: BTreeMap<String, usize>,
    skipped: BTreeMap<String, usize>,
    unexpected_ends: usize,
    /// At some time since the gateway was started.
    disk_was_full: bool,
}

impl Driver<'_> {
    async fn carry_out(&mut self, schedule: &[Fault]) -> anyhow::Result<Outcome> {
        let since = Instant::now();
        for (index, fault) in schedule.iter().enumerate() {
            let pause = self.millis(20..300);
            self.wait(pause).await?;
            self.inject(*fault)
                .await
                .with_context(|| format!("fault {} of {}: {fault:?}", index + 1, schedule.len()))?;
            if self.plan.verbose && (index + 1) % 25 == 0 {
                self.tell(&format!("{} of {} faults", index + 1, schedule.len())).await;
            }
        }
        let mut told = Instant::now();
        while self.load.sent() < self.plan.messages {
            self.wait(Duration::from_millis(200)).await?;
            if self.plan.verbose && told.elapsed() > Duration::from_secs(10) {
                self.tell("no more faults").await;
                told = Instant::now();
            }
        }
        self.end_windows(|_| true).await?;
        self.wait_until_ready().await?;
        self.load.pause(STUCK).await.context("the publisher waits in vain")?;
        let mut outcome = verdict::wait_and_count(self).await?;
        self.site.terminate_gateway()?;
        outcome.restarts = Times::of(&self.restarts);
        outcome.peak_kib = self.site.peak_memory();
        outcome.unexpected_ends = self.unexpected_ends;
        outcome.injected = std::mem::take(&mut self.injected);
        outcome.skipped = std::mem::take(&mut self.skipped);
        outcome.seconds = since.elapsed().as_secs_f64();
        Ok(outcome)
    }

    async fn tell(&self, what: &str) {
        let account = self.load.publisher.account();
        let stored = self.site.database.try_number("SELECT MAX(last_msg_id) FROM flows").await;
        let stored = stored.map_or("?".to_owned(), |number| number.to_string());
        eprintln!("{what}; {} sent, {} acknowledged, {stored} stored", account.published, account.acknowledged);
    }

    fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.random.u64(range))
    }

    /// Time passes; what is due to end meanwhile ends, and a gateway that gave up is started again.
    async fn wait(&mut self, pause: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + pause;
        loop {
            let now = Instant::now();
            self.end_windows(|end| end <= now).await?;
            self.revive().await?;
            if now >= until {
                return Ok(());
            }
            tokio::time::sleep((until - now).min(Duration::from_millis(20))).await;
        }
    }

    /// As the service manager would. It may end by itself only while its disk is full.
    async fn revive(&mut self) -> anyhow::Result<()> {
        while let Some(log) = self.site.ended()? {
            if !self.disk_was_full {
                let last: Vec<&str> = log.lines().rev().take(5).collect();
                eprintln!("the gateway has ended by itself: {}", last.into_iter().rev().collect::<Vec<_>>().join("\n"));
                self.unexpected_ends += 1;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.start_gateway();
        }
        Ok(())
    }

    /// Until messages can go end to end; a gateway that was started on a full disk, and ends, is started again.
    async fn wait_until_ready(&mut self) -> anyhow::Result<Duration> {
        let since = Instant::now();
        while !self.site.is_ready() {
            ensure!(since.elapsed() < PATIENCE, "not ready after {PATIENCE:?}: {}", self.site.why_not_ready());
            self.revive().await?;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(since.elapsed())
    }

    fn start_gateway(&mut self) {
        self.disk_was_full = self.is_disk_full();
        self.site.start_gateway();
    }

    fn is_disk_full(&self) -> bool {
        self.windows.iter().any(|(_, window)| matches!(window, Window::Disk))
    }

    async fn end_windows(&mut self, is_due: impl Fn(Instant) -> bool) -> anyhow::Result<()> {
        let due: Vec<_> = self.windows.extract_if(.., |(end, _)| is_due(*end)).collect();
        for (_, window) in due {
            match window {
                Window::Server => {
                    if let Some(server) = &mut self.site.server {
                        block_in_place(|| server.resume());
                    }
                }
                Window::Lock(lock) => lock.release().await?,
                Window::Endpoint => self.site.endpoint.switch(Answer::Status(200)),
                Window::Disk => self.site.disk.as_ref().context("no disk")?.free()?,
                Window::Closed => self.site.proxy.open(),
            }
        }
        Ok(())
    }

    fn open_window(&mut self, millis: Range<u64>, window: Window) {
        let end = Instant::now() + self.millis(millis);
        self.windows.push((end, window));
    }

    async fn inject(&mut self, fault: Fault) -> anyhow::Result<()> {
        match fault {
            Fault::Kill => self.kill().await?,
            Fault::Stop => self.freeze().await?,
            Fault::Broker => self.restart_broker().await?,
            Fault::BrokerSession => self.forget_session().await?,
            Fault::Database => self.fail_database().await?,
            Fault::Endpoint => {
                let answer = if self.random.bool() { Answer::Hang } else { Answer::Status(503) };
                self.site.endpoint.switch(answer);
                self.open_window(300..2_000, Window::Endpoint);
            }
            Fault::Cut if self.random.bool() => self.site.proxy.cut(),
            Fault::Cut => {
                self.site.proxy.close();
                self.open_window(50..600, Window::Closed);
            }
            Fault::Panic => {
                if !self.fail_an_actor()? {
                    *self.skipped.entry(name(fault)).or_default() += 1;
                    return Ok(());
                }
            }
            Fault::Disk => {
                self.end_windows_like(|window| matches!(window, Window::Disk)).await?;
                self.site.disk.as_ref().context("no disk")?.fill()?;
                self.open_window(300..2_000, Window::Disk);
                self.disk_was_full = true;
            }
        }
        *self.injected.entry(name(fault)).or_default() += 1;
        Ok(())
    }

    async fn end_windows_like(&mut self, is_like: impl Fn(&Window) -> bool) -> anyhow::Result<()> {
        let ends: Vec<Instant> =
            self.windows.iter().filter(|(_, window)| is_like(window)).map(|(end, _)| *end).collect();
        self.end_windows(|end| ends.contains(&end)).await
    }

    /// Now and then once more while it starts, or for longer than a command may wait. How long it takes to be back is told
    /// only when nothing else is wrong.
    async fn kill(&mut self) -> anyhow::Result<()> {
        self.site.kill_gateway()?;
        if self.random.u8(0..20) == 0 {
            tokio::time::sleep(AWAY).await;
        }
        while self.random.u8(0..5) == 0 {
            self.start_gateway();
            let pause = self.millis(0..300);
            tokio::time::sleep(pause).await;
            if self.site.ended()?.is_none() {
                self.site.kill_gateway()?;
            }
        }
        self.start_gateway();
        if self.windows.is_empty() && self.random.u8(0..10) > 0 {
            let restart = self.wait_until_ready().await?;
            self.restarts.push(restart);
        }
        Ok(())
    }

    async fn freeze(&mut self) -> anyhow::Result<()> {
        let pause = self.millis(50..1_000);
        self.revive().await?;
        self.site.gateway()?.signal("STOP");
        tokio::time::sleep(pause).await;
        self.site.gateway()?.signal("CONT");
        Ok(())
    }

    async fn fail_database(&mut self) -> anyhow::Result<()> {
        self.end_windows_like(|window| matches!(window, Window::Server | Window::Lock(_))).await?;
        if let Some(server) = &mut self.site.server {
            let is_kill = self.random.bool();
            block_in_place(|| if is_kill { server.kill() } else { server.stop() });
            self.open_window(200..2_000, Window::Server);
        } else if !self.is_disk_full() {
            let lock = self.site.database.lock().await.context("locking the database")?;
            self.open_window(200..2_000, Window::Lock(lock));
        }
        Ok(())
    }

    /// Whether the binary can do that.
    fn fail_an_actor(&mut self) -> anyhow::Result<bool> {
        let part = self.random.choice(PARTS).context("a part")?;
        let fault = self.random.choice(["panic", "error", "freeze-200"]).context("a fault")?;
        let path = format!("/api/v1/actors/{part}/fault/{fault}");
        // While the gateway starts, nobody answers; then it has enough to do.
        let answer = block_in_place(|| http::request(self.site.home.http, "POST", &path));
        Ok(answer.is_ok_and(|(status, _)| status < 300))
    }

    /// Stopped in order, so that Mosquitto keeps what it owes us; sometimes we are frozen, so that it owes us much. The
    /// publisher has its acknowledgements before: at QoS 1 Mosquitto would take what it sends again for new.
    async fn restart_broker(&mut self) -> anyhow::Result<()> {
        let owes_much = self.random.bool();
        self.revive().await?;
        if owes_much {
            self.site.gateway()?.signal("STOP");
            let pause = self.millis(50..500);
            tokio::time::sleep(pause).await;
        }
        self.load.pause(STUCK).await?;
        let pause = self.millis(0..300);
        let broker = self.site.mosquitto.as_mut().context("no Mosquitto")?;
        block_in_place(|| broker.stop());
        tokio::time::sleep(pause).await;
        block_in_place(|| broker.resume());
        if owes_much {
            self.site.gateway()?.signal("CONT");
        }
        self.load.resume();
        Ok(())
    }

    /// What Mosquitto still owed us when it forgot us is its loss; what we had acknowledged must be there.
    async fn forget_session(&mut self) -> anyhow::Result<()> {
        ensure!(self.plan.broker == BrokerKind::Mosquitto, "only Mosquitto can forget us");
        self.end_windows(|_| true).await?;
        self.wait_until_ready().await?;
        let published = self.load.pause(STUCK).await?;
        self.site.proxy.close();
        let accounted = verdict::wait_until_settled(self).await?;
        if accounted < lots::accounted_before(published) {
            self.forgotten.push(lots::index_behind(accounted)..published);
        }
        let before = self.site.subscriber.received(|received| received.subscribed);
        let broker = self.site.mosquitto.as_mut().context("no Mosquitto")?;
        block_in_place(|| {
            broker.stop();
            broker.forget();
            broker.resume();
        });
        self.site.proxy.forget_session();
        self.site.wait_until_subscribed(before).await?;
        let subscribed = self.site.proxy.seen().subscribed;
        self.site.proxy.open();
        let since = Instant::now();
        while self.site.proxy.seen().subscribed == subscribed {
            ensure!(since.elapsed() < PATIENCE, "it does not subscribe again");
            self.wait(Duration::from_millis(10)).await?;
        }
        self.wait_until_ready().await?;
        self.load.resume();
        Ok(())
    }
}

fn name(fault: Fault) -> String {
    format!("{fault:?}").to_lowercase()
}
