//! The flows in the database. Whatever is written is compiled first, and is in force with the answer.

use super::flow_input::input;
use super::learning::learn;
use super::secrets;
use crate::commands::explain;
use crate::commands::flow::checks;
use crate::run::subjects::common::{database, test_topic, time, unavailable};
use crate::wiring::FlowCommands;
use hearthgate_actors::flows::silence::SilentDevice;
use hearthgate_actors::messages::ReloadFlows;
use hearthgate_actors::traffic::TrafficTap;
use hearthgate_api::wire::{
    FlowFigures, FlowInput, FlowSilence, FlowTest, FlowView, LearnAnswer, LearnWanted, SilentDeviceView,
};
use hearthgate_api::{FlowStore, MetricStore, SubjectAnswer, SubjectFailure};
use hearthgate_domain::flow::{Flow, FlowRow};
use hearthgate_settings::GatewaySettings;
use hearthgate_storage::sql::ErrorKind;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// Silent devices of a flow that are shown.
const MOST_SILENT: usize = 100;
/// Who changes flows here, for the log of changes.
const AUTHOR: &str = "API";

#[derive(Clone)]
pub(super) struct FlowSubject {
    pub(super) flows: FlowCommands,
    pub(super) settings: Arc<GatewaySettings>,
    pub(super) metrics: MetricStore,
    pub(super) traffic: Option<TrafficTap>,
}

impl FlowStore for FlowSubject {
    fn list(&self) -> SubjectAnswer<Vec<FlowView>> {
        let store = self.clone();
        Box::pin(async move { store.all().await })
    }

    fn add(&self, flow: FlowInput) -> SubjectAnswer<FlowView> {
        let store = self.clone();
        Box::pin(async move {
            let database = database(&store.flows.database)?.on_behalf_of(AUTHOR);
            let row = row(flow, None)?;
            compiled(&row)?;
            let rows = database.load_flows().await.map_err(unavailable)?;
            if rows.iter().any(|known| known.code == row.code) {
                return Err(SubjectFailure::Conflict(format!(
                    "there is a flow {} already; choose another code",
                    row.code
                )));
            }
            store.admit(&rows, &row)?;
            database.insert_flow(&row).await.map_err(|error| not_written(&error))?;
            store.in_force(&row.code).await
        })
    }

    fn change(&self, code: String, flow: FlowInput, seen: String) -> SubjectAnswer<FlowView> {
        let store = self.clone();
        Box::pin(async move {
            let database = database(&store.flows.database)?.on_behalf_of(AUTHOR);
            let rows = database.load_flows().await.map_err(unavailable)?;
            let old = find(&rows, &code, &seen)?;
            let row = row(flow, Some(old))?;
            compiled(&row)?;
            if rows.iter().any(|known| known.code == row.code && known.id != row.id) {
                return Err(SubjectFailure::Conflict(format!(
                    "there is a flow {} already; choose another code",
                    row.code
                )));
            }
            store.admit(&rows, &row)?;
            database.update_flow(&row).await.map_err(|error| not_written(&error))?;
            store.in_force(&row.code).await
        })
    }

    fn remove(&self, code: String, seen: String) -> SubjectAnswer<()> {
        let store = self.clone();
        Box::pin(async move {
            let database = database(&store.flows.database)?.on_behalf_of(AUTHOR);
            let rows = database.load_flows().await.map_err(unavailable)?;
            database.remove_flow(find(&rows, &code, &seen)?.id).await.map_err(|error| not_written(&error))?;
            store.reload().await
        })
    }

    fn learn(&self, wanted: LearnWanted) -> SubjectAnswer<LearnAnswer> {
        Box::pin(learn(Arc::clone(&self.settings), wanted))
    }

    fn test(&self, test: FlowTest) -> SubjectAnswer<Value> {
        let settings = Arc::clone(&self.settings);
        Box::pin(async move {
            let flow = compiled(&as_written(test.flow, None))?;
            let topic = test_topic(&flow, test.topic)?;
            Ok(explain::of_flow_with_gate(&flow, &topic, test.payload.as_bytes(), 1, &settings))
        })
    }
}

impl FlowSubject {
    /// As `flow add` does: no flow gets in that can't run beside the others.
    fn admit(&self, rows: &[FlowRow], row: &FlowRow) -> Result<(), SubjectFailure> {
        let admitted = checks::admit_flows(rows, std::slice::from_ref(row), &self.settings);
        admitted.map(drop).map_err(|refusal| SubjectFailure::Invalid(refusal.to_string()))
    }

    async fn all(&self) -> Result<Vec<FlowView>, SubjectFailure> {
        let database = database(&self.flows.database)?;
        let mut rows = database.load_flows().await.map_err(unavailable)?;
        rows.sort_by(|a, b| a.code.cmp(&b.code));
        let mut dead: HashMap<String, u64> = HashMap::new();
        for group in self.flows.dead_letters.groups().await.map_err(unavailable)? {
            *dead.entry(group.flow_code.unwrap_or_default()).or_default() += group.count;
        }
        Ok(rows.into_iter().map(|row| self.view(row, &dead)).collect())
    }

    fn view(&self, row: FlowRow, dead: &HashMap<String, u64>) -> FlowView {
        let labels = [("flow", &*row.code), ("outcome", "ok")];
        let figures = FlowFigures {
            stored: self.metrics.total("hearthgate_flow_stored_messages_total", &labels),
            delivered: self.metrics.total("hearthgate_flow_delivered_messages_total", &labels),
            dead: dead.get(&row.code).copied().unwrap_or_default(),
            silent: self.flows.silence.count_silent(row.id) as u64,
            last_at: self.traffic.as_ref().and_then(|traffic| traffic.last_of(&row.code)).map(time),
        };
        let compiled = compiled(&row);
        let silence = compiled.as_ref().ok().and_then(|flow| self.silence(flow));
        let (version, problem) = (version(&row), compiled.err().map(|error| error.to_string()));
        let waits = self.flows.waiting.reason(row.id);
        FlowView { version, problem, last_msg_id: row.last_msg_id, figures, waits, silence, flow: input(row) }
    }

    fn silence(&self, flow: &Flow) -> Option<FlowSilence> {
        let rule = flow.silence.as_ref()?;
        let view = |SilentDevice { key, since }| SilentDeviceView { key, since: time(since) };
        let devices = self.flows.silence.silent_devices(flow.id, MOST_SILENT);
        Some(FlowSilence { after: rule.after.to_string(), devices: devices.into_iter().map(view).collect() })
    }

    async fn in_force(&self, code: &str) -> Result<FlowView, SubjectFailure> {
        self.reload().await?;
        let all = self.all().await?;
        let found = all.into_iter().find(|view| view.flow.code == code);
        found.ok_or_else(|| SubjectFailure::Conflict(format!("the flow {code} was removed at once by somebody else")))
    }

    async fn reload(&self) -> Result<(), SubjectFailure> {
        let reloaded = self.flows.catalog.send(ReloadFlows).await.map_err(unavailable)?;
        reloaded.map_err(|reason| SubjectFailure::Unavailable(format!("it is stored, and not in force yet: {reason}")))
    }
}

/// Names a version of a flow's definition, across restarts of this program.
fn version(row: &FlowRow) -> String {
    row.fingerprint().to_string()
}

fn find<'a>(rows: &'a [FlowRow], code: &str, seen: &str) -> Result<&'a FlowRow, SubjectFailure> {
    let row = rows.iter().find(|row| row.code == code);
    let row = row.ok_or_else(|| SubjectFailure::Missing(format!("there is no flow {code}")))?;
    if seen == "*" || version(row) == seen { Ok(row) } else { Err(SubjectFailure::Outdated) }
}

fn compiled(row: &FlowRow) -> Result<Flow, SubjectFailure> {
    checks::compile_flow(row).map_err(|refusal| SubjectFailure::Invalid(refusal.to_string()))
}

fn not_written(error: &hearthgate_storage::sql::DatabaseError) -> SubjectFailure {
    match error.kind() {
        ErrorKind::Row => SubjectFailure::Invalid(error.to_string()),
        _ => SubjectFailure::Unavailable(error.to_string()),
    }
}

/// With the secrets that the caller was not shown, and did not change.
fn row(mut flow: FlowInput, old: Option<&FlowRow>) -> Result<FlowRow, SubjectFailure> {
    let old_options = old.and_then(|old| old.options.as_deref()).and_then(|text| serde_json::from_str(text).ok());
    if let Some(options) = &mut flow.options {
        secrets::restore(options, old_options.as_ref()).map_err(SubjectFailure::Invalid)?;
    }
    if let Some(url) = &mut flow.endpoint_url {
        secrets::restore_text(url, old.and_then(|old| old.endpoint_url.as_deref())).map_err(SubjectFailure::Invalid)?;
    }
    Ok(as_written(flow, old))
}

fn as_written(flow: FlowInput, old: Option<&FlowRow>) -> FlowRow {
    let FlowInput { code, description, topic, action, schema, endpoint_url, enabled, options } = flow;
    let (id, last_msg_id) = old.map_or((0, 0), |old| (old.id, old.last_msg_id));
    let options = options.filter(|options| !options.is_null()).map(|options| options.to_string());
    let endpoint_url = endpoint_url.filter(|url| !url.is_empty());
    let payload_schema = schema.to_string();
    FlowRow { id, code, description, topic, action, payload_schema, endpoint_url, last_msg_id, enabled, options }
}
