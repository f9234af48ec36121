//! The wiring as a picture: its parts, how each is and why, and what goes between them.

use super::letter_tally::LetterTally;
use crate::wiring::interfaces::{EnabledInterface, actor_name};
use crate::wiring::{Conditions, RunningGateway};
use chrono::Utc;
use hearthgate_actors::flows::{dead_letters as letters, poster, writer};
use hearthgate_actors::mapping::interface::DeviceState;
use hearthgate_actors::mqtt::LinkStatus;
use hearthgate_actors::operation::supervisor::SupervisedInterface;
use hearthgate_actors::traffic::TrafficTap;
use hearthgate_api::wire::{GraphEdge, GraphNode, InterfaceView, NodeState, WiringGraph};
use hearthgate_api::{MetricStore, SubjectAnswer, WiringView};
use hearthgate_interfaces::DriverConfig;
use hearthgate_settings::{BrokerUrl, GatewaySettings, ProtocolSetting};
use hearthgate_storage::journal;
use hearthgate_supervision::{ActorHealth, ActorRegistry, ActorStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, watch};

const RECEIVED: &str = "hearthgate_interface_received_messages_total";
const EMITTED: &str = "hearthgate_interface_emitted_messages_total";
const JOURNAL: &str = "hearthgate_journal_messages_total";
const STORED: &str = "hearthgate_flow_stored_messages_total";
const DELIVERED: &str = "hearthgate_flow_delivered_messages_total";

/// So long, what was told is told again.
const FRESH: Duration = Duration::from_millis(300);

#[derive(Clone)]
pub(super) struct WiringSubject {
    registry: ActorRegistry,
    metrics: MetricStore,
    settings: Arc<GatewaySettings>,
    interfaces: Vec<EnabledInterface>,
    watched: Vec<SupervisedInterface>,
    link: watch::Receiver<LinkStatus>,
    troubles: Conditions,
    traffic: Option<TrafficTap>,
    listens: Option<String>,
    journal: Option<journal::JournalHandle>,
    letters: Option<LetterTally>,
    /// What was told last. Held while it is found out: many viewers ask within a moment, and one of them does for all.
    last: Arc<Mutex<Option<(Instant, WiringGraph)>>>,
}

impl WiringSubject {
    pub(super) fn new(settings: &Arc<GatewaySettings>, running: &RunningGateway, metrics: MetricStore) -> Self {
        let listens = running
            .broker
            .as_ref()
            .map(|broker| broker.listens.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
        WiringSubject {
            registry: running.registry.clone(),
            metrics,
            settings: Arc::clone(settings),
            interfaces: running.interfaces.clone(),
            watched: running.watched.clone(),
            link: running.link.clone(),
            troubles: running.troubles.clone(),
            traffic: running.traffic.clone(),
            listens,
            journal: running.flows.as_ref().map(|flows| flows.journal.clone()),
            letters: running.flows.as_ref().map(|flows| LetterTally::new(flows.dead_letters.clone())),
            last: Arc::default(),
        }
    }

    fn trouble(&self, part: &str) -> Option<String> {
        let (_, trouble) = self.troubles.iter().find(|(name, _)| *name == part)?;
        Some(trouble.borrow().clone()).filter(|trouble| !trouble.is_empty())
    }

    fn health(&self, actor: &str) -> Option<ActorHealth> {
        self.registry.get(actor).map(|entry| entry.health.borrow().clone())
    }

    /// A part that is an actor. `trouble` is why it can't go on although it runs.
    fn part(
        &self,
        (kind, id, label): (&str, &str, &str),
        actor: &str,
        detail: String,
        trouble: Option<String>,
    ) -> GraphNode {
        let health = self.health(actor);
        let (state, reason, advice) = match health {
            Some(health) => judged(&health, trouble),
            None => (NodeState::Off, Some("switched off".to_owned()), None),
        };
        GraphNode {
            id: id.to_owned(),
            label: label.to_owned(),
            kind: kind.to_owned(),
            actor: Some(actor.to_owned()),
            state,
            reason,
            advice: advice.map(str::to_owned).or_else(|| advice_for(kind, state)),
            detail,
        }
    }

    fn broker(&self, nodes: &mut Vec<GraphNode>) {
        if let Some(listens) = &self.listens {
            nodes.push(self.part(("broker", "broker", "Broker"), "broker", format!("embedded, {listens}"), None));
        } else if self.settings.mqtt.enabled {
            let link = self.link.borrow();
            let is_there = link.connected;
            nodes.push(GraphNode {
                id: "broker".into(),
                label: "Broker".into(),
                kind: "broker".into(),
                actor: None,
                state: if is_there { NodeState::Ok } else { NodeState::Waiting },
                reason: (!is_there).then(|| link.reason.clone()),
                advice: None,
                detail: self.settings.mqtt.server.to_string(),
            });
        }
    }

    fn session(&self, nodes: &mut Vec<GraphNode>) {
        if !self.settings.mqtt.enabled {
            return;
        }
        let link = self.link.borrow().clone();
        let trouble = match (link.connected, link.refused.first()) {
            (false, _) if link.reason.is_empty() => Some("it is being connected".to_owned()),
            (false, _) => Some(link.reason.clone()),
            (true, Some((filter, reason))) => Some(format!("the broker refuses {filter}: {reason}")),
            (true, None) if !link.subscribed => Some("the subscriptions are being made".to_owned()),
            (true, None) => None,
        };
        let detail = match self.settings.mqtt.server {
            BrokerUrl::Embedded => "within the process".to_owned(),
            _ => format!(
                "MQTT {}",
                match self.settings.mqtt.protocol {
                    ProtocolSetting::V311 => "3.1.1",
                    ProtocolSetting::V5 => "5.0",
                }
            ),
        };
        nodes.push(self.part(("session", "session", "MQTT session"), "mqtt", detail, trouble));
    }

    async fn flows(&self, nodes: &mut Vec<GraphNode>, edges: &mut Vec<GraphEdge>) {
        let (Some(handle), Some(dead)) = (self.journal.clone(), self.letters.clone()) else { return };
        let usage = tokio::task::spawn_blocking(move || handle.usage()).await.ok();
        let lag = |consumer: &str| {
            let usage = usage.as_ref()?;
            usage.consumers.iter().find(|one| one.name == consumer).map(|one| one.lag)
        };
        let in_journal = usage
            .as_ref()
            .map_or(String::new(), |usage| format!("{} of {}", megabytes(usage.bytes), megabytes(usage.max_bytes)));
        let (kept, letters_trouble) = match dead.count().await {
            Ok(letters) => (format!("{letters} kept"), None),
            Err(error) => (String::new(), Some(error)),
        };
        let journal_trouble = self.trouble("journal");
        nodes.push(self.part(("router", "router", "Flow router"), "router", "match, validate".into(), None));
        let mut journal = self.part(("journal", "journal", "Journal"), "router", in_journal, journal_trouble);
        journal.actor = None;
        nodes.push(journal);
        let trouble = self.trouble("writer").or_else(|| self.trouble("database"));
        let database = self.settings.database.url.to_string();
        nodes.push(self.part(("database", "database", "Database"), "writer", database, trouble));
        let detail = "calls and publications".to_owned();
        nodes.push(self.part(("endpoints", "endpoints", "Deliveries"), "poster", detail, None));
        nodes.push(self.part(("letters", "letters", "Dead letters"), "dead_letters", kept, letters_trouble));
        let journaled = self.metrics.total(JOURNAL, &[("outcome", "ok")]);
        let all = self.metrics.total(JOURNAL, &[]);
        edges.push(edge("session", "router", all, None));
        edges.push(edge("router", "journal", journaled, None));
        let stored = self.metrics.total(STORED, &[("outcome", "ok")]);
        edges.push(edge("journal", "database", stored, lag(writer::CONSUMER)));
        let delivered = self.metrics.total(DELIVERED, &[("outcome", "ok")]);
        edges.push(edge("journal", "endpoints", delivered, lag(poster::CONSUMER)));
        let refused = self.metrics.total(JOURNAL, &[("outcome", "refused")])
            + self.metrics.total(DELIVERED, &[("outcome", "dead")]);
        edges.push(edge("journal", "letters", refused, lag(letters::CONSUMER)));
    }

    fn mapping(&self, nodes: &mut Vec<GraphNode>, edges: &mut Vec<GraphEdge>) {
        if self.interfaces.is_empty() || !self.settings.mqtt.enabled {
            return;
        }
        nodes.push(self.part(("mapper", "mapper", "Mapper"), "mapper", "keyword maps".into(), None));
        edges.push(edge("session", "mapper", self.metrics.total(RECEIVED, &[]), None));
        for interface in &self.interfaces {
            let (name, labels) = (&*interface.name, [("interface", &*interface.name), ("outcome", "ok")]);
            let (actor, id) = (actor_name(name), format!("interface {name}"));
            let detail = format!("{} interface", kind(&interface.config.driver));
            nodes.push(self.part(("interface", &id, name), &actor, detail, self.offline(name)));
            edges.push(edge("mapper", &id, self.metrics.total(RECEIVED, &labels), None));
            edges.push(edge(&id, "mapper", self.metrics.total(EMITTED, &labels), None));
        }
    }

    fn offline(&self, interface: &str) -> Option<String> {
        let watched = self.watched.iter().find(|watched| &*watched.interface == interface)?;
        match &*watched.device.borrow() {
            DeviceState::Offline(reason) => Some(reason.clone()),
            DeviceState::Unknown | DeviceState::Online => None,
        }
    }

    fn view(&self, interface: &EnabledInterface) -> InterfaceView {
        let name = &*interface.name;
        let node = self.part(("interface", name, name), &actor_name(name), String::new(), self.offline(name));
        let total = |metric, outcome| self.metrics.total(metric, &[("interface", name), ("outcome", outcome)]);
        InterfaceView {
            name: name.to_owned(),
            kind: kind(&interface.config.driver).to_owned(),
            actor: actor_name(name),
            state: node.state,
            reason: node.reason,
            topics: interface.filters().iter().map(|filter| filter.as_str().to_owned()).collect(),
            received: total(RECEIVED, "ok"),
            refused: total(RECEIVED, "refused"),
            emitted: total(EMITTED, "ok"),
        }
    }
}

impl WiringView for WiringSubject {
    fn graph(&self) -> SubjectAnswer<WiringGraph> {
        let wiring = self.clone();
        Box::pin(async move {
            let mut last = wiring.last.lock().await;
            if let Some((at, graph)) = &*last
                && at.elapsed() < FRESH
            {
                return Ok(graph.clone());
            }
            let (mut nodes, mut edges) = (Vec::new(), Vec::new());
            wiring.broker(&mut nodes);
            wiring.session(&mut nodes);
            if wiring.settings.mqtt.enabled {
                let arrived = wiring.traffic.as_ref().map_or(0, TrafficTap::arrived);
                edges.push(edge("broker", "session", arrived, None));
            }
            wiring.mapping(&mut nodes, &mut edges);
            wiring.flows(&mut nodes, &mut edges).await;
            let graph = WiringGraph { at: Utc::now(), nodes, edges };
            *last = Some((Instant::now(), graph.clone()));
            Ok(graph)
        })
    }

    fn interfaces(&self) -> SubjectAnswer<Vec<InterfaceView>> {
        let views = self.interfaces.iter().map(|interface| self.view(interface)).collect();
        Box::pin(std::future::ready(Ok(views)))
    }
}

fn judged(health: &ActorHealth, trouble: Option<String>) -> (NodeState, Option<String>, Option<&'static str>) {
    let last = || health.last_error.as_deref().map(str::to_owned);
    match health.status {
        ActorStatus::Running => match trouble {
            Some(trouble) => (NodeState::Waiting, Some(trouble), None),
            None => (NodeState::Ok, None, None),
        },
        ActorStatus::Starting => (NodeState::Waiting, Some("it is starting".into()), None),
        ActorStatus::BackingOff => (NodeState::Waiting, last(), Some("It is started again by itself after a pause.")),
        ActorStatus::Parked => {
            let advice = "It failed too often and rests. Mend the cause, then restart it.";
            (NodeState::Failed, Some(last().map_or("parked".into(), |last| format!("parked: {last}"))), Some(advice))
        }
        ActorStatus::Unresponsive => {
            let advice = "It does not answer. Restart it; if that does not help, restart the gateway.";
            (NodeState::Failed, Some("it does not answer".into()), Some(advice))
        }
        ActorStatus::Stopped => {
            (NodeState::Off, Some("stopped by order".into()), Some("Start it when you want it again."))
        }
    }
}

/// What to do about a part that waits, by what it is.
fn advice_for(kind: &str, state: NodeState) -> Option<String> {
    let advice = match (kind, state) {
        ("session", NodeState::Waiting) => {
            "It connects again by itself. Check [mqtt] server, the network and the password."
        }
        ("database", NodeState::Waiting) => {
            "Messages wait safely in the journal and are written once the database answers. Check [database] url."
        }
        ("journal", NodeState::Waiting) => "Make room on the disk, or raise [journal] max_size.",
        ("interface", NodeState::Waiting) => "Check the device, its cable or address; it is tried again by itself.",
        _ => return None,
    };
    Some(advice.to_owned())
}

fn edge(from: &str, to: &str, total: u64, waiting: Option<u64>) -> GraphEdge {
    GraphEdge { from: from.to_owned(), to: to.to_owned(), total, waiting }
}

fn kind(driver: &DriverConfig) -> &'static str {
    match driver {
        DriverConfig::Dummy(_) => "dummy",
        DriverConfig::Exec(_) => "exec",
        DriverConfig::Serial(..) => "serial",
        DriverConfig::Tcp(..) => "tcp",
    }
}

fn megabytes(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{} KiB", bytes / 1024),
        1_048_576..1_073_741_824 => format!("{} MiB", bytes >> 20),
        _ => format!("{:.1} GiB", bytes as f64 / 1_073_741_824.0),
    }
}
