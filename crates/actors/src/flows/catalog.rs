//! CatalogActor: keeps the connection to the SQL database and the flows that are in it.
//!
//! Flows are reloaded by difference: a flow that did not change stays the very same object, so nothing that is under way is
//! disturbed. A reload that fails keeps the old set. Without the database the last known flows are used, from a file.

use crate::backoff::RestartDelay;
use crate::condition::Condition;
use crate::flows::known_flows::KnownFlows;
use crate::flows::lineage::DatabaseLineage;
use crate::flows::refusal::{FlowCompileError, ReloadFailure};
use crate::messages::{ReloadFlows, ReplaceFlows};
use actix::prelude::*;
use hearthgate_domain::flow::{Flow, FlowRow};
use hearthgate_domain::routing::{RestingFlow, RoutingTable, describe_circle, find_circles};
use hearthgate_storage::journal;
use hearthgate_storage::sql::{ChangeNotifications, Database, DatabaseOptions, FlowHistory, MqttServer, TypedTable};
use hearthgate_supervision::{ActorExit, ActorFailure};
use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, oneshot, watch};
use tracing::{error, info, warn};

/// How long somebody who asks for a reload waits for its end.
const RELOAD_PATIENCE: Duration = Duration::from_secs(10);

/// What the actor works with.
#[derive(Clone)]
pub struct CatalogDeps {
    /// How to reach the database.
    pub options: DatabaseOptions,
    /// Told when there is a connection.
    pub database: watch::Sender<Option<Database>>,
    /// Who routes by the flows.
    pub router: Recipient<ReplaceFlows>,
    /// The gateway's own flows, for its notices.
    pub own: Vec<Arc<Flow>>,
    /// Time between reloads.
    pub reload_interval: Duration,
    /// The last known flows, for a start without the database.
    pub cache: PathBuf,
    /// Which database it was, to notice another one.
    pub identity: PathBuf,
    /// What waits in it is for the flows of the database from last time.
    pub journal: journal::JournalHandle,
    /// Flows that could not be loaded, each with the reason.
    pub unloadable: watch::Sender<Vec<(String, String)>>,
    /// Why the flows may be out of date, for readiness; empty when all is well.
    pub trouble: Condition,
    /// Told which broker the table `mqtt_servers` names, when that is to be known.
    pub server: Option<watch::Sender<Option<MqttServer>>>,
}

/// See the module.
pub struct CatalogActor {
    deps: CatalogDeps,
    exit: ActorExit,
    asked: Asked,
}

/// Those who asked for a reload and wait for its end.
#[derive(Clone, Default)]
struct Asked {
    wake: Rc<Notify>,
    waiting: Rc<RefCell<Vec<Waiting>>>,
}

type Waiting = oneshot::Sender<Result<(), ReloadFailure>>;

impl Asked {
    fn answer(waiting: Vec<Waiting>, answer: &Result<(), ReloadFailure>) {
        for one in waiting {
            // Who is gone doesn't want to know.
            let _ = one.send(answer.clone());
        }
    }
}

impl CatalogActor {
    /// An actor that connects as soon as it is started.
    #[must_use]
    pub fn new(deps: CatalogDeps, exit: ActorExit) -> Self {
        CatalogActor { deps, exit, asked: Asked::default() }
    }
}

impl Actor for CatalogActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let deps = self.deps.clone();
        let known = KnownFlows::read(deps.cache.clone());
        let lineage = DatabaseLineage::new(deps.identity.clone(), deps.journal.clone());
        let work = Work { deps, asked: self.asked.clone(), table: None, known, lineage, pace: RestartDelay::new() };
        ctx.spawn(work.run().into_actor(self).map(|end, act, ctx| match end {
            Ok(never) => match never {},
            Err(reason) => act.exit.fail(ctx, reason),
        }));
    }
}

impl Supervised for CatalogActor {}

impl Handler<ReloadFlows> for CatalogActor {
    type Result = ResponseFuture<Result<(), ReloadFailure>>;

    fn handle(&mut self, _: ReloadFlows, _: &mut Self::Context) -> Self::Result {
        let (done, answer) = oneshot::channel();
        self.asked.waiting.borrow_mut().push(done);
        self.asked.wake.notify_one();
        let trouble = self.deps.trouble.clone();
        Box::pin(async move {
            match tokio::time::timeout(RELOAD_PATIENCE, answer).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(ReloadFailure::Restarted),
                Err(_) => Err(ReloadFailure::NotYet(trouble.reason())),
            }
        })
    }
}

struct Work {
    deps: CatalogDeps,
    asked: Asked,
    /// The flows in force; none before the first load.
    table: Option<Arc<RoutingTable>>,
    known: KnownFlows,
    lineage: DatabaseLineage,
    pace: RestartDelay,
}

impl Work {
    async fn run(mut self) -> Result<std::convert::Infallible, ActorFailure> {
        loop {
            let database = self.connect().await?;
            self.serve(&database).await?;
            // It was not the one from last time, which may be back by now, under the same name.
            database.close().await;
            self.pace.pause().await;
        }
    }

    /// Follows the flows of a database for ever, unless nothing may be written to it.
    async fn serve(&mut self, database: &Database) -> Result<(), ActorFailure> {
        let mut changes = None;
        let mut is_examined = self.deps.database.borrow().is_some();
        let mut loaded = None;
        loop {
            if changes.is_none() {
                changes = database.changes().await.unwrap_or_else(|reason| {
                    warn!(%reason, "changes of the flows are not told at once; they are found at the next reload");
                    None
                });
            }
            let waiting = self.asked.waiting.take();
            // Before the flows are read, so that what changes meanwhile is found the next time. An error shows again below.
            let mark = database.change_mark().await.ok();
            if waiting.is_empty() && mark.is_some() && mark == loaded {
                changes = self.wait(changes).await;
                continue;
            }
            loaded = None;
            match database.load_flows().await {
                Ok(rows) => {
                    if !is_examined && let Err(doubt) = self.lineage.examine(database, &rows, self.known.rows()).await {
                        let reason = doubt.to_string();
                        if self.deps.trouble.is_news(&reason) {
                            error!(%reason, "the database is not used");
                        }
                        self.start_with_known().await?;
                        Asked::answer(waiting, &Err(ReloadFailure::ForeignDatabase(reason)));
                        return Ok(());
                    }
                    is_examined = true;
                    self.pace.reset();
                    self.name_server(database).await;
                    self.apply(rows).await?;
                    // Only now: whoever writes must know the flows of what the journal holds from the last run.
                    if self.deps.database.borrow().is_none() {
                        self.deps.database.send_replace(Some(database.clone()));
                    }
                    Asked::answer(waiting, &Ok(()));
                    if self.deps.trouble.reason().is_empty() {
                        loaded = mark;
                    }
                }
                Err(reason) => {
                    let failure = ReloadFailure::Database(reason.to_string());
                    self.report(&failure.to_string());
                    Asked::answer(waiting, &Err(failure));
                    self.pace.pause().await;
                    continue;
                }
            }
            changes = self.wait(changes).await;
        }
    }

    /// Tells which broker to be connected to. One that can not be told (no row is enabled) leaves the old one.
    async fn name_server(&self, database: &Database) {
        let Some(server) = &self.deps.server else { return self.tell_recovery() };
        match database.mqtt_server().await {
            Ok(row) => {
                self.tell_recovery();
                server.send_if_modified(|known| {
                    let is_news = known.as_ref() != Some(&row);
                    *known = Some(row);
                    is_news
                });
            }
            Err(reason) => self.report(&reason.to_string()),
        }
    }

    /// Connects, however long it takes; the last known flows are used meanwhile.
    async fn connect(&mut self) -> Result<Database, ActorFailure> {
        let mut pace = RestartDelay::new();
        loop {
            match Database::open(&self.deps.options).await {
                Ok(database) => {
                    info!(database = database.label(), "connected to the database");
                    if database.is_exposed() {
                        warn!(
                            database = database.label(),
                            "the connection to the database is not encrypted: who is in between can read and change all of it"
                        );
                    }
                    return Ok(database);
                }
                Err(reason) => {
                    self.report(&reason.to_string());
                    self.start_with_known().await?;
                }
            }
            pace.pause().await;
        }
    }

    /// Uses the flows from last time, unless there are newer ones.
    async fn start_with_known(&mut self) -> Result<(), ActorFailure> {
        if self.table.is_some() || self.known.rows().is_empty() {
            return Ok(());
        }
        let rows = self.known.rows().to_vec();
        info!(flows = rows.iter().filter(|row| row.enabled).count(), "starting with the flows as they were last time");
        self.apply(rows).await
    }

    /// Waits until the flows should be looked at again. Answers the notifications, unless they have ended.
    async fn wait(&self, mut changes: Option<ChangeNotifications>) -> Option<ChangeNotifications> {
        let notified = async {
            match &mut changes {
                Some(changes) => changes.next().await,
                None => std::future::pending().await,
            }
        };
        let is_open = tokio::select! {
            () = tokio::time::sleep(self.deps.reload_interval) => true,
            () = self.asked.wake.notified() => true,
            notified = notified => notified.is_ok(),
        };
        changes.filter(|_| is_open)
    }

    /// Compiles what is new or changed, and hands over and keeps the new table if anything did change.
    async fn apply(&mut self, rows: Vec<FlowRow>) -> Result<(), ActorFailure> {
        let mut unloadable = Vec::new();
        let mut flows = Vec::with_capacity(rows.len());
        let mut resting = Vec::new();
        let mut rows = self.known.with_removed(rows);
        for row in &mut rows {
            let (id, code) = (row.id, row.code.clone());
            let same = self.table.as_ref().and_then(|table| table.unchanged(row)).cloned();
            let compiled = match same {
                Some(same) => Ok(same),
                None => compile(row.clone()).map(Arc::new),
            };
            match compiled {
                Ok(flow) if row.enabled => {
                    let is_known = self.table.as_ref().is_some_and(|table| table.flow(id) == Some(&flow));
                    for warning in flow.schema.warnings().iter().filter(|_| !is_known) {
                        warn!(flow = %code, %warning, "doubtful schema");
                    }
                    flows.push(flow);
                }
                Ok(flow) => resting.push(RestingFlow { id, code, flow: Some(flow) }),
                Err(_) if !row.enabled => resting.push(RestingFlow { id, code, flow: None }),
                Err(reason) => match self.last_good(row) {
                    Some((good, flow)) => {
                        unloadable.push((code, format!("{reason}; it goes on as it was before")));
                        *row = good;
                        flows.push(flow);
                    }
                    None => {
                        unloadable.push((code.clone(), reason.to_string()));
                        resting.push(RestingFlow { id, code, flow: None });
                    }
                },
            }
        }
        self.report_unloadable(unloadable);
        let table = Arc::new(RoutingTable::new(flows).with_resting(resting).with_own(self.deps.own.clone()));
        if let Some(old) = &self.table {
            let difference = table.difference(old);
            if difference.is_empty() && table.rests_as(old) {
                return Ok(());
            }
            if !difference.is_empty() {
                info!(
                    added = difference.added.len(),
                    removed = difference.removed.len(),
                    changed = difference.changed.len(),
                    "flows reloaded"
                );
            }
        } else {
            info!(flows = table.flows().len(), "flows loaded");
        }
        let flows: Vec<&Flow> = table.flows().iter().map(|flow| &**flow).collect();
        for circle in find_circles(&flows) {
            let circle = describe_circle(&circle);
            warn!(%circle, "flows publish to each other; their messages are stopped after some rounds");
        }
        let sent = self.deps.router.send(ReplaceFlows(Arc::clone(&table))).await;
        sent.map_err(|_| ActorFailure::dependency("the router did not take the flows"))?;
        self.table = Some(table);
        self.known.keep(rows);
        Ok(())
    }

    /// An enabled flow as it was when it could be loaded, in this run or the one before.
    fn last_good(&self, row: &FlowRow) -> Option<(FlowRow, Arc<Flow>)> {
        let good = self.known.row(row.id, &row.code).filter(|good| good.enabled)?;
        if let Some(flow) = self.table.as_ref().and_then(|table| table.unchanged(good)) {
            return Some((good.clone(), Arc::clone(flow)));
        }
        compile(good.clone()).ok().map(|flow| (good.clone(), Arc::new(flow)))
    }

    fn report_unloadable(&self, unloadable: Vec<(String, String)>) {
        self.deps.unloadable.send_if_modified(|known| {
            for (flow, reason) in unloadable.iter().filter(|found| !known.contains(found)) {
                error!(%flow, %reason, "flow not loaded");
            }
            let is_changed = *known != unloadable;
            *known = unloadable;
            is_changed
        });
    }

    fn tell_recovery(&self) {
        if let Some(lasted) = self.deps.trouble.clear() {
            info!("the flows are read from the database again after {lasted}");
        }
    }

    fn report(&self, reason: &str) {
        if self.deps.trouble.is_news(reason) {
            warn!(%reason, "database trouble; trying again");
        }
    }
}

/// A flow that can run, with a table of its own that can be, if it wants one.
///
/// # Errors
/// The flow's field or the table's column at fault.
pub fn compile(row: FlowRow) -> Result<Flow, FlowCompileError> {
    let flow = Flow::compile(row)?;
    let code = || flow.code.to_string();
    TypedTable::of(&flow).map_err(|reason| FlowCompileError::Table { code: code(), reason })?;
    FlowHistory::of(&flow).map_err(|reason| FlowCompileError::History { code: code(), reason })?;
    Ok(flow)
}
