//! A flow's templates, tried on the last real message of it that is kept: the newest whose fate is known, or else its
//! newest dead letter.

use super::checks::{FindingWeight, FlowFinding};
use crate::commands::explain;
use crate::commands::gates::is_whole;
use crate::database::dead_letter_options;
use crate::fates;
use hearthgate_domain::flow::{EndpointTarget, Flow, FlowAction};
use hearthgate_settings::GatewaySettings;
use hearthgate_storage::dead_letters::{DeadLetter, DeadLetterFilter, DeadLetters};
use hearthgate_storage::fates::{FateLog, KeptFate};

/// How many of the newest letters are looked at.
const LETTERS: u32 = 10;

/// What fails of the flow's templates. Nothing is said where no message is kept, or the letters can't be read.
pub(crate) async fn sample_findings(flow: &Flow, settings: &GatewaySettings) -> Vec<FlowFinding> {
    if !has_templates(flow) {
        return Vec::new();
    }
    if let Some(KeptFate { topic, payload, .. }) = newest_fate(flow, settings) {
        return failures(flow, &format!("the last message that is kept, of {topic}"), (&topic, &payload), settings);
    }
    let Some(DeadLetter { id, letter, .. }) = newest_letter(flow, settings).await else { return Vec::new() };
    let name = format!("the dead letter {id}, the last message that is kept");
    failures(flow, &name, (&letter.topic, &letter.payload), settings)
}

/// What of its templates fails on a message.
fn failures(flow: &Flow, name: &str, (topic, payload): (&str, &[u8]), settings: &GatewaySettings) -> Vec<FlowFinding> {
    let answer = explain::of_flow(flow, topic, payload, 1, &settings.flows);
    let failures = answer["actions"].as_array().into_iter().flatten().filter_map(|action| action["error"].as_str());
    let finding =
        |error| FlowFinding::of(flow, FindingWeight::Doubtful, format!("a template fails on {name}: {error}"));
    failures.map(finding).collect()
}

fn newest_fate(flow: &Flow, settings: &GatewaySettings) -> Option<KeptFate> {
    let path = fates::file(&settings.gateway.state_dir);
    FateLog::read(&path, 1, |fate| is_whole(fate, flow)).ok()?.pop()
}

fn has_templates(flow: &Flow) -> bool {
    let of_endpoint = |endpoint: &EndpointTarget| endpoint.url_template.is_some() || endpoint.body_template.is_some();
    flow.endpoint.as_ref().is_some_and(of_endpoint)
        || flow.actions.iter().any(|action| matches!(action, FlowAction::Publish { .. }))
}

async fn newest_letter(flow: &Flow, settings: &GatewaySettings) -> Option<DeadLetter> {
    let options = dead_letter_options(settings);
    if !options.path.exists() {
        return None;
    }
    let letters = DeadLetters::open(&options).await.ok()?;
    let filter = DeadLetterFilter { flow_code: Some(flow.code.to_string()), ..DeadLetterFilter::default() };
    let listed = letters.list(&filter, LETTERS).await.unwrap_or_default();
    let newest = listed.iter().find(|letter| flow.topic.filter().matches(&letter.letter.topic));
    // A list has the beginnings of payloads only.
    let whole = match newest {
        Some(letter) => letters.get(letter.id).await.ok().flatten(),
        None => None,
    };
    letters.close().await;
    whole
}
