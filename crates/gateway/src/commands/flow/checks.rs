//! What is asked of a flow before it is let in, and of those that are there: one set for `check`, `flow add`, `edit`,
//! `enable`, `import`, `copy` and the API.

use crate::commands::flow::listeners::topic_doubts;
use crate::exit::CommandFailure;
use crate::wiring::secrets::find_secret;
use hearthgate_actors::flows::poster::body_purpose;
use hearthgate_actors::flows::{FlowCompileError, catalog};
use hearthgate_domain::flow::{EndpointAuth, Flow, FlowAction, FlowRow, HeaderValue, SecretRef};
use hearthgate_domain::routing::{describe_circle, find_circles};
use hearthgate_endpoints::is_host_allowed;
use hearthgate_endpoints::template::{BodyTemplate, TemplatePurpose};
use hearthgate_settings::GatewaySettings;
use hearthgate_storage::sql::{Database, TypedTable};
use std::sync::Arc;
use url::Url;

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FindingWeight {
    /// The flow can't do what it says: it is not let in.
    Broken,
    /// Something that it needs is not there now, and may be there when it runs.
    Missing,
    /// It can run, and may not be meant so.
    Doubtful,
}

/// One thing wrong or doubtful about a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FlowFinding {
    /// Its code; none for what concerns several.
    pub(crate) code: Option<Box<str>>,
    /// How much it weighs.
    pub(crate) weight: FindingWeight,
    /// What, where, and what helps.
    pub(crate) text: String,
}

impl FlowFinding {
    pub(super) fn of(flow: &Flow, weight: FindingWeight, text: impl Into<String>) -> Self {
        FlowFinding { code: Some((&*flow.code).into()), weight, text: text.into() }
    }
}

/// Why a flow is not let in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FlowRefusal {
    /// It can't be compiled, or its table can't be.
    #[error(transparent)]
    Compile(#[from] FlowCompileError),
    /// A template that can't be read.
    #[error("flow {code:?}, {problem}")]
    Template {
        /// Its code.
        code: String,
        /// Where, what, and what helps.
        problem: String,
    },
    /// It can't be beside the others.
    #[error("{0}")]
    Among(String),
}

impl From<FlowRefusal> for CommandFailure {
    fn from(refusal: FlowRefusal) -> Self {
        CommandFailure::Refused(refusal.to_string())
    }
}

/// The row as a flow that can run: compiled, with its table, its history and its templates.
///
/// # Errors
/// The first thing that is wrong with it, with its code and place.
pub(crate) fn compile_flow(row: &FlowRow) -> Result<Flow, FlowRefusal> {
    let flow = catalog::compile(row.clone())?;
    match template_problems(&flow).into_iter().next() {
        Some(problem) => Err(FlowRefusal::Template { code: flow.code.to_string(), problem }),
        None => Ok(flow),
    }
}

/// Flows that may be let in, and what there is to say of them all the same.
pub(crate) struct FlowAdmission {
    /// In the order in which they were asked for.
    pub(crate) flows: Vec<Flow>,
    /// What is missing or doubtful.
    pub(crate) doubts: Vec<FlowFinding>,
}

/// Checks new and changed flows as they would be beside those that are there. What was wrong among those before is no
/// reason to refuse others.
///
/// # Errors
/// The first thing that keeps one of them from doing what it says.
pub(crate) fn admit_flows(
    rows: &[FlowRow],
    wanted: &[FlowRow],
    settings: &GatewaySettings,
) -> Result<FlowAdmission, FlowRefusal> {
    let flows = wanted.iter().map(compile_flow).collect::<Result<Vec<_>, _>>()?;
    let is_replaced = |row: &&FlowRow| wanted.iter().any(|new| new.id == row.id || new.code == row.code);
    let others = rows.iter().filter(|row| !is_replaced(row));
    let all: Vec<FlowRow> = others.chain(wanted).cloned().collect();
    let before = findings_among(rows);
    let mut doubts: Vec<FlowFinding> =
        flows.iter().filter(|flow| flow.enabled).flat_map(|flow| findings_of_flow(flow, settings)).collect();
    doubts.extend(findings_among(&all).into_iter().filter(|finding| !before.contains(finding)));
    match doubts.iter().find(|finding| finding.weight == FindingWeight::Broken) {
        Some(finding) => Err(FlowRefusal::Among(finding.text.clone())),
        None => Ok(FlowAdmission { flows, doubts }),
    }
}

/// All that can be said of a flow by itself, without the database.
pub(crate) fn findings_of_flow(flow: &Flow, settings: &GatewaySettings) -> Vec<FlowFinding> {
    let finding = |weight: FindingWeight| move |text: String| FlowFinding::of(flow, weight, text);
    let mut findings: Vec<FlowFinding> =
        template_problems(flow).into_iter().map(finding(FindingWeight::Broken)).collect();
    findings.extend(host_problem(flow, settings).map(finding(FindingWeight::Missing)));
    findings.extend(notifier_problems(flow, settings).into_iter().map(finding(FindingWeight::Missing)));
    findings.extend(secret_problems(flow, settings).into_iter().map(finding(FindingWeight::Missing)));
    findings.extend(topic_doubts(flow, settings).into_iter().map(finding(FindingWeight::Doubtful)));
    findings.extend(flow.schema.warnings().iter().cloned().map(finding(FindingWeight::Doubtful)));
    findings
}

/// What several flows are together: circles, tables whose columns differ, topics that are stored twice. Those that can't be
/// compiled and those that are off count for nothing.
pub(crate) fn findings_among(rows: &[FlowRow]) -> Vec<FlowFinding> {
    let flows: Vec<Flow> = rows.iter().filter_map(|row| catalog::compile(row.clone()).ok()).collect();
    let flows: Vec<&Flow> = flows.iter().filter(|flow| flow.enabled).collect();
    let circle = |circle: &Vec<&Flow>| FlowFinding {
        code: None,
        weight: FindingWeight::Broken,
        text: format!(
            "{} publish to each other, without end; change the topic of one of them",
            describe_circle(circle)
        ),
    };
    let mut findings: Vec<FlowFinding> = find_circles(&flows).iter().map(circle).collect();
    // Each table is made once, and not for each pair. One that can't be was refused before.
    let with_table = |flow: &&'_ Flow| TypedTable::of(flow).ok().flatten();
    let tables: Vec<Option<Arc<TypedTable>>> = flows.iter().map(with_table).collect();
    for (index, flow) in flows.iter().enumerate() {
        for (place, other) in flows.iter().enumerate().skip(index + 1) {
            if let (Some(table), Some(theirs)) = (&tables[index], &tables[place]) {
                findings.extend(table_conflict((flow, table), (other, theirs)));
            }
            findings.extend(stored_twice(flow, other));
        }
    }
    findings
}

/// What keeps readings out of the flow's own table, if it has one and the gateway can't mend it.
pub(crate) async fn table_finding(database: &Database, flow: &Flow) -> Option<FlowFinding> {
    // A table that can't be was refused before.
    let Ok(Some(table)) = TypedTable::of(flow) else { return None };
    let why = match database.check_table(&table).await {
        Ok(problem) => problem?.replace("CODE", &flow.code),
        Err(error) => error.to_string(),
    };
    let text = format!("options.table: {}: {why}", table.name());
    Some(FlowFinding::of(flow, FindingWeight::Missing, text))
}

/// What keeps the flow's templates from being read: each message would become a dead letter.
fn template_problems(flow: &Flow) -> Vec<String> {
    let mut templates: Vec<(&str, &str, TemplatePurpose)> = Vec::new();
    if let Some(endpoint) = &flow.endpoint {
        templates
            .extend(endpoint.url_template.as_deref().map(|text| ("options.url_template", text, TemplatePurpose::Url)));
        let body = endpoint.body_template.as_deref();
        templates.extend(body.map(|text| ("options.body_template", text, body_purpose(endpoint, text))));
    }
    for action in &flow.actions {
        if let FlowAction::Notify { title_template, text_template, .. } = action {
            let told = title_template.iter().chain(text_template);
            templates.extend(
                told.map(|text| ("options.actions, a template of NOTIFY", text.as_str(), TemplatePurpose::Body)),
            );
        }
        if let FlowAction::Publish { topic, payload_template, .. } = action {
            templates.push(("options.actions, the topic of PUBLISH", topic, TemplatePurpose::Body));
            let payload = payload_template.as_deref();
            templates.extend(payload.map(|text| {
                ("options.actions, the payload_template of PUBLISH", text, TemplatePurpose::of_body(text, None))
            }));
        }
    }
    let problem = |(field, text, purpose): (&str, &str, TemplatePurpose)| {
        BodyTemplate::new(text, purpose)
            .err()
            .map(|error| format!("{field}: {error}; mend it with `hearthgate flow edit`"))
    };
    let mut problems: Vec<String> = templates.into_iter().filter_map(problem).collect();
    let notices = flow.silence.as_ref().and_then(|silence| silence.notices.as_ref());
    problems.extend(
        notices.iter().flat_map(|notices| template_problems(notices)).map(|text| format!("silent_actions: {text}")),
    );
    problems
}

/// The secrets of the flow that are not where it says, or that flows may not have.
fn secret_problems(flow: &Flow, settings: &GatewaySettings) -> Vec<String> {
    let Some(endpoint) = &flow.endpoint else { return Vec::new() };
    let mut secrets: Vec<&SecretRef> = endpoint.webhook_secret.iter().chain(&endpoint.authority).collect();
    secrets.extend(endpoint.auth.iter().map(|auth| match auth {
        EndpointAuth::Bearer(secret) | EndpointAuth::Basic { password: secret, .. } => secret,
    }));
    secrets.extend(endpoint.headers.iter().filter_map(|(_, value)| match value {
        HeaderValue::Secret { secret } => Some(secret),
        HeaderValue::Text(_) => None,
    }));
    let problem = |secret| find_secret(secret, &settings.secrets).err().map(|error| error.to_string());
    secrets.into_iter().filter_map(problem).collect()
}

/// Whom the flow is to tell, and the configuration does not know.
fn notifier_problems(flow: &Flow, settings: &GatewaySettings) -> Vec<String> {
    let unknown = flow.actions.iter().filter_map(|action| match action {
        FlowAction::Notify { to, .. } if !settings.notify.contains_key(to) => Some(to),
        _ => None,
    });
    unknown
        .map(|to| format!("options.actions: NOTIFY to {to}: there is no [notify.{to}]; add it to the configuration"))
        .collect()
}

/// A host that the configuration does not let the gateway call.
fn host_problem(flow: &Flow, settings: &GatewaySettings) -> Option<String> {
    let url = flow.endpoint.as_ref().and_then(|endpoint| Url::parse(&endpoint.url).ok())?;
    let host = url.host_str().unwrap_or_default();
    (!is_host_allowed(&settings.endpoints.allow_hosts, &url))
        .then(|| format!("endpoint_url: {host} is not in endpoints.allow_hosts; add it there"))
}

fn table_conflict((flow, table): (&Flow, &TypedTable), (other, theirs): (&Flow, &TypedTable)) -> Option<FlowFinding> {
    let column = table.conflict(theirs)?;
    let text = format!(
        "options.table: {} has the column {column} with another type in the flow {}; give them one type, or two tables",
        table.name(),
        other.code
    );
    Some(FlowFinding::of(flow, FindingWeight::Doubtful, text))
}

/// Two flows that put one message into one table.
fn stored_twice(flow: &Flow, other: &Flow) -> Option<FlowFinding> {
    let (ours, theirs) = (flow.store.as_ref()?, other.store.as_ref()?);
    if !flow.topic.filter().overlaps(other.topic.filter()) {
        return None;
    }
    let table = match (&ours.table, &theirs.table) {
        (Some(table), Some(known)) if table.eq_ignore_ascii_case(known) => table,
        _ if ours.attributes && theirs.attributes => "data",
        _ => return None,
    };
    let text = format!("the flow {} takes messages that this one takes too: both store them in {table}", other.code);
    Some(FlowFinding::of(flow, FindingWeight::Doubtful, text))
}
