//! A flow's templates, tried on the last real message of it that is kept: its newest dead letter that fits.

use super::checks::{FindingWeight, FlowFinding};
use crate::commands::explain;
use crate::database::dead_letter_options;
use hearthgate_domain::flow::{EndpointTarget, Flow, FlowAction};
use hearthgate_settings::GatewaySettings;
use hearthgate_storage::dead_letters::{DeadLetter, DeadLetterFilter, DeadLetters};

/// How many of the newest letters are looked at.
const LETTERS: u32 = 10;

/// What fails of the flow's templates. Nothing is said where no message is kept, or the letters can't be read.
pub(crate) async fn sample_findings(flow: &Flow, settings: &GatewaySettings) -> Vec<FlowFinding> {
    if !has_templates(flow) {
        return Vec::new();
    }
    let Some(letter) = newest_letter(flow, settings).await else { return Vec::new() };
    let DeadLetter { id, letter, .. } = letter;
    let answer = explain::of_flow(flow, &letter.topic, &letter.payload, 1, &settings.flows);
    let failures = answer["actions"].as_array().into_iter().flatten().filter_map(|action| action["error"].as_str());
    let finding = |error: &str| {
        let text = format!("a template fails on the dead letter {id}, the last message that is kept: {error}");
        FlowFinding::of(flow, FindingWeight::Doubtful, text)
    };
    failures.map(finding).collect()
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
