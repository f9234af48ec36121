//! Calls of endpoints: the last attempts of each flow, and a trial.

use crate::commands::explain;
use crate::commands::flow::checks;
use crate::run::subjects::common::{database, test_topic, time, unavailable};
use crate::wiring::FlowCommands;
use hearthgate_actors::flows::poster::{AttemptEnd, DeliveryAttempt, flow_of_lane};
use hearthgate_actors::messages::TryEndpoint;
use hearthgate_api::wire::{AttemptView, DeliveryTrial, DeliveryView};
use hearthgate_api::{DeliveryStore, SubjectAnswer, SubjectFailure};
use hearthgate_domain::flow::FlowRow;
use hearthgate_domain::retry::BreakerState;
use hearthgate_settings::{GatewaySettings, mask_text};
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Clone)]
pub(super) struct DeliverySubject {
    pub(super) flows: FlowCommands,
    pub(super) settings: Arc<GatewaySettings>,
}

impl DeliveryStore for DeliverySubject {
    fn list(&self) -> SubjectAnswer<Vec<DeliveryView>> {
        let subject = self.clone();
        Box::pin(async move {
            let mut rows = database(&subject.flows.database)?.load_flows().await.map_err(unavailable)?;
            rows.retain(|row| checks::compile_flow(row).is_ok_and(|flow| flow.endpoint.is_some()));
            rows.sort_by(|a, b| a.code.cmp(&b.code));
            let journal = subject.flows.journal.clone();
            let usage = tokio::task::spawn_blocking(move || journal.usage()).await.map_err(unavailable)?;
            let lag = |consumer: &hearthgate_storage::journal::ConsumerUsage| {
                flow_of_lane(&consumer.name).map(|flow| (flow, consumer.lag))
            };
            let behind: HashMap<i64, u64> = usage.consumers.iter().filter_map(lag).collect();
            Ok(rows.iter().map(|row| subject.view(row, behind.get(&row.id).copied().unwrap_or_default())).collect())
        })
    }

    fn test(&self, code: String, trial: DeliveryTrial) -> SubjectAnswer<AttemptView> {
        let subject = self.clone();
        Box::pin(async move {
            let rows = database(&subject.flows.database)?.load_flows().await.map_err(unavailable)?;
            let row = rows.iter().find(|row| row.code == code);
            let row = row.ok_or_else(|| SubjectFailure::Missing(format!("there is no flow {code}")))?;
            let flow = checks::compile_flow(row).map_err(|error| SubjectFailure::Invalid(error.to_string()))?;
            let topic = test_topic(&flow, trial.topic)?;
            let payload = trial.payload.into_bytes();
            let verdict = explain::of_flow(&flow, &topic, &payload, 1, &subject.settings.flows);
            if let Some(error) = verdict["errors"].as_array().and_then(|errors| errors.first()) {
                let reason = error["message"].as_str().unwrap_or_default();
                return Err(SubjectFailure::Invalid(format!("the flow refuses this payload: {reason}")));
            }
            let tried = subject.flows.poster.send(TryEndpoint { code, topic, payload }).await.map_err(unavailable)?;
            tried.map(|attempt| attempt_view(&attempt)).map_err(SubjectFailure::Conflict)
        })
    }
}

impl DeliverySubject {
    fn view(&self, row: &FlowRow, behind: u64) -> DeliveryView {
        let kept = self.flows.attempts.of(&row.code);
        let (breaker, until) = match kept.breaker {
            None | Some(BreakerState::Closed { .. }) => ("closed", None),
            Some(BreakerState::Open { until, .. }) => ("open", Some(time(until))),
            Some(BreakerState::Probing { .. }) => ("probing", None),
        };
        DeliveryView {
            flow: row.code.clone(),
            endpoint: row.endpoint_url.as_deref().map(mask_text).unwrap_or_default(),
            enabled: row.enabled,
            behind,
            breaker: breaker.to_owned(),
            breaker_until: until,
            next_at: kept.next_at.map(time).max(until.filter(|_| kept.next_at.is_some())),
            attempts: kept.attempts.iter().rev().map(attempt_view).collect(),
            left_out: kept.left_out,
        }
    }
}

fn attempt_view(attempt: &DeliveryAttempt) -> AttemptView {
    let outcome = match attempt.end {
        AttemptEnd::Delivered => "delivered",
        AttemptEnd::Retried => "retried",
        AttemptEnd::GivenUp => "given_up",
    };
    AttemptView {
        at: time(attempt.at),
        seq: attempt.seq,
        topic: attempt.topic.to_string(),
        number: attempt.number as u64,
        outcome: outcome.to_owned(),
        status: attempt.status,
        reason: attempt.reason.clone(),
        millis: attempt.took.as_secs_f64() * 1000.0,
    }
}
