//! What devices send, written down in files: each message with what becomes of it.
//!
//! A shape is three lines: a heading, topic and payload, and, after `=`, the outcome. That is the columns that are not
//! NULL, and the time of the event after `@`; or `skipped` or `refused`, and why. Several records or flows are parted by `|`.

use super::flows;
use crate::cli::DevicePreset;
use hearthgate_domain::event_time::EventZone;
use hearthgate_domain::flow::{Flow, RecordVerdict};
use hearthgate_domain::payload::JsonPayload;
use hearthgate_storage::sql::TypedTable;

const FILES: [(DevicePreset, &str); 7] = [
    (DevicePreset::Tasmota, include_str!("tasmota.txt")),
    (DevicePreset::ShellyGen1, include_str!("shelly-gen1.txt")),
    (DevicePreset::ShellyGen2, include_str!("shelly-gen2.txt")),
    (DevicePreset::Esphome, include_str!("esphome.txt")),
    (DevicePreset::Dsmr, include_str!("dsmr.txt")),
    (DevicePreset::HomeassistantStatestream, include_str!("homeassistant-statestream.txt")),
    (DevicePreset::Frigate, include_str!("frigate.txt")),
];

#[test]
fn each_shape_of_a_family_ends_as_its_file_says() {
    let mut wrong = String::new();
    for (preset, file) in FILES {
        let flows = flows(preset);
        let shapes: Vec<Vec<&str>> = file.trim_end().split("\n\n").map(|shape| shape.lines().collect()).collect();
        assert!(shapes.len() >= 30, "{preset:?}: {}", shapes.len());
        for shape in shapes {
            let &[heading, message, outcome] = &*shape else { panic!("{preset:?}: three lines: {shape:?}") };
            let (topic, payload) = message.split_once(' ').unwrap_or((message, ""));
            let found = format!("= {}", outcome_of(&flows, topic, payload));
            if found != outcome {
                wrong += &format!("{preset:?} {heading}\n{message}\n{found}\n\n");
            }
        }
    }
    assert!(wrong.is_empty(), "these end otherwise:\n{wrong}");
}

fn outcome_of(flows: &[Flow], topic: &str, payload: &str) -> String {
    let taking = flows.iter().filter(|flow| flow.topic.filter().matches(topic));
    let outcomes: Vec<String> = taking.flat_map(|flow| records_of(flow, topic, payload)).collect();
    if outcomes.is_empty() { "no flow".to_owned() } else { outcomes.join(" | ") }
}

fn records_of(flow: &Flow, topic: &str, payload: &str) -> Vec<String> {
    let reading = flow.reading.as_ref().unwrap();
    let parts = reading.split(payload.as_bytes()).unwrap().unwrap_or_else(|| vec![payload.into()]);
    parts.iter().map(|part| record_of(flow, topic, part)).collect()
}

fn record_of(flow: &Flow, topic: &str, payload: &[u8]) -> String {
    match flow.judge(topic, payload) {
        // The expression stands in the flow.
        RecordVerdict::Skipped(reason) if reason.starts_with("when: ") => return "skipped: when".to_owned(),
        RecordVerdict::Skipped(reason) => return format!("skipped: {reason}"),
        RecordVerdict::Refused(problem) => return format!("refused: {problem}"),
        RecordVerdict::Accepted => {}
    }
    let table = TypedTable::of(flow).unwrap().unwrap();
    let levels: Vec<(&str, &str)> = flow.topic.captures(topic).collect();
    let record = flow.record(topic, payload).unwrap();
    let record = JsonPayload::parse(&record).unwrap();
    let moment = flow.event_time(topic, payload, &record, 0, &EventZone::UTC).unwrap();
    let row = table.row(&levels, &record, moment.time);
    let cells = row.cells().filter_map(|(column, value)| Some(format!("{column}={}", value?)));
    let time = moment.time.map(|time| format!("@{time}"));
    cells.chain(time).collect::<Vec<_>>().join(" ")
}
