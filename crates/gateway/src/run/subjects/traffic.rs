//! Messages as they pass.

use hearthgate_actors::traffic::{TopicBranch, TrafficTap};
use hearthgate_api::TrafficView;
use hearthgate_api::wire::{TopicLevel, TopicView};
use hearthgate_domain::fate::MessageFate;
use std::sync::Arc;
use tokio::sync::broadcast;

/// Branches of one level.
const MOST: usize = 1_000;

pub(super) struct TrafficSubject(pub(super) TrafficTap);

impl TrafficView for TrafficSubject {
    fn watch(&self) -> broadcast::Receiver<Arc<MessageFate>> {
        self.0.watch()
    }

    fn topics(&self, under: &str) -> TopicLevel {
        let level = self.0.level(under, MOST);
        TopicLevel {
            topics: level.branches.into_iter().map(|branch| view(under, branch)).collect(),
            left_out: level.left_out,
            known: level.known,
            unnoticed: level.unnoticed,
        }
    }
}

fn view(under: &str, branch: TopicBranch) -> TopicView {
    let topic = if under.is_empty() { branch.name.clone() } else { format!("{under}/{}", branch.name) };
    TopicView {
        name: branch.name,
        topic,
        children: branch.children,
        messages: branch.messages,
        last_at: Some(crate::run::subjects::common::time(branch.last_at)),
        value: branch.last.map(|last| String::from_utf8_lossy(&last).into_owned()),
        retained: branch.is_retained,
        numbers: branch.numbers.into_iter().map(f64::from).collect(),
    }
}
