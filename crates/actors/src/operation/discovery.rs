//! What the gateway and its interfaces look like in Home Assistant. Pure: topics and payloads, nothing is sent here.
//!
//! Discovery in its device form: one retained message for each device, with all its entities in it
//! (<https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload>).

use bytes::Bytes;
use hearthgate_domain::delivery::{InboundMessage, QoS, UnixMicros};
use hearthgate_mqtt::link::LinkSubscription;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// What a restart button sends.
pub const PRESS: &str = "restart";
/// A press that waited longer inside the gateway is not obeyed any more.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// What Home Assistant says on its status topic when it has started.
const BIRTH: &[u8] = b"online";

/// Where this gateway stands among all topics.
#[derive(Clone, Debug)]
pub struct TopicSite {
    /// The prefix that Home Assistant is set to.
    pub discovery_prefix: String,
    /// First levels of the gateway's own topics, such as `hearthgate/home`. Unique at a broker, so identifiers are made of it.
    pub base: String,
    /// The gateway's name.
    pub name: String,
    /// Version of the gateway.
    pub version: &'static str,
}

/// An interface as Home Assistant shall see it.
#[derive(Clone, Debug)]
pub struct ShownInterface {
    /// The interface's name.
    pub interface: Arc<str>,
    /// The name of its actor.
    pub actor: Arc<str>,
    /// Its kind, as in the configuration.
    pub kind: &'static str,
}

/// What a button restarts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestartTarget {
    /// The whole gateway.
    Gateway,
    /// One actor.
    Actor(Arc<str>),
}

/// A discovery message: retained, so that Home Assistant finds it whenever it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveryMessage {
    /// `PREFIX/device/NODE/OBJECT/config`
    pub topic: Arc<str>,
    /// JSON; empty removes the device.
    pub payload: Bytes,
}

/// What a message on one of our topics means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicMeaning {
    /// Home Assistant says how it is.
    Birth,
    /// A restart button.
    Button(RestartTarget),
    /// An announcement that is to go; when its end comes back from the broker, it is gone.
    Leftover,
}

/// Everything that is announced, listened to and removed.
#[derive(Clone, Debug, Default)]
pub struct DiscoveryPlan {
    /// The gateway first, since the interfaces refer to it.
    pub announcements: Vec<DiscoveryMessage>,
    /// By topic name.
    pub meanings: HashMap<Arc<str>, TopicMeaning>,
}

impl DiscoveryPlan {
    /// What to do about a site. `announced` are the topics that earlier runs announced something on.
    #[must_use]
    pub fn of(site: &TopicSite, interfaces: &[ShownInterface], announced: &[String]) -> Self {
        let mut plan = DiscoveryPlan::default();
        plan.announcements.push(site.gateway());
        plan.announcements.extend(interfaces.iter().map(|interface| site.interface(interface)));
        plan.meanings.insert(format!("{}/status", site.discovery_prefix).into(), TopicMeaning::Birth);
        plan.meanings.insert(site.gateway_button().into(), TopicMeaning::Button(RestartTarget::Gateway));
        for shown in interfaces {
            let target = RestartTarget::Actor(Arc::clone(&shown.actor));
            plan.meanings.insert(site.interface_button(&shown.interface).into(), TopicMeaning::Button(target));
        }
        plan.with_leftovers(announced)
    }

    /// What to do when discovery is switched off: take back what was announced.
    #[must_use]
    pub fn of_nothing(announced: &[String]) -> Self {
        DiscoveryPlan::default().with_leftovers(announced)
    }

    fn with_leftovers(mut self, announced: &[String]) -> Self {
        let is_current = |topic: &String| self.announcements.iter().any(|known| *known.topic == **topic);
        let leftovers: Vec<Arc<str>> =
            announced.iter().filter(|topic| !is_current(topic)).map(|topic| topic.as_str().into()).collect();
        self.meanings.extend(leftovers.into_iter().map(|topic| (topic, TopicMeaning::Leftover)));
        self
    }

    /// Topics of announcements that are to go.
    pub fn leftovers(&self) -> impl Iterator<Item = &Arc<str>> {
        self.meanings.iter().filter(|(_, meaning)| **meaning == TopicMeaning::Leftover).map(|(topic, _)| topic)
    }

    /// What to subscribe to. Buttons at QoS 0: no broker keeps such a message for us while we are away, so that nothing is
    /// restarted an hour late.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<LinkSubscription> {
        let qos = |meaning: &TopicMeaning| match meaning {
            TopicMeaning::Button(_) => QoS::AtMostOnce,
            TopicMeaning::Birth | TopicMeaning::Leftover => QoS::AtLeastOnce,
        };
        self.meanings
            .iter()
            .map(|(topic, meaning)| LinkSubscription { filter: topic.to_string(), qos: qos(meaning) })
            .collect()
    }
}

/// Whether Home Assistant has just started, and wants to be told everything. What is retained says nothing about now.
#[must_use]
pub fn is_birth(message: &InboundMessage) -> bool {
    !message.retain && &*message.payload == BIRTH
}

/// Why a press is not obeyed, if so: whatever may be older than a moment is not.
///
/// # Errors
/// In words, for the log.
pub fn obey(message: &InboundMessage, now: UnixMicros) -> Result<(), String> {
    if &*message.payload != PRESS.as_bytes() {
        return Err(format!("the payload is not \"{PRESS}\""));
    }
    if message.retain {
        return Err("it is retained, so it may be of any time".into());
    }
    if message.qos != QoS::AtMostOnce {
        return Err("a broker may have kept it for us, since it came with QoS 1 or 2: send it with QoS 0".into());
    }
    let waited = Duration::from_micros(u64::try_from(now.saturating_sub(message.received_at)).unwrap_or(0));
    if waited > LONGEST_WAIT {
        return Err(format!("it waited {:.1} s", waited.as_secs_f64()));
    }
    Ok(())
}

impl TopicSite {
    fn gateway_button(&self) -> String {
        format!("{}/restart", self.base)
    }

    fn interface_button(&self, interface: &str) -> String {
        format!("{}/interface/{interface}/restart", self.base)
    }

    fn gateway(&self) -> DiscoveryMessage {
        let name =
            if self.name == "hearthgate" { "Hearthgate".to_owned() } else { format!("Hearthgate {}", self.name) };
        let state = json!({
            "options": ["ok", "degraded"],
            "state_topic": format!("{}/health", self.base),
            "value_template": "{{ 'ok' if value_json.ok else 'degraded' }}",
        });
        let device = Device {
            id: self.base.clone(),
            object: "gateway".into(),
            about: json!({ "name": name, "model": "Gateway" }),
            state,
            restarts: "{{ value_json.actors.values() | sum(attribute='restarts') }}".into(),
            button: self.gateway_button(),
        };
        self.announce(device)
    }

    fn interface(&self, shown: &ShownInterface) -> DiscoveryMessage {
        let ShownInterface { interface, actor, kind } = shown;
        // Escapes of JSON strings are those of Jinja's.
        let health = format!("value_json.actors[{}]", Value::from(&**actor));
        let state = json!({
            "options": ["online", "offline", "restarting", "parked"],
            "state_topic": format!("{}/interface/{interface}/state", self.base),
            "json_attributes_topic": format!("{}/health", self.base),
            "json_attributes_template": format!("{{{{ {{'last_error': {health}.last_error}} | tojson }}}}"),
        });
        let device = Device {
            id: format!("{}/interface/{interface}", self.base),
            object: format!("interface_{}", object_id(interface)),
            about: json!({ "name": **interface, "model": format!("Interface ({kind})"), "via_device": self.base }),
            state,
            restarts: format!("{{{{ {health}.restarts }}}}"),
            button: self.interface_button(interface),
        };
        self.announce(device)
    }

    /// The entities that gateway and interfaces have alike. Each is available while the gateway is: the button of an
    /// interface is wanted most when its device is not there.
    fn announce(&self, device: Device) -> DiscoveryMessage {
        let Device { id, object, mut about, mut state, restarts, button } = device;
        merge(&mut about, json!({ "identifiers": [id], "manufacturer": "Hearthgate", "sw_version": self.version }));
        merge(
            &mut state,
            json!({ "platform": "sensor", "unique_id": format!("{id}/state"), "name": "State", "device_class": "enum" }),
        );
        let payload = json!({
            "device": about,
            "origin": { "name": "Hearthgate", "sw_version": self.version },
            "availability": [{ "topic": format!("{}/status", self.base) }],
            "qos": 1,
            "components": {
                "state": state,
                "restarts": {
                    "platform": "sensor",
                    "unique_id": format!("{id}/restarts"),
                    "name": "Restarts",
                    "state_class": "total_increasing",
                    "entity_category": "diagnostic",
                    "state_topic": format!("{}/health", self.base),
                    "value_template": restarts,
                },
                "restart": {
                    "platform": "button",
                    "unique_id": format!("{id}/restart"),
                    "name": "Restart",
                    "device_class": "restart",
                    "entity_category": "config",
                    "command_topic": button,
                    "payload_press": PRESS,
                    "qos": 0,
                    "retain": false,
                },
            },
        });
        let node = object_id(&self.base.replace('/', "_"));
        DiscoveryMessage {
            topic: format!("{}/device/{node}/{object}/config", self.discovery_prefix).into(),
            payload: payload.to_string().into(),
        }
    }
}

/// What differs between devices.
struct Device {
    id: String,
    object: String,
    about: Value,
    state: Value,
    /// Template of the number of restarts, from the health message.
    restarts: String,
    button: String,
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}

/// Letters, digits, `_` and `-`, as Home Assistant wants its ids. Names that have other characters get a number at the end,
/// so that no two of them become one.
pub(crate) fn object_id(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if name.chars().all(is_plain) {
        return name.to_owned();
    }
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    // FNV-1a, 32 bits.
    let number = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("{plain}_{number:08x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> TopicSite {
        TopicSite {
            discovery_prefix: "homeassistant".into(),
            base: "hearthgate/home".into(),
            name: "home".into(),
            version: "1.2.3",
        }
    }

    fn entry() -> ShownInterface {
        ShownInterface { interface: "entry".into(), actor: "interface entry".into(), kind: "serial" }
    }

    fn payload(announcement: &DiscoveryMessage) -> Value {
        serde_json::from_slice(&announcement.payload).unwrap()
    }

    fn press(change: impl FnOnce(&mut InboundMessage)) -> InboundMessage {
        let mut message = InboundMessage {
            qos: QoS::AtMostOnce,
            ..InboundMessage::unsent(
                "hearthgate/home/interface/entry/restart".into(),
                Bytes::from_static(b"restart"),
                0,
            )
        };
        change(&mut message);
        message
    }

    #[test]
    fn an_interface_has_a_state_a_count_of_restarts_and_a_button() {
        let announcement = site().interface(&entry());
        assert_eq!(&*announcement.topic, "homeassistant/device/hearthgate_home/interface_entry/config");
        let payload = payload(&announcement);
        assert_eq!(payload["device"]["identifiers"], json!(["hearthgate/home/interface/entry"]));
        assert_eq!(payload["device"]["via_device"], "hearthgate/home");
        assert_eq!(payload["origin"]["name"], "Hearthgate");
        assert_eq!(payload["availability"], json!([{ "topic": "hearthgate/home/status" }]));
        let components = &payload["components"];
        assert_eq!(components["state"]["state_topic"], "hearthgate/home/interface/entry/state");
        assert_eq!(components["restarts"]["value_template"], r#"{{ value_json.actors["interface entry"].restarts }}"#);
        assert_eq!(components["restart"]["command_topic"], "hearthgate/home/interface/entry/restart");
        assert_eq!(components["restart"]["retain"], false);
    }

    #[test]
    fn every_entity_has_a_platform_and_an_id_of_its_own() {
        let announcements = DiscoveryPlan::of(&site(), &[entry()], &[]).announcements;
        let mut ids = Vec::new();
        for announcement in &announcements {
            for (_, component) in payload(announcement)["components"].as_object().unwrap() {
                assert!(component["platform"].is_string());
                ids.push(component["unique_id"].as_str().unwrap().to_owned());
            }
        }
        let count = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!((ids.len(), count), (6, 6));
    }

    #[test]
    fn topics_are_made_of_letters_digits_underscores_and_hyphens() {
        let odd = |name: &str| {
            let shown = ShownInterface { interface: name.into(), ..entry() };
            site().interface(&shown).topic
        };
        for name in ["Tür 1", "Tür.1", "a b", "a_b"] {
            let topic = odd(name);
            let object = topic.split('/').nth(3).unwrap();
            assert!(object.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-'), "{object}");
        }
        assert_ne!(odd("Tür 1"), odd("Tür.1"));
        assert_ne!(odd("a b"), odd("a_b"));
    }

    #[test]
    fn what_is_no_longer_there_is_removed_and_what_stays_is_not() {
        let stays = site().interface(&entry()).topic.to_string();
        let gone = "homeassistant/device/hearthgate_home/interface_old/config".to_owned();
        let plan = DiscoveryPlan::of(&site(), &[entry()], &[stays.clone(), gone.clone()]);
        assert_eq!(plan.leftovers().map(|topic| topic.to_string()).collect::<Vec<_>>(), std::slice::from_ref(&gone));
        let off = DiscoveryPlan::of_nothing(&[stays, gone]);
        assert_eq!(off.leftovers().count(), 2);
        assert!(off.announcements.is_empty());
    }

    #[test]
    fn buttons_are_subscribed_to_so_that_no_broker_keeps_a_press() {
        let plan = DiscoveryPlan::of(&site(), &[entry()], &[]);
        let subscriptions = plan.subscriptions();
        let buttons: Vec<_> = subscriptions.iter().filter(|wanted| wanted.filter.ends_with("/restart")).collect();
        assert_eq!(buttons.len(), 2);
        assert!(buttons.iter().all(|wanted| wanted.qos == QoS::AtMostOnce));
    }

    #[test]
    fn only_a_press_of_this_moment_is_obeyed() {
        assert_eq!(obey(&press(|_| {}), 1_000_000), Ok(()));
        assert_eq!(obey(&press(|_| {}), -1_000_000), Ok(()), "a clock that was set back");
        assert!(obey(&press(|m| m.payload = Bytes::from_static(b"PRESS")), 0).is_err());
        assert!(obey(&press(|m| m.retain = true), 0).unwrap_err().contains("retained"));
        assert!(obey(&press(|m| m.qos = QoS::AtLeastOnce), 0).unwrap_err().contains("QoS 0"));
        assert!(obey(&press(|_| {}), 5_000_001).unwrap_err().contains("waited"));
    }

    #[test]
    fn only_a_birth_of_this_moment_counts() {
        assert!(is_birth(&press(|m| m.payload = Bytes::from_static(b"online"))));
        assert!(!is_birth(&press(|m| m.payload = Bytes::from_static(b"offline"))));
        assert!(!is_birth(&press(|m| {
            m.payload = Bytes::from_static(b"online");
            m.retain = true;
        })));
    }
}
