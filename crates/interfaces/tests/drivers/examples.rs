//! What ships in `config/maps` and `config/examples` works together.

use hearthgate_domain::mapping::internal_msg::InternalMsg;
use hearthgate_domain::mapping::{KeywordMaps, MessageCodec};
use hearthgate_interfaces::InterfaceConfig;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(serde::Deserialize)]
struct Document {
    interfaces: BTreeMap<String, InterfaceConfig>,
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/examples")
}

fn codec(map: &str, name: &str) -> MessageCodec {
    let text = std::fs::read_to_string(examples().join(map)).unwrap();
    MessageCodec::new(Arc::new(KeywordMaps::from_json(&text).unwrap()), name)
}

#[test]
fn every_example_is_accepted_with_its_map() {
    let mut seen = 0;
    for entry in std::fs::read_dir(examples()).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let document: Document = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for (name, config) in document.interfaces {
            if let Some(map) = &config.map {
                codec(&map.to_string_lossy(), &name);
            }
            seen += 1;
        }
    }
    assert!(seen >= 4, "the examples are where this test looks for them");
}

#[test]
fn the_dummy_map_reads_the_references_keywords() {
    let codec = codec("../maps/dummy.json", "dummy");
    let message = codec.decode("testmqttgtw/dummyfunction//kitchen//me/C", b"audio_on").unwrap();
    assert_eq!((message.location.as_str(), message.action.as_str()), ("Kitchen", "POWER_ON"));
    assert_eq!((message.function.as_str(), message.sender.as_str(), message.iscmd), ("DummyFunction", "me", true));
    assert!(codec.decode("testmqttgtw/dummyfunction//kitchen//me/C", b"dance").is_err(), "the actions are strict");
}

#[test]
fn the_entry_map_speaks_of_the_front_garden() {
    let codec = codec("../maps/entry.json", "entry");
    let command = codec.decode("home/security/entry2mqtt/frontgarden/gate/phone/C", b"gate_open").unwrap();
    assert_eq!((command.location.as_str(), command.action.as_str()), ("gate_entry", "GATE_OPEN"));
    assert!(codec.maps().topics().iter().any(|filter| filter.to_string() == "home/security/+/frontgarden/+/+/C"));
    let light = InternalMsg {
        iscmd: true,
        function: "Lighting".into(),
        location: "gate_entry".into(),
        action: "LIGHT_ON".into(),
        ..InternalMsg::default()
    };
    let encoded = codec.encode(&light).unwrap();
    assert_eq!(encoded.topic, "home/lighting//frontgarden//entry/C");
    assert_eq!(encoded.payload, "light_on");
}
