//! Flows for payloads that are not flat JSON objects: bare values, nested fields, arrays of records.

use crate::flows::{hearthgate, told};
use hearthgate_tests::client::Client;
use hearthgate_tests::database::Database;
use hearthgate_tests::endpoint::{Answer, Endpoint};
use hearthgate_tests::gateway::{Gateway, Home};
use hearthgate_tests::http::request;
use hearthgate_tests::until;
use serde_json::{Value, json};

fn started(home: &Home) -> Gateway {
    home.configure("[broker]\nenabled = true\n");
    let mut gateway = home.start();
    gateway.wait_for_log(&["flows loaded"]);
    gateway
}

fn add(home: &Home, code: &str, topic: &str, schema: &str, options: &str) {
    told(home, &["flow", "add", code, "--topic", topic, "--schema", schema, "--options", options]);
}

/// Publishes until the subscription that is being made has brought a row; then there are no more than those.
async fn publish(client: &mut Client, topic: &str, payload: &str) {
    client.publish(topic, payload).await;
    client.confirmed(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_are_found_by_pointer_converted_computed_and_stored_as_sent() {
    let home = Home::new();
    let _gateway = started(&home);
    let database = Database::sqlite(home.path()).await;
    let options = r#"{"table":"energy","fields":{"power":"/ENERGY/Power","fahrenheit":{"expr":"payload.T * 9 / 5 + 32"},
        "on":{"from":["/POWER1","/POWER"],"map":{"ON":true,"OFF":false}},"rssi":{"from":"/rssi","optional":true}},
        "when":"payload.ENERGY is defined","topic":true}"#;
    let schema = r#"{"power":"number","fahrenheit":"number","on":"bool","rssi":"int?","topic":"string"}"#;
    add(&home, "TASMOTA", "tele/{device}/SENSOR", schema, options);
    let mut client = Client::connect(home.mqtt, "plug").await;
    until("the first row", async || {
        publish(&mut client, "tele/plug/SENSOR", r#"{"Uptime":1}"#).await;
        publish(&mut client, "tele/plug/SENSOR", r#"{"ENERGY":{"Power":12.50},"T":20,"POWER":"ON"}"#).await;
        (database.number("SELECT COUNT(*) FROM energy").await > 0).then_some(())
    })
    .await;
    let good = "SELECT COUNT(*) FROM energy WHERE power = 12.5 AND fahrenheit = 68 AND \"on\" = 1 AND rssi IS NULL \
                AND topic = 'tele/plug/SENSOR' AND device = 'plug'";
    assert_eq!(database.number(good).await, database.number("SELECT COUNT(*) FROM energy").await);
    assert!(told(&home, &["dlq", "list"]).starts_with("0 in all"), "what is skipped is no dead letter");
    let records = database.records().await;
    let power = records.iter().find(|record| record.name == "power").expect("an attribute");
    assert_eq!(power.value, "12.50", "digit for digit");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_value_is_a_record() {
    let home = Home::new();
    let _gateway = started(&home);
    let database = Database::sqlite(home.path()).await;
    add(&home, "BARE", "shelly/{device}/{what#}", r#"{"value":"number"}"#, r#"{"payload":"value","unfit":"skip"}"#);
    let mut client = Client::connect(home.mqtt, "shelly").await;
    until("the value", async || {
        publish(&mut client, "shelly/plug/relay/0/power", "21.70\n").await;
        publish(&mut client, "shelly/plug/relay/0", "on").await;
        let records = database.records().await;
        records.iter().any(|record| record.name == "value" && record.value == "21.70").then_some(())
    })
    .await;
    assert!(told(&home, &["dlq", "list"]).starts_with("0 in all"), "unfit payloads are skipped");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_element_has_its_number_and_a_refused_one_is_a_dead_letter_alone() {
    let home = Home::new();
    let mut gateway = started(&home);
    let database = Database::sqlite(home.path()).await;
    let options = r#"{"table":"readings","each":"/r","fields":{"t":"/t","site":"^/site"},"key":["element.id"],
        "on_change":["t"]}"#;
    add(&home, "EACH", "each", r#"{"t":"number","site":"string"}"#, options);
    let mut client = Client::connect(home.mqtt, "bridge").await;
    until("the subscription", async || {
        publish(&mut client, "each", r#"{"site":"s","r":[{"id":0,"t":0}]}"#).await;
        (database.number("SELECT COUNT(*) FROM readings").await > 0).then_some(())
    })
    .await;
    let payload = r#"{"site":"s","r":[{"id":1,"t":1.5},{"id":2,"t":"x"},{"id":3,"t":3},{"id":1,"t":1.5}]}"#;
    publish(&mut client, "each", payload).await;
    until("both good elements", async || {
        (database.number("SELECT COUNT(*) FROM readings WHERE t > 1 AND site = 's'").await == 2).then_some(())
    })
    .await;
    gateway.wait_for_log(&["dead letter", "EACH"]);
    let letters = until("the letter", async || {
        let letters = told(&home, &["dlq", "list", "--json"]);
        letters.contains("EACH").then_some(letters)
    })
    .await;
    assert!(!letters.contains("1.5"), "the others are not in it: {letters}");
    told(&home, &["flow", "edit", "EACH", "--schema", r#"{"site":"string"}"#, "--yes"]);
    told(&home, &["dlq", "replay", "--flow", "EACH"]);
    until("the element that was refused", async || {
        (database.number("SELECT COUNT(*) FROM readings").await == 4).then_some(())
    })
    .await;
    let gapless =
        "SELECT COUNT(*) FROM readings r WHERE last_msg_id = (SELECT COUNT(*) FROM readings WHERE id <= r.id)";
    assert_eq!(database.number(gapless).await, 4, "numbers without a gap");
}

#[tokio::test(flavor = "multi_thread")]
async fn options_that_cannot_be_meant_are_refused_all_at_once() {
    let home = Home::new();
    let _gateway = started(&home);
    let options = r#"{"fields":{"t":{"form":"/t"}},"when":"payload.","tabel":"x"}"#;
    let add = ["flow", "add", "BAD", "--topic", "bad", "--schema", r#"{"t":"number"}"#, "--options", options];
    let output = hearthgate(&home, &add);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    for part in ["did you mean \"from\"?", "did you mean \"table\"?", "when: \"payload.\" is no expression"] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_shows_records_sources_and_what_when_said() {
    let home = Home::new();
    let _gateway = started(&home);
    let options = r#"{"each":"/r","fields":{"t":"/t"},"when":"element.t is defined"}"#;
    add(&home, "EACH", "each", r#"{"t":"number"}"#, options);
    let shown = told(&home, &["explain", "each", r#"{"r":[{"t":1.50},{"u":1}]}"#]);
    for part in ["field t from /t", r#"record {"t":1.50}"#, "row t = \"1.50\"", "skipped, when: element.t is defined"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_says_whether_a_message_would_be_kept_back_and_check_tries_templates_on_the_last_one() {
    let home = Home::new();
    let _gateway = started(&home);
    let database = Database::sqlite(home.path()).await;
    add(&home, "GATED", "gated", r#"{"v":"number"}"#, r#"{"key":["payload.id"],"on_change":["v"]}"#);
    let first = told(&home, &["explain", "gated", r#"{"id":7,"v":1}"#]);
    assert!(first.contains("passes on_change and min_interval: of no earlier one"), "{first}");
    let mut client = Client::connect(home.mqtt, "sensor").await;
    until("a row", async || {
        publish(&mut client, "gated", r#"{"id":7,"v":1}"#).await;
        (!database.records().await.is_empty()).then_some(())
    })
    .await;
    until("the fate is kept", async || {
        let same = told(&home, &["explain", "gated", r#"{"id":7,"v":1}"#]);
        same.contains("would be kept back by on_change").then_some(())
    })
    .await;
    for other in [r#"{"id":7,"v":2}"#, r#"{"id":8,"v":1}"#] {
        let shown = told(&home, &["flow", "test", "GATED", "--payload", other]);
        assert!(shown.contains("passes on_change"), "{shown}");
    }
    let broken = r#"{"actions":[{"type":"PUBLISH","topic":"out/{{ payload.none.y }}"}]}"#;
    let output = hearthgate(&home, &["flow", "edit", "GATED", "--options", broken]);
    let doubt = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && doubt.contains("a template fails on the last message that is kept"), "{doubt}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_time_of_an_event_is_stored_as_the_time_that_it_was_also_when_summer_time_changes() {
    let home = Home::new();
    home.configure("[broker]\nenabled = true\n[flows]\ntime_zone = \"America/New_York\"\n");
    let mut gateway = home.start();
    gateway.wait_for_log(&["flows loaded"]);
    let database = Database::sqlite(home.path()).await;
    let schema = r#"{"n":"int"}"#;
    let time = r#"{"from":"/Time","zone":"Europe/Berlin","unreadable":"refuse"}"#;
    let options = format!(r#"{{"table":"energy","fields":{{"n":"/ENERGY/n"}},"event_time":{time}}}"#);
    add(&home, "ENERGY", "tele/{device}/SENSOR", schema, &options);
    add(&home, "PLAIN", "plain", schema, r#"{"table":"plain","event_time":"at"}"#);
    let mut client = Client::connect(home.mqtt, "plug").await;
    until("both subscriptions", async || {
        publish(&mut client, "tele/plug/SENSOR", r#"{"Time":"2026-07-01T12:00:00","ENERGY":{"n":0}}"#).await;
        publish(&mut client, "plain", r#"{"at":"2026-01-01T00:00:00","n":0}"#).await;
        let stored = "SELECT (SELECT COUNT(*) FROM energy) > 0 AND (SELECT COUNT(*) FROM plain) > 0";
        (database.number(stored).await == 1).then_some(())
    })
    .await;
    for (n, time) in [(1, "2026-03-29T02:30:00"), (2, "2026-10-25T02:30:00"), (3, "noon"), (4, "2026-10-25T03:30:00")] {
        let payload = format!(r#"{{"Time":"{time}","ENERGY":{{"n":{n}}}}}"#);
        publish(&mut client, "tele/plug/SENSOR", &payload).await;
    }
    until("the last one", async || {
        (database.number("SELECT COUNT(*) FROM energy WHERE n = 4").await == 1).then_some(())
    })
    .await;
    for (n, time) in [(0, "2026-07-01 10:00:00"), (1, "2026-03-29 01:30:00"), (2, "2026-10-25 00:30:00")] {
        let wrong = format!("SELECT COUNT(*) FROM energy WHERE n = {n} AND event_time NOT LIKE '{time}%'");
        assert_eq!(database.number(&wrong).await, 0, "{time}");
    }
    let in_new_york = "SELECT COUNT(*) FROM plain WHERE event_time NOT LIKE '2026-01-01 05:00:00%'";
    assert_eq!(database.number(in_new_york).await, 0);
    assert_eq!(database.number("SELECT COUNT(*) FROM energy WHERE n = 3").await, 0);
    let letters = until("the one without a time", async || {
        let letters = told(&home, &["dlq", "list", "--json"]);
        letters.contains("event_time").then_some(letters)
    })
    .await;
    assert!(letters.contains("noon") && letters.contains("/Time"), "{letters}");
    let sample = r#"{"Time":"2026-12-01T08:00","ENERGY":{"n":5}}"#;
    let tested = told(&home, &["flow", "test", "ENERGY", "--topic", "tele/plug/SENSOR", "--payload", sample]);
    assert!(tested.contains("event_time 2026-12-01T07:00:00Z"), "{tested}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_template_makes_what_is_published_and_no_value_can_add_a_key_to_it() {
    let home = Home::new();
    let mut gateway = started(&home);
    let publish = |topic: &str, template: &str| {
        json!({"actions": [{"type": "PUBLISH", "topic": topic, "payload_template": template}]}).to_string()
    };
    let template = r#"{"name":"{{ payload.n }}","t":{{ payload.t }},"room":{{ captures.room }}}"#;
    let add = |code: &str, options: &str| {
        let flow = ["flow", "add", code, "--topic", "in/{room}", "--schema", "{}", "--action", "PUBLISH"];
        hearthgate(&home, &[&flow[..], &["--options", options]].concat())
    };
    let refused = add("BROKEN", &publish("out/x", "{{ payload.n "));
    let reason = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && reason.contains("payload_template of PUBLISH"), "{reason}");
    let added = add("OUT", &publish("out/{{ captures.room }}", template));
    assert!(added.status.success(), "{added:?}");
    let sent = r#"{"n":"x\",\"role\":\"admin","t":21.5}"#;
    let shown = told(&home, &["explain", "in/hall", sent]);
    assert!(shown.contains("payload {\"name\":\"x\\\",\\\"role"), "{shown}");
    let mut client = Client::connect(home.mqtt, "sensor").await;
    client.subscribe("out/#").await;
    let message = until("what is published", async || {
        client.publish("in/hall", sent).await;
        client.waiting().into_iter().next()
    })
    .await;
    let (topic, payload) = message;
    assert_eq!(topic, "out/hall");
    let made: Value = serde_json::from_str(&payload).expect("JSON");
    assert_eq!(made, json!({"name": "x\",\"role\":\"admin", "t": 21.5, "room": "hall"}));
    client.publish("in/hall", r#"{"n":"no t"}"#).await;
    gateway.wait_for_log(&["dead letter", "OUT"]);
}

/// The next state of silence that a client gets in which so many devices are silent.
async fn silent_state(client: &mut Client, silent: u64) -> Value {
    let next = async {
        loop {
            let state: Value = serde_json::from_str(&client.next().await.1).unwrap_or_default();
            if state["silent"] == silent {
                return state;
            }
        }
    };
    tokio::time::timeout(hearthgate_tests::PATIENCE, next).await.unwrap_or_else(|_| panic!("never {silent} silent"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_not_heard_is_told_once_also_over_a_restart_until_it_is_back() {
    let home = Home::new();
    let gateway = started(&home);
    let database = Database::sqlite(home.path()).await;
    let options = json!({"silence": "1s", "on_change": true, "silent_actions": [
        {"type": "PUBLISH", "topic": "alarm/{{ 'silent' if payload.silent else 'back' }}", "payload_template": "{\"who\":{{ payload.keys }}}"}
    ]});
    add(&home, "QUIET", "quiet/{device}", r#"{"n":"int"}"#, &options.to_string());
    let mut watcher = Client::connect(home.mqtt, "watcher").await;
    watcher.subscribe("hearthgate/+/flow/QUIET/silent").await;
    let mut alarms = Client::connect(home.mqtt, "alarms").await;
    alarms.subscribe("alarm/#").await;
    let mut device = Client::connect(home.mqtt, "device").await;
    until("the device is heard", async || {
        publish(&mut device, "quiet/a", r#"{"n":1}"#).await;
        database.records().await.iter().any(|record| record.flow == "QUIET").then_some(())
    })
    .await;
    publish(&mut device, "quiet/b", r#"{"n":"no number"}"#).await;
    let alarm: Value = serde_json::from_str(&alarms.next_on("alarm/silent").await).expect("JSON");
    assert_eq!(alarm, json!({"who": ["quiet/a"]}), "what is refused is not heard");
    let state = silent_state(&mut watcher, 1).await;
    assert_eq!((&state["flow"], &state["keys"][0]["key"]), (&json!("QUIET"), &json!("quiet/a")));
    assert!(state["keys"][0]["since"].as_i64().is_some_and(|since| since > 1_700_000_000), "{state}");
    until("it is kept", async || {
        let kept = std::fs::read_to_string(home.path().join("data/silence.json")).unwrap_or_default();
        let kept: Value = serde_json::from_str(&kept).unwrap_or_default();
        let flows = kept["flows"].as_object()?;
        flows.values().any(|flow| flow["devices"]["quiet/a"].is_i64()).then_some(())
    })
    .await;

    gateway.kill();
    let mut gateway = home.start();
    gateway.wait_for_log(&["flows loaded"]);
    let mut alarms = Client::connect(home.mqtt, "alarms again").await;
    alarms.subscribe("alarm/#").await;
    let mut watcher = Client::connect(home.mqtt, "watcher again").await;
    watcher.subscribe("hearthgate/+/flow/QUIET/silent").await;
    silent_state(&mut watcher, 1).await;
    let mut device = Client::connect(home.mqtt, "device again").await;
    publish(&mut device, "quiet/a", r#"{"n":1}"#).await;
    let (topic, _) = alarms.next().await;
    assert_eq!(topic, "alarm/back", "a silence is told once");
    silent_state(&mut watcher, 0).await;
    assert_eq!(alarms.next().await.0, "alarm/silent", "and so is the next one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silence_is_posted_and_logged_also_after_a_kill_and_shown_by_status_and_api() {
    let home = Home::new();
    let mut gateway = started(&home);
    let endpoint = Endpoint::start(Answer::Hang);
    let options = json!({"silence": "1s", "headers": {"X-Site": "home"},
        "silent_actions": [{"type": "POST_ENDPOINT"}, {"type": "LOG", "level": "warn"}]});
    let flow = ["flow", "add", "QUIET", "--topic", "quiet/{device}", "--schema", r#"{"n":"int"}"#, "--options"];
    told(&home, &[&flow[..], &[&options.to_string(), "--endpoint-url", &endpoint.url]].concat());
    let database = Database::sqlite(home.path()).await;
    let mut device = Client::connect(home.mqtt, "device").await;
    until("the device is heard", async || {
        publish(&mut device, "quiet/a", r#"{"n":1}"#).await;
        database.records().await.iter().any(|record| record.flow == "QUIET").then_some(())
    })
    .await;
    gateway.wait_for_log(&["silent: nothing came for 1s", "quiet/a"]);
    until("the device is kept as one that is listened for", async || {
        let kept = std::fs::read_to_string(home.path().join("data/silence.json")).unwrap_or_default();
        kept.contains(r#""quiet/a":null"#).then_some(())
    })
    .await;
    gateway.kill();

    endpoint.switch(Answer::Status(200));
    let mut gateway = home.start();
    let notice =
        |silent: bool| json!({"flow": "QUIET", "silent": silent, "after": "1s", "count": 1, "keys": ["quiet/a"]});
    let delivered = || -> Vec<Value> {
        endpoint.delivered().iter().map(|body| serde_json::from_str(body).expect("JSON")).collect()
    };
    until("the call that the kill cut off", async || delivered().contains(&notice(true)).then_some(())).await;
    gateway.wait_for_log(&["QUIET", "message", r#""silent":true"#]);
    let shown = told(&home, &["status"]);
    assert!(shown.contains("silent: QUIET: nothing came for 1s from quiet/a (since 20"), "{shown}");
    let status: Value = serde_json::from_str(&told(&home, &["status", "--json"])).expect("JSON");
    let silent = &status["silent"][0];
    let device_shown = (&silent["flow"], &silent["count"], &silent["devices"][0]["key"]);
    assert_eq!(device_shown, (&json!("QUIET"), &json!(1), &json!(["quiet/a"])));
    let (_, answer) = request(home.http, "GET", "/api/v1/flows/QUIET").expect("the HTTP API");
    let flow: Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!((&flow["figures"]["silent"], &flow["silence"]["after"]), (&json!(1), &json!("1s")), "{flow}");

    let mut device = Client::connect(home.mqtt, "device again").await;
    publish(&mut device, "quiet/a", r#"{"n":2}"#).await;
    until("that it is back", async || delivered().contains(&notice(false)).then_some(())).await;
    gateway.wait_for_log(&["QUIET", "message", r#""silent":false"#]);
}
