//! `flow learn`: watches what comes by on a topic, and proposes a flow for it.

use crate::cli::LearnArgs;
use crate::commands::flow::{FlowEntry, FlowFile};
use crate::database::block_on;
use crate::exit::{CommandFailure, ExitStatus};
use crate::wiring::options;
use anyhow::Context;
use hearthgate_domain::delivery::QoS;
use hearthgate_domain::flow::FlowTopic;
use hearthgate_domain::flow::learn::{SchemaLearner, code_for};
use hearthgate_mqtt::link::{self, LinkEvent, LinkSubscription};
use hearthgate_mqtt::session::{self, BrokerAddress, BrokerCredentials, SessionOptions};
use hearthgate_settings::{BrokerUrl as ServerSetting, LoadedSettings, MqttTransport, RemoteBroker};
use std::io::{IsTerminal, Write};
use std::net::IpAddr;
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
    let options = session_options(loaded, args)?;
    let filter = topic.filter().as_str();
    let learner = block_on(watch(options, filter, args))?;
    if learner.messages() == 0 {
        let unusable = learner.unusable();
        eprintln!("nothing came on {filter} that a flow could take ({unusable} messages were no JSON objects)");
        return Ok(ExitStatus::Findings);
    }
    propose(&learner, args, out)?;
    Ok(ExitStatus::Ok)
}

/// As the gateway connects, but as a guest who leaves no trace.
fn session_options(loaded: &LoadedSettings, args: &LearnArgs) -> anyhow::Result<SessionOptions> {
    let settings = &loaded.settings;
    let mut options = match &settings.mqtt.server {
        ServerSetting::Remote(remote) => options::session(settings, options::address(settings, remote)),
        ServerSetting::Embedded => {
            let listen = settings.broker.listen.0;
            let host = match listen.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => "127.0.0.1".to_owned(),
                IpAddr::V6(ip) if ip.is_unspecified() => "::1".to_owned(),
                ip => ip.to_string(),
            };
            let remote = RemoteBroker { transport: MqttTransport::Tcp, host, port: listen.port(), path: String::new() };
            let address = options::address(settings, &remote);
            options::session(settings, BrokerAddress { credentials: None, ..address })
        }
        ServerSetting::Database => {
            let problem = "mqtt.server is \"database\"; name the broker itself, such as --set mqtt.server=mqtt://HOST";
            return Err(CommandFailure::Usage(problem.into()).into());
        }
    };
    if let Some(name) = &args.username {
        let file = args.password_file.as_deref().context("a user without a password file")?;
        let password = std::fs::read_to_string(file)
            .map_err(|error| CommandFailure::Usage(format!("can't read {}: {error}", file.display())))?;
        let password = password.trim_end_matches(['\r', '\n']).to_owned();
        options.credentials = Some(BrokerCredentials { username: name.clone(), password });
    }
    options.client_id = format!("hearthgate-learn-{}", std::process::id());
    (options.clean, options.will) = (true, None);
    Ok(options)
}

async fn watch(options: SessionOptions, filter: &str, args: &LearnArgs) -> anyhow::Result<SchemaLearner> {
    let (handle, port, mut events) = link::link(LINK, LINK);
    handle.subscribe_exactly(vec![LinkSubscription { filter: filter.to_owned(), qos: QoS::AtMostOnce }]);
    let mut learner = SchemaLearner::default();
    let watching = async {
        tokio::select! {
            taken = take(&mut events, &mut learner, args) => taken,
            () = tokio::time::sleep(args.time.0) => Ok(()),
            _ = tokio::signal::ctrl_c() => Ok(()),
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
    learner: &mut SchemaLearner,
    args: &LearnArgs,
) -> anyhow::Result<()> {
    let is_shown = std::io::stderr().is_terminal();
    let mut show = tokio::time::interval(PROGRESS);
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(LinkEvent::Messages(batch)) => {
                    for message in &batch.messages {
                        learner.observe(&message.topic, &message.payload);
                        if args.messages.is_some_and(|enough| learner.messages() >= enough) {
                            return Ok(());
                        }
                    }
                }
                Some(LinkEvent::Subscribed(_)) => eprintln!("watching {} for {}; Ctrl-C ends it early", args.topic, args.time),
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

fn propose(learner: &SchemaLearner, args: &LearnArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let entry = FlowEntry {
        code: args.code.clone().unwrap_or_else(|| code_for(&args.topic)),
        description: format!("learned from {} messages", learner.messages()),
        topic: args.topic.clone(),
        action: "STORE_DB".into(),
        schema: learner.schema().to_string(),
        endpoint_url: None,
        enabled: true,
        options: None,
    };
    writeln!(
        out,
        "# {} messages on {} topics; review this, then: hearthgate flow import FILE",
        learner.messages(),
        learner.topics()
    )?;
    if learner.unusable() > 0 {
        writeln!(out, "# {} more were no JSON objects: the flow would refuse them", learner.unusable())?;
    }
    for field in learner.left_open() {
        writeln!(out, "# left open: {field}")?;
    }
    let file = FlowFile { flow: vec![entry] };
    out.write_all(toml::to_string(&file).context("writing the flow as TOML")?.as_bytes())?;
    Ok(())
}
