//! What devices send, written down in files: each message with what becomes of it.
//!
//! A shape is three lines: a heading, topic and payload, and, after `=`, the outcome. That is the columns that are not
//! NULL, and the time of the event after `@`; or `skipped` or `refused`, and why. Several records or flows are parted by `|`.
//! Times without an offset are of the zone of Berlin.
//!
//! With `HEARTHGATE_BLESS=1` the outcomes are written into the files, for review.

use super::flows;
use crate::cli::DevicePreset;
use clap::ValueEnum as _;
use hearthgate_domain::event_time::EventZone;
use hearthgate_domain::flow::{Flow, RecordVerdict};
use hearthgate_domain::payload::JsonPayload;
use hearthgate_storage::sql::TypedTable;
use std::fs;
use std::path::Path;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/commands/flow/preset/tests");

#[test]
fn each_shape_of_a_family_ends_as_its_file_says() {
    let mut wrong = String::new();
    for preset in DevicePreset::value_variants() {
        let path = Path::new(FOLDER).join(format!("{}.txt", preset.to_possible_value().unwrap().get_name()));
        let file = fs::read_to_string(&path).unwrap();
        let flows = flows(*preset);
        let shapes: Vec<Vec<&str>> = file.trim_end().split("\n\n").map(|shape| shape.lines().collect()).collect();
        assert!(shapes.len() >= 30, "{preset:?}: {}", shapes.len());
        let mut ends = Vec::new();
        for shape in shapes {
            let &[heading, message, outcome] = &*shape else { panic!("{preset:?}: three lines: {shape:?}") };
            let (topic, payload) = message.split_once(' ').unwrap_or((message, ""));
            let found = format!("= {}", outcome_of(&flows, topic, payload));
            ends.push(format!("{heading}\n{message}\n{found}\n"));
            if found != outcome {
                wrong += &format!("{preset:?} {heading}\n{message}\n{found}\n\n");
            }
        }
        if std::env::var_os("HEARTHGATE_BLESS").is_some() {
            fs::write(&path, ends.join("\n")).unwrap();
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
    let parts = flow.reading.as_ref().and_then(|reading| reading.split(payload.as_bytes()).unwrap());
    let parts = parts.unwrap_or_else(|| vec![payload.into()]);
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
    let zone: EventZone = "Europe/Berlin".parse().unwrap();
    let moment = flow.event_time(topic, payload, &record, 0, &zone).unwrap();
    let row = table.row(&levels, &record, moment.time);
    let cells = row.cells().filter_map(|(column, value)| Some(format!("{column}={}", value?)));
    let time = moment.time.map(|time| format!("@{time}"));
    cells.chain(time).collect::<Vec<_>>().join(" ")
}
