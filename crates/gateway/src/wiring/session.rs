//! The connection to the broker: who gets what comes in, what greets, and what outlives the process.

use crate::wiring::slots::{Announcer, Intake};
use crate::wiring::state_files::{SessionFile, SharedSessionFile};
use crate::wiring::{options, source};
use anyhow::Context as _;
use hearthgate_actors::messages::Consumer;
use hearthgate_actors::mqtt::{Deps, LinkStatus, Listener};
use hearthgate_domain::delivery::{Outbound, QoS};
use hearthgate_mqtt::link::Subscription;
use hearthgate_settings::Settings;
use tokio::sync::watch;

/// Wires the MQTT actor.
///
/// # Errors
/// The file of the session can't be read.
pub(super) fn wire(
    settings: &Settings,
    intake: &Intake,
    from: source::From,
    status: watch::Sender<LinkStatus>,
) -> anyhow::Result<()> {
    let Intake { mqtt, mapper, announcer, router, interests } = intake;
    let mut consumers = Vec::new();
    consumers.extend(mapper.as_ref().map(|place| (Consumer::Mapper, place.addr.clone().recipient())));
    consumers.extend(router.as_ref().map(|place| (Consumer::Router, place.addr.clone().recipient())));
    let listeners: Vec<Listener> = announcer.iter().map(listener).collect();
    let overheard: Vec<Subscription> = listeners.iter().flat_map(|listener| listener.filters.clone()).collect();
    interests.set("listeners", &overheard);
    let confirmed = router.as_ref().map(|place| place.addr.clone().recipient());
    let greeting = options::status_prefix(settings).iter().map(|prefix| online(prefix)).collect();
    let file = settings.gateway.state_dir.join("mqtt-session.json");
    let memory = SessionFile::open(&file).with_context(|| format!("reading {}", file.display()))?;
    let settings = settings.clone();
    mqtt.fill(Box::new(move || {
        let memory = SharedSessionFile::new(memory);
        let source = source::source(settings, from, memory.clone());
        Deps { source, memory: Box::new(memory), consumers, listeners, confirmed, greeting, status }
    }))
}

fn listener((place, discovery): &Announcer) -> Listener {
    Listener { filters: discovery.plan.subscriptions(), to: place.addr.clone().recipient() }
}

fn online(prefix: &str) -> Outbound {
    Outbound { topic: format!("{prefix}/status").into(), payload: "online".into(), qos: QoS::AtLeastOnce, retain: true }
}
