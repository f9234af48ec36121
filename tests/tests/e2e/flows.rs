//! Flows from the command line, tables of their own, and dead letters that are taken through their flow again.

use hearthgate_tests::client::Client;
use hearthgate_tests::database::{Database, Record};
use hearthgate_tests::endpoint::{Answer, Endpoint};
use hearthgate_tests::gateway::{Gateway, Home};
use hearthgate_tests::until;
use std::process::{Output, Stdio};

fn started(home: &Home) -> Gateway {
    home.configure("[broker]\nenabled = true\n");
    let mut gateway = home.start();
    gateway.wait_for_log(&["flows loaded"]);
    gateway
}

pub(crate) fn hearthgate(home: &Home, arguments: &[&str]) -> Output {
    home.command().args(arguments).stdin(Stdio::null()).output().expect("running the command line")
}

/// Standard output of a command that ended well.
pub(crate) fn told(home: &Home, arguments: &[&str]) -> String {
    let output = hearthgate(home, arguments);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {out}{err}");
    out.into_owned()
}

/// Publishes until the flow, whose subscription is being made, has stored something; answers the values of `n`.
async fn publish_until_stored(client: &mut Client, database: &Database, topic: &str, flow: &str) {
    until("the new flow stores", async || {
        client.publish(topic, r#"{"n":0}"#).await;
        client.confirmed(1).await;
        database.records().await.iter().any(|record| record.flow == flow).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_that_the_command_line_adds_is_in_force_at_once() {
    let home = Home::new();
    let _gateway = started(&home);
    let database = Database::sqlite(home.path()).await;
    let added = hearthgate(&home, &["flow", "add", "NEW", "--topic", "new/#", "--schema", r#"{"n":"int"}"#]);
    let answer = String::from_utf8_lossy(&added.stderr);
    assert!(added.status.success() && answer.contains("the running gateway has taken it over"), "{answer}");
    let mut client = Client::connect(home.mqtt, "sensor").await;
    publish_until_stored(&mut client, &database, "new/a", "NEW").await;

    told(&home, &["flow", "disable", "NEW"]);
    let before = database.number("SELECT last_msg_id FROM flows WHERE code = 'NEW'").await;
    client.publish("new/a", r#"{"n":1}"#).await;
    client.publish("sensors/aht10", r#"{"temperature":1.5,"humidity":2.5}"#).await;
    client.confirmed(2).await;
    until("the message after it", async || {
        database.records().await.iter().any(|record| record.flow == "AHT10_SENSOR").then_some(())
    })
    .await;
    assert_eq!(database.number("SELECT last_msg_id FROM flows WHERE code = 'NEW'").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_fills_a_table_of_its_own_with_the_time_of_the_event() {
    let home = Home::new();
    let _gateway = started(&home);
    let database = Database::sqlite(home.path()).await;
    let options = r#"{"table":"climate","attributes":false,"event_time":"at"}"#;
    let schema = r#"{"at":"string","t":"float","room":"string","ok":"bool"}"#;
    let add =
        ["flow", "add", "CLIMATE", "--topic", "climate/+", "--schema", schema, "--options", options, "--disabled"];
    told(&home, &add);
    assert!(
        told(&home, &["flow", "ddl", "CLIMATE", "--apply"]).contains("as it has to be"),
        "it was made with the flow"
    );
    told(&home, &["flow", "edit", "CLIMATE", "--description", "with its table"]);
    told(&home, &["flow", "enable", "CLIMATE"]);
    let mut client = Client::connect(home.mqtt, "sensor").await;
    let body = r#"{"at":"2026-11-21T22:04:02+01:00","t":21.50,"room":"Küche","ok":true,"more":1}"#;
    until("the first row", async || {
        client.publish("climate/kitchen", body).await;
        client.confirmed(1).await;
        (database.number("SELECT COUNT(*) FROM climate").await > 0).then_some(())
    })
    .await;
    let rows = "SELECT COUNT(*) FROM climate WHERE t = 21.5 AND room = 'Küche' AND ok = 1 AND flow_code = 'CLIMATE' \
                AND event_time LIKE '2026-11-21 21:04:02%' AND received_at > event_time";
    until("all rows as they were sent", async || {
        let (stored, last) = (
            database.number(rows).await,
            database.number("SELECT last_msg_id FROM flows WHERE code = 'CLIMATE'").await,
        );
        (stored > 0 && stored == last).then_some(())
    })
    .await;
    assert_eq!(database.records().await, [], "instead of the attribute table");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_dropped_while_readings_come_is_made_again() {
    let home = Home::new();
    let mut gateway = started(&home);
    let database = Database::sqlite(home.path()).await;
    let add =
        ["flow", "add", "TABLE", "--topic", "n/#", "--schema", r#"{"n":"int"}"#, "--options", r#"{"table":"numbers"}"#];
    told(&home, &add);
    told(&home, &["flow", "add", "OTHER", "--topic", "n/#", "--schema", r#"{"n":"int"}"#]);
    let mut client = Client::connect(home.mqtt, "sensor").await;
    publish_until_stored(&mut client, &database, "n/a", "OTHER").await;
    database.execute("DROP TABLE numbers").await;
    client.publish("n/b", r#"{"n":7}"#).await;
    until("its row", async || {
        let stored = "SELECT COUNT(*) FROM sqlite_master JOIN pragma_table_info('numbers') c WHERE c.name = 'n'";
        if database.number(stored).await == 0 {
            return None;
        }
        (database.number("SELECT COUNT(*) FROM numbers WHERE n = 7").await == 1).then_some(())
    })
    .await;
    gateway.wait_for_log(&["the table of a flow was made", "numbers"]);
    let letters = told(&home, &["dlq", "list"]);
    assert!(letters.starts_with("0 in all"), "readings waited, and became no dead letters: {letters}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_goes_through_its_flow_as_it_is_now_and_only_once() {
    let home = Home::new();
    let mut gateway = started(&home);
    let database = Database::sqlite(home.path()).await;
    let mut client = Client::connect(home.mqtt, "sensor").await;
    client.publish("sensors/aht10", r#"{"temperature":"21","humidity":40.0}"#).await;
    client.confirmed(1).await;
    gateway.wait_for_log(&["dead letter", "AHT10_SENSOR"]);
    let id = until("the letter", async || {
        let list = told(&home, &["dlq", "list", "--json"]);
        let letter: serde_json::Value = serde_json::from_str(list.lines().next()?).expect("JSON");
        letter["id"].as_i64()
    })
    .await
    .to_string();

    let refused = hearthgate(&home, &["dlq", "replay", &id]);
    let answer = String::from_utf8_lossy(&refused.stdout);
    assert_eq!(refused.status.code(), Some(1), "{answer}");
    assert!(answer.contains("refused as before") && answer.contains("temperature"), "{answer}");

    let schema = r#"{"temperature":"string","humidity":"float"}"#;
    told(&home, &["flow", "edit", "AHT10_SENSOR", "--schema", schema]);
    assert!(told(&home, &["dlq", "replay", &id]).contains("taken by 1 flow"));
    let rows = until("its rows", async || Some(database.records().await).filter(|rows| !rows.is_empty())).await;
    let record = |name: &str, value: &str| Record {
        flow: "AHT10_SENSOR".into(),
        name: name.into(),
        value: value.into(),
        number: 1,
    };
    assert_eq!(rows, [record("temperature", "21"), record("humidity", "40.0")]);

    let again = hearthgate(&home, &["dlq", "replay", &id]);
    assert_eq!(again.status.code(), Some(1), "a second time only when asked for");
    assert!(String::from_utf8_lossy(&again.stdout).contains("replayed before"));
    assert!(told(&home, &["dlq", "replay", "--all"]).contains("nothing to replay"));
    told(&home, &["dlq", "replay", &id, "--again"]);
    until("the second time", async || {
        (database.number("SELECT last_msg_id FROM flows WHERE code = 'AHT10_SENSOR'").await == 2).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_call_is_replayed_without_storing_its_message_again() {
    let home = Home::new();
    let mut gateway = started(&home);
    let database = Database::sqlite(home.path()).await;
    let endpoint = Endpoint::start(Answer::Status(400));
    let options = r#"{"actions":[{"type":"POST_ENDPOINT"}]}"#;
    let add = [
        "flow",
        "add",
        "BOTH",
        "--topic",
        "both",
        "--schema",
        r#"{"n":"int"}"#,
        "--options",
        options,
        "--endpoint-url",
        &endpoint.url,
    ];
    told(&home, &add);
    let mut client = Client::connect(home.mqtt, "sensor").await;
    publish_until_stored(&mut client, &database, "both", "BOTH").await;
    gateway.wait_for_log(&["dead letter", "BOTH"]);
    // Every message was refused by the endpoint, and stored.
    let stored = until("as many letters as rows", async || {
        let letters = told(&home, &["dlq", "list", "--json"]).lines().count() as i64;
        let stored = database.number("SELECT last_msg_id FROM flows WHERE code = 'BOTH'").await;
        (letters == stored).then_some(stored)
    })
    .await;
    endpoint.switch(Answer::Status(200));
    told(&home, &["dlq", "replay", "--flow", "BOTH"]);
    until("the calls", async || (endpoint.delivered().len() as i64 == stored).then_some(())).await;
    client.publish("both", r#"{"n":9}"#).await;
    client.confirmed(1).await;
    until("a later message", async || database.records().await.iter().any(|r| r.value == "9").then_some(())).await;
    assert_eq!(database.number("SELECT last_msg_id FROM flows WHERE code = 'BOTH'").await, stored + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_call_of_a_flow_that_no_longer_calls_stays_until_it_does_again() {
    let home = Home::new();
    let mut gateway = started(&home);
    let database = Database::sqlite(home.path()).await;
    let endpoint = Endpoint::start(Answer::Status(400));
    let calling = r#"{"actions":[{"type":"POST_ENDPOINT"}]}"#;
    let add = ["flow", "add", "CALLS", "--topic", "calls", "--schema", r#"{"n":"int"}"#, "--options", calling];
    told(&home, &[&add[..], &["--endpoint-url", &endpoint.url]].concat());
    let mut client = Client::connect(home.mqtt, "sensor").await;
    publish_until_stored(&mut client, &database, "calls", "CALLS").await;
    gateway.wait_for_log(&["dead letter", "CALLS"]);
    let id = told(&home, &["dlq", "list"]).split_whitespace().next().expect("a letter").to_owned();
    told(&home, &["flow", "edit", "CALLS", "--options", "{}"]);

    let refused = hearthgate(&home, &["dlq", "replay", &id]);
    let answer = String::from_utf8_lossy(&refused.stdout);
    assert_eq!(refused.status.code(), Some(1), "{answer}");
    assert!(answer.contains("flow CALLS has no POST_ENDPOINT any more: give it one again"), "{answer}");
    let letter: serde_json::Value = serde_json::from_str(&told(&home, &["dlq", "show", &id, "--json"])).expect("JSON");
    assert_eq!((&letter["replayed_at"], &letter["part"]), (&serde_json::Value::Null, &"POST_ENDPOINT".into()));

    endpoint.switch(Answer::Status(200));
    told(&home, &["flow", "edit", "CALLS", "--options", calling]);
    assert!(told(&home, &["dlq", "replay", &id]).contains("taken by 1 flow"));
    until("the call", async || (endpoint.delivered().len() == 1).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn named_levels_of_a_topic_reach_rows_url_and_body() {
    let home = Home::new();
    let _gateway = started(&home);
    let database = Database::sqlite(home.path()).await;
    let endpoint = Endpoint::start(Answer::Status(200));
    let options = r#"{"actions":[{"type":"POST_ENDPOINT"}],
        "url_template":"URL?room={{ captures.room }}","body_template":"{{ captures.kind }}={{ payload.n }}"}"#
        .replace("URL", &endpoint.url);
    let schema = r#"{"n":"int"}"#;
    let add = ["flow", "add", "ROOMS", "--topic", "rooms/{room}/{kind}", "--schema", schema, "--options", &options];
    told(&home, &[&add[..], &["--endpoint-url", &endpoint.url]].concat());
    let explained = told(&home, &["explain", "rooms/hall/t", r#"{"n":5}"#]);
    assert!(explained.contains("room = \"hall\"") && explained.contains("?room=hall t=5"), "{explained}");
    let mut client = Client::connect(home.mqtt, "sensor").await;
    publish_until_stored(&mut client, &database, "rooms/hall/t", "ROOMS").await;
    let first: Vec<(String, String)> =
        database.records().await.into_iter().take(3).map(|record| (record.name, record.value)).collect();
    let row = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(first, [row("room", "hall"), row("kind", "t"), row("n", "0")]);
    let call = until("the call", async || endpoint.calls().first().cloned()).await;
    assert_eq!((call.path.as_str(), call.body.as_str()), ("/in?room=hall", "t=0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_is_learned_from_what_comes_by() {
    let home = Home::new();
    let _gateway = started(&home);
    let database = Database::sqlite(home.path()).await;
    let mut learning = home.command();
    learning.args(["flow", "learn", "garden/{bed}", "--for", "60s", "--messages", "3", "--code", "GARDEN"]);
    let learning =
        learning.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("learning");
    let learning = tokio::task::spawn_blocking(move || learning.wait_with_output().expect("its end"));
    let mut client = Client::connect(home.mqtt, "sensor").await;
    let mut n = 0;
    while !learning.is_finished() {
        client.publish(&format!("garden/{}", n % 2), format!(r#"{{"moisture":{n}.5,"bed":{n}}}"#)).await;
        client.confirmed(1).await;
        n += 1;
    }
    let output = learning.await.expect("learning");
    let flow = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{flow}{}", String::from_utf8_lossy(&output.stderr));
    let schema = "[flow.schema]\nmoisture = \"number\"\nbed = \"number\"\n";
    assert!(flow.contains(r#"code = "GARDEN""#) && flow.contains(schema), "{flow}");
    std::fs::write(home.path().join("garden.toml"), flow).expect("writing");
    told(&home, &["flow", "import", "garden.toml"]);
    until("the learned flow stores", async || {
        client.publish("garden/1", r#"{"moisture":1.5,"bed":2}"#).await;
        client.confirmed(1).await;
        database.records().await.iter().any(|record| record.flow == "GARDEN").then_some(())
    })
    .await;
}
