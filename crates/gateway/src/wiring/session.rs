//! The connection to the broker: who gets what comes in, what greets, and what outlives the process.

use crate::wiring::slots::{AnnouncerSlots, IntakeSlots};
use crate::wiring::state_files::{SessionFile, SharedSessionFile};
use crate::wiring::{options, source};
use anyhow::Context as _;
use hearthgate_actors::messages::ArrivalConsumer;
use hearthgate_actors::mqtt::{BatchListener, LinkStatus, MqttDeps};
use hearthgate_domain::delivery::{OutboundMessage, QoS};
use hearthgate_mqtt::link::LinkSubscription;
use hearthgate_settings::GatewaySettings;
use tokio::sync::watch;

/// Wires the MQTT actor.
///
/// # Errors
/// The file of the session can't be read.
pub(super) fn wire(
    settings: &GatewaySettings,
    intake: &IntakeSlots,
    from: source::BrokerChoice,
    status: watch::Sender<LinkStatus>,
) -> anyhow::Result<()> {
    let IntakeSlots { mqtt, mapper, announcer, router, interests, traffic } = intake;
    let mut consumers = Vec::new();
    consumers.extend(mapper.as_ref().map(|place| (ArrivalConsumer::Mapper, place.addr.clone().recipient())));
    consumers.extend(router.as_ref().map(|place| (ArrivalConsumer::Router, place.addr.clone().recipient())));
    let listeners: Vec<BatchListener> = announcer.iter().map(listener).collect();
    let overheard: Vec<LinkSubscription> = listeners.iter().flat_map(|listener| listener.filters.clone()).collect();
    interests.set("listeners", &overheard);
    let confirmed = router.as_ref().map(|place| place.addr.clone().recipient());
    let greeting = options::status_prefix(settings).iter().map(|prefix| online(prefix)).collect();
    let file = settings.gateway.state_dir.join("mqtt-session.json");
    let memory = SessionFile::open(&file).with_context(|| format!("reading {}", file.display()))?;
    let (settings, traffic) = (settings.clone(), traffic.clone());
    mqtt.fill(Box::new(move || {
        let memory = SharedSessionFile::new(memory);
        let source = source::source(settings, from, memory.clone());
        MqttDeps { source, memory: Box::new(memory), consumers, listeners, confirmed, greeting, status, traffic }
    }))
}

fn listener((place, discovery): &AnnouncerSlots) -> BatchListener {
    BatchListener { filters: discovery.plan.subscriptions(), to: place.addr.clone().recipient() }
}

fn online(prefix: &str) -> OutboundMessage {
    OutboundMessage {
        topic: format!("{prefix}/status").into(),
        payload: "online".into(),
        qos: QoS::AtLeastOnce,
        retain: true,
    }
}
