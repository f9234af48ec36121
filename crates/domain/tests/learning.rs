//! What is learned from an hour of a home takes the next one.

use hearthgate_domain::flow::learn::TrafficLearner;
use hearthgate_domain::flow::{Flow, RecordVerdict};

/// Chance that follows from a seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// With a fraction or without, as devices write them.
    fn reading(&mut self, from: u64, range: u64) -> String {
        let whole = from + self.below(range);
        if self.one_in(3) { whole.to_string() } else { format!("{whole}.{}", self.below(10)) }
    }
}

type Family = fn(&mut Chance, u64) -> (String, String);

/// Devices of a family on topics of their own, so many of them.
const FAMILIES: [(u64, Family); 8] = [
    (50, zigbee_climate),
    (20, zigbee_plug),
    (25, tasmota_energy),
    (25, tasmota_state),
    (20, shelly_switch),
    (25, shelly_power),
    (25, esphome_sensor),
    (10, owntracks),
];

fn zigbee_climate(chance: &mut Chance, device: u64) -> (String, String) {
    let battery = if chance.one_in(4) { String::new() } else { format!(r#","battery":{}"#, chance.below(101)) };
    let voltage = if chance.one_in(20) { "null".to_owned() } else { chance.reading(2_800, 300) };
    let (temperature, humidity) = (chance.reading(15, 10), chance.reading(30, 40));
    let payload = format!(
        r#"{{"temperature":{temperature},"humidity":{humidity}{battery},"voltage":{voltage},"linkquality":{}}}"#,
        chance.below(255)
    );
    (format!("zigbee2mqtt/room_{device}"), payload)
}

fn zigbee_plug(chance: &mut Chance, device: u64) -> (String, String) {
    let state = if chance.one_in(2) { "ON" } else { "OFF" };
    let (power, energy) = (chance.reading(0, 2_000), chance.reading(10, 90));
    let payload = format!(
        r#"{{"state":"{state}","power":{power},"energy":{energy},"update":{{"state":"idle","installed_version":{}}},"linkquality":{}}}"#,
        chance.below(90),
        chance.below(255)
    );
    (format!("zigbee2mqtt/plug_{device}"), payload)
}

fn tasmota_energy(chance: &mut Chance, device: u64) -> (String, String) {
    let (total, power) = (chance.reading(100, 900), chance.reading(0, 3_000));
    let period = if chance.one_in(5) { String::new() } else { format!(r#","Period":{}"#, chance.below(10)) };
    let payload = format!(
        r#"{{"Time":"2026-11-27T0{}:{:02}:06","ENERGY":{{"TotalStartTime":"2024-01-01T00:00:00","Total":{total}{period},"Power":{power},"Voltage":{}}}}}"#,
        chance.below(10),
        chance.below(60),
        220 + chance.below(20)
    );
    (format!("tele/plug_{device}/SENSOR"), payload)
}

fn tasmota_state(chance: &mut Chance, device: u64) -> (String, String) {
    let payload = format!(
        r#"{{"Time":"2026-11-27T0{}:00:06","Uptime":"0T0{}:00:00","Heap":{},"POWER":"ON","Wifi":{{"AP":1,"RSSI":{},"Signal":-{}}}}}"#,
        chance.below(10),
        chance.below(10),
        chance.below(40),
        chance.below(100),
        chance.below(90)
    );
    (format!("tele/plug_{device}/STATE"), payload)
}

fn shelly_switch(chance: &mut Chance, device: u64) -> (String, String) {
    let errors = if chance.one_in(20) { r#","errors":["overpower"]"# } else { "" };
    let payload = format!(
        r#"{{"id":0,"source":"timer","output":{},"apower":{},"voltage":230.1,"aenergy":{{"total":{},"by_minute":[0.0,1.2,3.4],"minute_ts":{}}},"temperature":{{"tC":{},"tF":100.1}}{errors}}}"#,
        chance.one_in(2),
        chance.reading(0, 900),
        chance.reading(0, 9_000),
        1_790_000_000 + chance.below(9_999),
        chance.reading(30, 20)
    );
    (format!("shellyplus1pm-{device}/status/switch:0"), payload)
}

fn shelly_power(chance: &mut Chance, device: u64) -> (String, String) {
    (format!("shellies/shelly1pm-{device}/relay/0/power"), chance.reading(0, 900))
}

fn esphome_sensor(chance: &mut Chance, device: u64) -> (String, String) {
    let value = if chance.one_in(60) { "nan".to_owned() } else { chance.reading(10, 20) };
    (format!("node_{device}/sensor/temperature/state"), value)
}

fn owntracks(chance: &mut Chance, device: u64) -> (String, String) {
    let payload = format!(
        r#"{{"_type":"location","lat":52.{},"lon":13.{},"acc":{},"batt":{},"tst":{}}}"#,
        chance.below(999),
        chance.below(999),
        chance.below(60),
        chance.below(101),
        1_790_000_000 + chance.below(9_999)
    );
    (format!("owntracks/home/phone_{device}"), payload)
}

/// Each device twelve times.
fn hour(seed: u64) -> Vec<(String, String)> {
    let mut chance = Chance(seed);
    let mut messages = Vec::new();
    for _ in 0..12 {
        for (count, family) in FAMILIES {
            messages.extend((0..count).map(|device| family(&mut chance, device)));
        }
    }
    messages
}

#[test]
fn what_is_learned_from_an_hour_of_two_hundred_devices_takes_the_next_one() {
    let mut learner = TrafficLearner::default();
    for (topic, payload) in hour(1) {
        learner.observe(&topic, payload.as_bytes());
    }
    let proposals = learner.proposals("#");
    let flows: Vec<Flow> = proposals.iter().map(|proposal| Flow::compile(proposal.row(None)).unwrap()).collect();
    let next = hour(2);
    let mut left: Vec<&(String, String)> = Vec::new();
    for message @ (topic, payload) in &next {
        let mut listening = flows.iter().filter(|flow| flow.topic.filter().matches(topic));
        if !listening.any(|flow| flow.judge(topic, payload.as_bytes()) == RecordVerdict::Accepted) {
            left.push(message);
        }
    }
    let topics: Vec<&str> = proposals.iter().map(|proposal| &*proposal.topic).collect();
    assert!(left.len() * 20 <= next.len(), "{} of {} are not taken: {:?}; {topics:?}", left.len(), next.len(), left[0]);
    assert!(proposals.len() <= 10, "{} flows for eight families: {topics:?}", proposals.len());
    assert!(flows.iter().all(|flow| flow.store.as_ref().is_some_and(|store| store.table.is_some())), "{topics:?}");
}
