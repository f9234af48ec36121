//! Each preset takes what devices of its family send, in the shapes that their documentation shows.

mod shapes;

use super::*;
use crate::commands::flow::checks::compile_flow;
use crate::commands::flow::file::read_flows;
use clap::ValueEnum as _;
use hearthgate_domain::flow::Flow;
use hearthgate_domain::payload::JsonPayload;
use hearthgate_storage::sql::TypedTable;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

fn flows(preset: DevicePreset) -> Vec<Flow> {
    read_flows(text(preset)).unwrap().iter().map(|written| compile_flow(&written.row).unwrap()).collect()
}

fn flow(preset: DevicePreset) -> Flow {
    flows(preset).remove(0)
}

/// Every payload that some of the optional fields make, none, each alone, all but each, all, each null.
fn shapes(needed: &Value, optional: &Value) -> Vec<String> {
    let fields: Vec<(&String, &Value)> = optional.as_object().unwrap().iter().collect();
    let with = |wanted: &dyn Fn(usize) -> Option<Value>| {
        let mut payload: Map<String, Value> = needed.as_object().unwrap().clone();
        for (index, (name, _)) in fields.iter().enumerate() {
            payload.extend(wanted(index).map(|value| ((*name).clone(), value)));
        }
        Value::Object(payload).to_string()
    };
    let value = |index: usize| fields[index].1.clone();
    let mut shapes = BTreeSet::from([with(&|_| None), with(&|index| Some(value(index)))]);
    for chosen in 0..fields.len() {
        shapes.insert(with(&|index| (index == chosen).then(|| value(index))));
        shapes.insert(with(&|index| (index != chosen).then(|| value(index))));
        shapes.insert(with(&|index| Some(if index == chosen { Value::Null } else { value(index) })));
    }
    shapes.into_iter().collect()
}

/// Each is taken, and has a row in the table.
fn taken(flow: &Flow, topic: &str, payloads: &[String]) {
    assert!(payloads.len() >= 30, "{}", payloads.len());
    assert!(flow.topic.filter().matches(topic));
    let table = TypedTable::of(flow).unwrap().unwrap();
    for payload in payloads {
        let parsed = JsonPayload::parse_text(payload).unwrap();
        let checked = flow.schema.validate(&parsed);
        assert!(checked.is_ok(), "{payload}: {checked:?}");
        let levels: Vec<(&str, &str)> = flow.topic.captures(topic).collect();
        drop(table.row(&levels, &parsed, None));
    }
}

fn refused(flow: &Flow, payload: &str) {
    assert!(flow.schema.validate(&JsonPayload::parse_text(payload).unwrap()).is_err(), "{payload}");
}

#[test]
fn each_preset_is_named_in_its_flows_and_tables_and_says_what_it_is() {
    for preset in DevicePreset::value_variants() {
        let name = preset.to_possible_value().unwrap().get_name().replace('-', "_");
        for (number, flow) in flows(*preset).iter().enumerate() {
            let table = flow.store.as_ref().and_then(|store| store.table.as_deref()).unwrap();
            assert!(table == name || number > 0 && table.starts_with(&format!("{name}_")), "{table}");
            assert!(flow.code.to_lowercase().starts_with(&name), "{}", flow.code);
        }
        assert!(text(*preset).starts_with("# "), "{name}");
    }
}

#[test]
fn zigbee2mqtt_devices_are_taken_whatever_they_measure() {
    let flow = flow(DevicePreset::Zigbee2mqtt);
    let optional = json!({
        "temperature": 21.5, "humidity": 40, "pressure": 1013.2, "battery": 97, "voltage": 3005, "linkquality": 120,
        "last_seen": "2026-11-27T07:56:06+01:00", "occupancy": true, "contact": false, "state": "ON", "power": 4.2,
        "energy": 12, "update": {"state": "idle", "installed_version": 1}, "action": "single", "illuminance": 120,
        "local_temperature": 20.5, "occupied_heating_setpoint": 21, "color": {"x": 0.4, "y": 0.3}, "brightness": 254
    });
    taken(&flow, "zigbee2mqtt/kitchen", &shapes(&json!({}), &optional));
    refused(&flow, r#"{"temperature": "warm"}"#);
    for other in ["zigbee2mqtt/bridge/state", "zigbee2mqtt/kitchen/availability"] {
        assert!(!flow.topic.filter().matches(other), "{other}");
    }
}

#[test]
fn rtl_433_events_are_taken_with_ids_that_are_numbers_or_texts() {
    let flow = flow(DevicePreset::Rtl433);
    let optional = json!({
        "time": "2026-11-27 07:56:06", "channel": 1, "battery_ok": 1, "temperature_C": -3.4, "humidity": 87,
        "mic": "CRC", "wind_avg_m_s": 2.1, "wind_max_m_s": 4, "wind_dir_deg": 270, "rain_mm": 12.7, "uv": 1,
        "light_lux": 12000, "subtype": 10
    });
    let mut payloads: Vec<String> = Vec::new();
    for id in [json!(215), json!("A1F3")] {
        let all = shapes(&json!({"model": "Nexus-TH", "id": id}), &optional);
        payloads.extend(all.into_iter().filter(|payload| !payload.contains("null")));
    }
    taken(&flow, "rtl_433/Nexus-TH/215", &payloads);
    refused(&flow, r#"{"model": "Nexus-TH", "temperature_C": "21"}"#);
}

#[test]
fn owntracks_places_are_taken_and_nothing_else() {
    let flow = flow(DevicePreset::Owntracks);
    let optional = json!({
        "tid": "JP", "acc": 13, "alt": 160, "vac": 4, "vel": 54, "cog": 270, "batt": 88, "bs": 1, "conn": "w",
        "t": "u", "SSID": "home", "inregions": ["home"], "created_at": 1_764_230_166
    });
    let needed = json!({"_type": "location", "lat": 52.5, "lon": 13.4, "tst": 1_764_230_166});
    let all = shapes(&needed, &optional);
    let payloads: Vec<String> = all.into_iter().filter(|payload| !payload.contains(r#""tid":null"#)).collect();
    taken(&flow, "owntracks/jane/phone", &payloads);
    refused(&flow, r#"{"_type": "lwt", "tst": 1764230166}"#);
}
