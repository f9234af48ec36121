//! The hot paths of the domain: `cargo bench -p hearthgate-domain`.
#![expect(clippy::unwrap_used, reason = "the inputs are our own")]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use hearthgate_domain::delivery::MessageOrigin;
use hearthgate_domain::flow::{Flow, FlowRow};
use hearthgate_domain::mapping::{KeywordMaps, MessageCodec};
use hearthgate_domain::payload::{JsonPayload, ValueFormat, field_text};
use hearthgate_domain::redelivery::{RedeliveryVerdict, RedeliveryWindow};
use hearthgate_domain::routing::{FilterTree, RoutingTable};
use hearthgate_domain::schema::PayloadSchema;
use hearthgate_domain::topic::TopicFilter;
use serde_json::{Map, Value, json};
use std::hint::black_box;
use std::sync::Arc;

const MAP: &str = r#"{"root": "home", "topics": ["home/#"],
    "function": {"maptype": "strict", "map": {"Lighting": ["lighting", "light"], "Security": ["security"], "AudioVideo": ["audiovideo"]}},
    "gateway": {"maptype": "none"},
    "location": {"maptype": "strict", "map": {"Kitchen": ["kitchen"], "Office": ["office"], "DiningRm": ["dining_room"], "Hall": ["hall"]}},
    "device": {"maptype": "loose", "map": {"ChangeFilter": ["gate"], "Bell": ["bell"]}},
    "sender": {"maptype": "loose", "map": {"entry": ["entry2mqtt"]}},
    "action": {"maptype": "strict", "map": {"LIGHT_ON": ["light_on"], "LIGHT_OFF": ["light_off"], "STATUS": ["status"]}},
    "argkey": {"maptype": "loose", "map": {"Level": ["level"], "Colour": ["colour"]}},
    "argvalue": {"maptype": "none"}}"#;
const TOPIC: &str = "home/lighting//kitchen/gate/panel/C";
const COMMAND: &[u8] = br#"{"level": "75", "colour": "warm", "fade": "2", "action": "light_on"}"#;
const READING: &str = r#"{"temperature":23.5,"humidity":65.20,"sensor":"aht10-4"}"#;

fn codec(c: &mut Criterion) {
    let mapped = MessageCodec::new(Arc::new(KeywordMaps::from_json(MAP).unwrap()), "entry");
    let plain = MessageCodec::new(Arc::new(KeywordMaps::none("home", Vec::new()).unwrap()), "entry");
    for (name, codec) in [("maps", mapped), ("no_maps", plain)] {
        let message = codec.decode(TOPIC, COMMAND).unwrap();
        c.bench_function(&format!("codec/decode_3_arguments/{name}"), |b| {
            b.iter(|| codec.decode(black_box(TOPIC), black_box(COMMAND)).unwrap());
        });
        c.bench_function(&format!("codec/encode_3_arguments/{name}"), |b| {
            b.iter(|| codec.encode(black_box(&message)).unwrap());
        });
    }
    c.bench_function("maps/from_json", |b| b.iter(|| KeywordMaps::from_json(black_box(MAP)).unwrap()));
}

fn payload(c: &mut Criterion) {
    let nested =
        r#"{"temperature": 23.5, "position": {"lat": 48.1, "lon": [11, 5, 8]}, "name": "K\u00fcche", "ok": true}"#;
    for (name, text) in [("3_fields", READING), ("nested", nested)] {
        c.bench_function(&format!("payload/parse/{name}"), |b| {
            b.iter(|| JsonPayload::parse(black_box(text.as_bytes())).unwrap());
        });
        let payload = JsonPayload::parse_text(text).unwrap();
        c.bench_function(&format!("payload/field_text/{name}"), |b| {
            b.iter(|| {
                payload.fields().iter().map(|field| field_text(&field.value, ValueFormat::Json).len()).sum::<usize>()
            });
        });
    }
}

fn validation(c: &mut Criterion) {
    let short = json!({"temperature": "float", "humidity": "float", "sensor": "string"});
    let real = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "properties": {"temperature": {"type": "number", "minimum": -40}, "humidity": {"type": "number", "maximum": 100}},
        "required": ["temperature", "humidity"]
    });
    let payload = JsonPayload::parse_text(READING).unwrap();
    for (name, schema) in [("short", short), ("json_schema", real)] {
        c.bench_function(&format!("schema/compile/{name}"), |b| {
            b.iter(|| PayloadSchema::compile(black_box(&schema)).unwrap())
        });
        let schema = PayloadSchema::compile(&schema).unwrap();
        c.bench_function(&format!("schema/validate/{name}"), |b| {
            b.iter(|| schema.validate(black_box(&payload)).unwrap())
        });
    }
}

/// Filters of a home: rooms and devices of many homes, every tenth with a wildcard.
fn filter(number: usize) -> String {
    let (home, room, device) = (number / 100, number / 10 % 10, number % 10);
    match number % 10 {
        0 => format!("home{home}/+/device{device}/state"),
        5 => format!("home{home}/room{room}/#"),
        _ => format!("home{home}/room{room}/device{device}/state"),
    }
}

fn matching(c: &mut Criterion) {
    let mut group = c.benchmark_group("tree/match");
    for count in [10, 1_000, 100_000] {
        let mut tree = FilterTree::new();
        (0..count).for_each(|number| tree.insert(&TopicFilter::parse(&filter(number)).unwrap(), number));
        let topics: Vec<String> = (0..1_000)
            .map(|n| {
                let n = n * 7_919 % count;
                format!("home{}/room{}/device{}/state", n / 100, n / 10 % 10, n % 10)
            })
            .collect();
        let mut next = 0;
        group.bench_with_input(BenchmarkId::from_parameter(count), &tree, |b, tree| {
            b.iter(|| {
                next = (next + 1) % topics.len();
                let mut found = 0;
                tree.for_each_match(black_box(&topics[next]), |_| found += 1);
                found
            });
        });
    }
    group.finish();
}

fn flow_row(number: usize) -> FlowRow {
    FlowRow {
        id: number as i64,
        code: format!("FLOW_{number}"),
        topic: filter(number),
        action: "STORE_DB".into(),
        payload_schema: r#"{"temperature": "float", "humidity": "float"}"#.into(),
        enabled: true,
        ..FlowRow::default()
    }
}

fn table(c: &mut Criterion) {
    let rows: Vec<FlowRow> = (0..10_000).map(flow_row).collect();
    let flows: Vec<Arc<Flow>> = rows.iter().map(|row| Arc::new(Flow::compile(row.clone()).unwrap())).collect();
    let table = RoutingTable::new(flows.clone());
    let mut group = c.benchmark_group("table/10000_flows");
    group.sample_size(20);
    group.bench_function("compile", |b| {
        b.iter(|| rows.iter().cloned().map(|row| Flow::compile(row).unwrap()).collect::<Vec<_>>())
    });
    group.bench_function("build", |b| b.iter(|| RoutingTable::new(flows.clone())));
    group.bench_function("reload_unchanged", |b| {
        b.iter(|| {
            let flows = rows.iter().map(|row| table.unchanged(row).unwrap().clone()).collect();
            RoutingTable::new(flows).difference(&table).is_empty()
        });
    });
    group.bench_function("matching", |b| {
        let mut found = Vec::new();
        b.iter(|| {
            table.matching(black_box("home42/room3/device7/state"), &mut found);
            found.len()
        });
    });
    group.finish();
}

/// Ten numbers as they stand, by pointers and by expressions.
fn reading(c: &mut Criterion) {
    let numbers: Vec<String> = (0..10).map(|index| format!(r#""f{index}":{index}.5"#)).collect();
    let payload = format!("{{{}}}", numbers.join(","));
    let schema: Value = (0..10).map(|index| (format!("f{index}"), json!("float"))).collect::<Map<_, _>>().into();
    let fields = |source: fn(usize) -> Value| -> Value {
        let rules: Map<String, Value> = (0..10).map(|index| (format!("f{index}"), source(index))).collect();
        json!({"fields": rules})
    };
    for (name, options) in [
        ("plain", json!({})),
        ("10_pointers", fields(|index| json!(format!("/f{index}")))),
        ("10_expressions", fields(|index| json!({"expr": format!("payload.f{index}")}))),
    ] {
        let row = FlowRow { payload_schema: schema.to_string(), options: Some(options.to_string()), ..flow_row(1) };
        let flow = Flow::compile(row).unwrap();
        c.bench_function(&format!("reading/judge/{name}"), |b| {
            b.iter(|| flow.judge(black_box("home0/room0/device1/state"), black_box(payload.as_bytes())));
        });
    }
}

fn redelivery(c: &mut Criterion) {
    let mut owed = RedeliveryWindow::default();
    let mut seq = 0_u64;
    c.bench_function("redelivery/check_and_record", |b| {
        b.iter(|| {
            seq += 1;
            let origin = MessageOrigin { session: 1, packet_id: (seq % 65_535) as u16 + 1, dup: false };
            let verdict = owed.check(&origin, seq);
            owed.record(&origin, seq, seq);
            verdict == RedeliveryVerdict::New
        });
    });
}

criterion_group!(benches, codec, payload, validation, matching, table, reading, redelivery);
criterion_main!(benches);
