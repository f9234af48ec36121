//! When a flow's devices count as silent, and what happens then.

use super::action::FlowAction;
use super::options::FlowOptions;
use super::problem::RowProblem;
use super::{Flow, FlowRow};
use crate::duration::BoundedDuration;
use std::sync::Arc;
use std::time::Duration;

/// The shortest silence.
const SHORTEST: Duration = Duration::from_secs(1);
/// A filter that no topic matches which a flow listens to.
const NO_TOPIC: &str = "$silence";
const PLACE: &str = "options.silent_actions";

/// When a device of a flow counts as silent.
#[derive(Debug, PartialEq, Eq)]
pub struct SilenceRule {
    /// Nothing that counts came for this long.
    pub after: BoundedDuration,
    /// `silent_actions`: a flow that takes a notice through them as another one takes its messages.
    pub notices: Option<Arc<Flow>>,
}

/// Reads the options `silence` and `silent_actions`.
pub(super) fn compile(row: &FlowRow, options: &FlowOptions) -> Result<Option<SilenceRule>, RowProblem> {
    let Some(after) = options.silence else {
        return match options.silent_actions.is_empty() {
            true => Ok(None),
            false => Err((PLACE, "has no effect without silence".to_owned())),
        };
    };
    if after.duration() < SHORTEST {
        return Err(("options.silence", format!("is at least 1s, not {after}")));
    }
    let notices = match options.silent_actions.is_empty() {
        true => None,
        false => Some(Arc::new(notices(row, options)?)),
    };
    Ok(Some(SilenceRule { after, notices }))
}

/// Whether notices are posted to the flow's endpoint.
pub(super) fn posts(options: &FlowOptions) -> bool {
    options.silent_actions.contains(&FlowAction::PostEndpoint {})
}

fn notices(row: &FlowRow, options: &FlowOptions) -> Result<Flow, RowProblem> {
    let actions = &options.silent_actions;
    if actions.contains(&FlowAction::StoreDb {}) {
        return Err((PLACE, "takes POST_ENDPOINT, PUBLISH, NOTIFY and LOG".to_owned()));
    }
    // What is posted is the notice itself: the flow's templates are made for its messages.
    let (action, own) = match posts(options) {
        true => (
            "POST_ENDPOINT",
            FlowOptions {
                actions: actions.iter().filter(|action| **action != FlowAction::PostEndpoint {}).cloned().collect(),
                headers: options.headers.clone(),
                auth: options.auth.clone(),
                webhook_secret: options.webhook_secret.clone(),
                ca: options.ca.clone(),
                timeout: options.timeout,
                retry: options.retry.clone(),
                ..FlowOptions::default()
            },
        ),
        false => (actions[0].name(), FlowOptions { actions: actions.clone(), ..FlowOptions::default() }),
    };
    let own = serde_json::to_string(&own).map_err(|error| (PLACE, error.to_string()))?;
    let row = FlowRow {
        id: row.id,
        code: row.code.clone(),
        topic: NO_TOPIC.to_owned(),
        action: action.to_owned(),
        payload_schema: "{}".to_owned(),
        endpoint_url: row.endpoint_url.clone(),
        enabled: true,
        options: Some(own),
        ..FlowRow::default()
    };
    Flow::compile(row).map_err(|error| (PLACE, format!("{}: {}", error.field, error.problem)))
}
