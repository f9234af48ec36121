//! How Home Assistant sees a flow that listens for its devices.

use crate::operation::discovery::{DiscoveryMessage, TopicSite, object_id};
use serde_json::json;

/// The announcement of a flow as a device, whose state stands on `state_topic`.
pub(super) fn announcement(site: &TopicSite, code: &str, state_topic: &str) -> DiscoveryMessage {
    let TopicSite { discovery_prefix, base, version, .. } = site;
    let id = format!("{base}/flow/{code}");
    let payload = json!({
        "device": {
            "identifiers": [id],
            "name": format!("Flow {code}"),
            "manufacturer": "Hearthgate",
            "model": "Flow",
            "sw_version": version,
            "via_device": base,
        },
        "origin": { "name": "Hearthgate", "sw_version": version },
        "availability": [{ "topic": format!("{base}/status") }],
        "qos": 1,
        "components": {
            "silence": {
                "platform": "binary_sensor",
                "unique_id": format!("{id}/silence"),
                "name": "Silence",
                "device_class": "problem",
                "state_topic": state_topic,
                "value_template": "{{ 'ON' if value_json.silent else 'OFF' }}",
                "json_attributes_topic": state_topic,
            },
            "silent": {
                "platform": "sensor",
                "unique_id": format!("{id}/silent"),
                "name": "Silent devices",
                "state_class": "measurement",
                "entity_category": "diagnostic",
                "state_topic": state_topic,
                "value_template": "{{ value_json.silent }}",
            },
        },
    });
    let (node, object) = (object_id(&base.replace('/', "_")), object_id(code));
    DiscoveryMessage {
        topic: format!("{discovery_prefix}/device/{node}/flow_{object}/config").into(),
        payload: payload.to_string().into(),
    }
}
