//! Flows that would fit what passes now, as `flow learn` proposes them.

use super::flow_input::input;
use crate::cli::GuestLogin;
use crate::commands::flow::learn::{self, LearnBounds};
use crate::commands::guest::guest_session;
use crate::run::subjects::common::unavailable;
use hearthgate_api::SubjectFailure;
use hearthgate_api::wire::{FlowProposal, LearnAnswer, LearnWanted};
use hearthgate_domain::flow::FlowTopic;
use hearthgate_domain::flow::learn::{LearnedFlow, TrafficLearner};
use hearthgate_settings::GatewaySettings;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// Who watches at a time: each of them is a client of the broker.
const MOST: usize = 4;
/// Proposals of an answer.
const MOST_PROPOSALS: usize = 50;
static WATCHERS: AtomicUsize = AtomicUsize::new(0);

/// Counted as long as somebody watches.
struct Watcher;

impl Watcher {
    fn begin() -> Result<Self, SubjectFailure> {
        let this = Watcher;
        if WATCHERS.fetch_add(1, Ordering::Relaxed) >= MOST {
            return Err(SubjectFailure::Unavailable("others watch already; try again in a minute".into()));
        }
        Ok(this)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        WATCHERS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Watches, as a guest of the broker.
pub(super) async fn learn(settings: Arc<GatewaySettings>, wanted: LearnWanted) -> Result<LearnAnswer, SubjectFailure> {
    let topic = FlowTopic::parse(&wanted.topic).map_err(|error| SubjectFailure::Invalid(error.to_string()))?;
    if !(1..=60).contains(&wanted.seconds) {
        return Err(SubjectFailure::Invalid("`seconds` must be from 1 to 60".into()));
    }
    let watcher = Watcher::begin()?;
    let options = guest_session(&settings, &GuestLogin::default(), "learn").map_err(unavailable)?;
    let time = Duration::from_secs(wanted.seconds.into());
    // Whoever asked may go, and so may the gateway: then nobody watches any longer.
    let (asking, asker_gone) = oneshot::channel::<()>();
    // A session is bound to one thread.
    let watching = tokio::task::spawn_blocking(move || {
        let _watcher = watcher;
        let bounds = LearnBounds { time, messages: wanted.messages, begun: None };
        let ended = async {
            let _ = asker_gone.await;
        };
        let watch = learn::watch(options, topic.filter().as_str(), &bounds, ended);
        crate::database::block_on(watch).map_err(|error| error.to_string())
    });
    let watched = watching.await;
    drop(asking);
    let learner = watched.map_err(unavailable)?.map_err(SubjectFailure::Unavailable)?;
    Ok(answer(&learner, &wanted.topic))
}

fn answer(learner: &TrafficLearner, filter: &str) -> LearnAnswer {
    let proposals = learner.proposals(filter).into_iter().take(MOST_PROPOSALS).map(proposal).collect();
    LearnAnswer { messages: learner.messages(), unusable: learner.unusable(), proposals }
}

fn proposal(learned: LearnedFlow) -> FlowProposal {
    FlowProposal {
        flow: input(learned.row(None)),
        messages: learned.messages,
        topics: learned.topics as u64,
        others: learned.others,
        left_open: learned.left_open,
    }
}
