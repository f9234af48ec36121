//! Messages as they pass.

use crate::fates::{FateSieve, view as fate_view};
use hearthgate_actors::traffic::{FateKeeper, TopicBranch, TrafficTap};
use hearthgate_api::wire::{FateList, FateQuestion, TopicLevel, TopicView};
use hearthgate_api::{SubjectAnswer, SubjectFailure, TrafficView};
use hearthgate_domain::fate::MessageFate;
use std::sync::Arc;
use tokio::sync::broadcast;

/// Branches of one level.
const MOST: usize = 1_000;

pub(super) struct TrafficSubject {
    pub(super) traffic: TrafficTap,
    pub(super) fates: Option<FateKeeper>,
}

impl TrafficView for TrafficSubject {
    fn watch(&self) -> broadcast::Receiver<Arc<MessageFate>> {
        self.traffic.watch()
    }

    fn topics(&self, under: &str) -> TopicLevel {
        let level = self.traffic.level(under, MOST);
        TopicLevel {
            topics: level.branches.into_iter().map(|branch| view(under, branch)).collect(),
            left_out: level.left_out,
            known: level.known,
            unnoticed: level.unnoticed,
        }
    }

    fn fates(&self, question: FateQuestion) -> SubjectAnswer<FateList> {
        let keeper = self.fates.clone();
        Box::pin(async move {
            let keeper = keeper.ok_or_else(|| {
                SubjectFailure::Unavailable("fates are not kept: the log of the gateway's start says why".into())
            })?;
            let most = question.limit.map_or(usize::MAX, |limit| limit as usize);
            let sieve = FateSieve::new(question).map_err(|error| SubjectFailure::Invalid(format!("topic: {error}")))?;
            let found = tokio::task::spawn_blocking(move || keeper.newest(most, |fate| sieve.passes(fate)));
            let found = found.await.map_err(super::common::unavailable)?;
            Ok(FateList { fates: found.into_iter().map(fate_view).collect() })
        })
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
