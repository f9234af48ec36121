//! `flow learn`: watches what comes by on a topic, and proposes a flow for it.

use crate::cli::LearnArgs;
use crate::commands::flow::file::write_flows;
use crate::commands::guest::guest_session;
use crate::database::block_on;
use crate::exit::{CommandFailure, ExitStatus};
use hearthgate_domain::delivery::QoS;
use hearthgate_domain::flow::FlowTopic;
use hearthgate_domain::flow::learn::{LearnedFlow, TrafficLearner};
use hearthgate_mqtt::link::{self, LinkEvent, LinkSubscription};
use hearthgate_mqtt::session::{self, SessionOptions};
use hearthgate_settings::LoadedSettings;
use std::io::{IsTerminal, Write};
use std::time::Duration;
use tokio::sync::mpsc;

/// Room in the link; what comes while it is full waits at the broker.
const LINK: usize = 16;
/// How often a terminal shows how many messages came.
const PROGRESS: Duration = Duration::from_millis(500);

/// Watches, then writes the proposal as `flow import` takes it.
///
/// # Errors
/// The topic is none, or the broker can't be reached.
pub(crate) fn run(loaded: &LoadedSettings, args: &LearnArgs, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    let topic = FlowTopic::parse(&args.topic).map_err(|error| CommandFailure::Usage(error.to_string()))?;
    let options = guest_session(&loaded.settings, &args.login, "learn")?;
    let filter = topic.filter().as_str();
    let begun = format!("watching {} for {}; Ctrl-C ends it early", args.topic, args.time);
    let bounds = LearnBounds { time: args.time.0, messages: args.messages, begun: Some(begun) };
    let learner = block_on(watch(options, filter, &bounds, async {
        // Without a handler, the signal ends the program.
        let _ = tokio::signal::ctrl_c().await;
    }))?;
    if learner.messages() == 0 {
        let unusable = learner.unusable();
        eprintln!(
            "nothing came on {filter} that a flow could take ({unusable} messages were empty, no text, or a list)"
        );
        return Ok(ExitStatus::Findings);
    }
    propose(&learner, args, out)?;
    Ok(ExitStatus::Ok)
}

/// How long traffic is watched.
pub(crate) struct LearnBounds {
    pub(crate) time: Duration,
    /// It ends earlier after so many messages.
    pub(crate) messages: Option<u64>,
    /// What is said on standard error when it begins; then progress is shown there too.
    pub(crate) begun: Option<String>,
}

/// Watches until the bounds are reached or `ended` is.
///
/// # Errors
/// The broker can't be reached, or refuses the filter.
pub(crate) async fn watch(
    options: SessionOptions,
    filter: &str,
    bounds: &LearnBounds,
    ended: impl Future<Output = ()>,
) -> anyhow::Result<TrafficLearner> {
    let (handle, port, mut events) = link::link(LINK, LINK);
    handle.subscribe_exactly(vec![LinkSubscription { filter: filter.to_owned(), qos: QoS::AtMostOnce }]);
    let mut learner = TrafficLearner::default();
    let watching = async {
        tokio::select! {
            taken = take(&mut events, &mut learner, bounds) => taken,
            () = tokio::time::sleep(bounds.time) => Ok(()),
            () = ended => Ok(()),
        }
    };
    tokio::select! {
        end = session::run(options, port) => Err(CommandFailure::Unavailable(format!("the session has ended: {end:?}")).into()),
        watched = watching => watched.map(|()| learner),
    }
}

/// Goes on until there are enough messages, or the broker is not there.
async fn take(
    events: &mut mpsc::Receiver<LinkEvent>,
    learner: &mut TrafficLearner,
    LearnBounds { messages, begun, .. }: &LearnBounds,
) -> anyhow::Result<()> {
    let is_shown = begun.is_some() && std::io::stderr().is_terminal();
    let mut show = tokio::time::interval(PROGRESS);
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(LinkEvent::Messages(batch)) => {
                    for (_, message) in batch.arrivals(0) {
                        learner.observe(&message.topic, &message.payload);
                        if messages.is_some_and(|enough| learner.messages() >= enough) {
                            return Ok(());
                        }
                    }
                }
                Some(LinkEvent::Subscribed(_)) => {
                    if let Some(begun) = begun {
                        eprintln!("{begun}");
                    }
                }
                Some(LinkEvent::Refused(refused)) => {
                    let reasons: Vec<String> = refused.iter().map(|(filter, why)| format!("{filter}: {why}")).collect();
                    return Err(CommandFailure::Unavailable(format!("the broker refuses {}", reasons.join(", "))).into());
                }
                Some(LinkEvent::Disconnected { reason, .. }) => return Err(CommandFailure::Unavailable(reason).into()),
                Some(_) => {}
                None => return Ok(()),
            },
            _ = show.tick(), if is_shown => eprint!("\r{} messages ", learner.messages()),
        }
    }
}

fn propose(learner: &TrafficLearner, args: &LearnArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(out, "# {} messages; review this, then: hearthgate flow import FILE", learner.messages())?;
    if learner.unusable() > 0 {
        writeln!(out, "# {} more were empty, no text, or a list: these flows would refuse them", learner.unusable())?;
    }
    for (index, learned) in learner.proposals(&args.topic).into_iter().enumerate() {
        describe(&learned, out)?;
        let code = args.code.as_ref().map(|code| match index {
            0 => code.clone(),
            _ => format!("{code}_{}", index + 1),
        });
        out.write_all(write_flows([&learned.row(code)]).as_bytes())?;
    }
    Ok(())
}

fn describe(learned: &LearnedFlow, out: &mut dyn Write) -> std::io::Result<()> {
    let LearnedFlow { messages, topics, others, .. } = learned;
    writeln!(out, "\n# takes {messages} messages on {topics} topics")?;
    if *others > 0 {
        writeln!(out, "# listens to {others} more, of another shape; name its topics if it should not")?;
    }
    for field in &learned.left_open {
        writeln!(out, "# left open: {field}")?;
    }
    Ok(())
}
