//! `POST_ENDPOINT`: one endpoint's trouble is nobody else's, nothing is lost, order is kept.

use crate::flows::told;
use hearthgate_tests::client::Client;
use hearthgate_tests::database::Database;
use hearthgate_tests::endpoint::{Answer, Endpoint};
use hearthgate_tests::gateway::Home;
use hearthgate_tests::until;
use std::collections::HashSet;

const MESSAGES: usize = 50;

async fn add_flow(database: &Database, code: &str, url: &str) {
    database
        .execute(&format!(
            r#"INSERT INTO flows (code, description, topic, action, payload_schema, endpoint_url)
               VALUES ('{code}', '', 'readings/#', 'POST_ENDPOINT', '{{"n":"int"}}', '{url}')"#
        ))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_a_failing_and_a_refusing_endpoint_do_not_hold_up_a_good_one() {
    let home = Home::new();
    let pauses = vec!["\"1s\""; 90].join(", ");
    home.configure(&format!(
        "[broker]\nenabled = true\n[endpoints]\nhttp_timeout = \"500ms\"\nretry = [\"0s\", {pauses}]\n\
         [endpoints.breaker]\nrest = \"1s\"\n"
    ));
    let mut gateway = home.start();
    gateway.wait_for_log(&["flows loaded"]);
    let database = Database::sqlite(home.path()).await;
    let good = Endpoint::start(Answer::Status(200));
    let hanging = Endpoint::start(Answer::Hang);
    let failing = Endpoint::start(Answer::Status(503));
    let refusing = Endpoint::start(Answer::Status(400));
    for (code, endpoint) in [("GOOD", &good), ("HANGING", &hanging), ("FAILING", &failing), ("REFUSING", &refusing)] {
        add_flow(&database, code, &endpoint.url).await;
    }
    gateway.signal("HUP");
    gateway.wait_for_log(&["flows reloaded"]);
    let mut client = Client::connect(home.mqtt, "sensor").await;
    // The new subscription stands once a message has come through.
    until("the first delivery", async || {
        client.publish("readings/a", r#"{"n":-1}"#).await;
        client.confirmed(1).await;
        (!good.delivered().is_empty()).then_some(())
    })
    .await;
    let first = good.calls().len();

    let bodies: Vec<String> = (0..MESSAGES).map(|n| format!(r#"{{"n":{n}}}"#)).collect();
    for body in &bodies {
        client.publish("readings/a", body.as_str()).await;
    }
    client.confirmed(MESSAGES).await;
    until("the good one has all", async || (good.delivered().contains(&bodies[MESSAGES - 1])).then_some(())).await;
    let delivered: Vec<String> = good.delivered().into_iter().filter(|body| bodies.contains(body)).collect();
    assert_eq!(delivered, bodies, "in order, each once");
    assert!(good.calls().len() >= first + MESSAGES);

    hanging.switch(Answer::Status(200));
    failing.switch(Answer::Status(200));
    for endpoint in [&hanging, &failing] {
        until("all after it recovered", async || endpoint.delivered().contains(&bodies[MESSAGES - 1]).then_some(()))
            .await;
        let mut seen = HashSet::new();
        let calls = endpoint.calls().into_iter().filter(|call| call.answered == 200);
        let once: Vec<String> = calls.filter(|call| seen.insert(call.id.clone())).map(|call| call.body).collect();
        let once: Vec<String> = once.into_iter().filter(|body| bodies.contains(body)).collect();
        assert_eq!(once, bodies, "in order, none lost");
    }
    until("the refused ones are given up", async || {
        let refused = refusing.calls().iter().filter(|call| bodies.contains(&call.body)).count();
        (refused == MESSAGES).then_some(())
    })
    .await;
    let (status, log) = gateway.terminate();
    assert!(status.success(), "{log}");
    assert!(log.contains("REFUSING") && log.contains("dead letter"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_wait_for_a_secret_that_is_missing_and_nothing_is_a_dead_letter() {
    let home = Home::new();
    home.configure("[broker]\nenabled = true\n");
    std::fs::write(home.path().join(".env"), "HEARTHGATE_SECRET_KEY=k\n").expect("writing");
    let mut gateway = home.start();
    gateway.wait_for_log(&["flows loaded"]);
    let endpoint = Endpoint::start(Answer::Status(200));
    let add = |code: &str, topic: &str, options: &str| {
        let flow = ["flow", "add", code, "--topic", topic, "--schema", "{}", "--action", "POST_ENDPOINT"];
        told(&home, &[&flow[..], &["--endpoint-url", &endpoint.url, "--options", options]].concat());
    };
    add("NAMED", "named", r#"{"headers":{"X-Key":{"secret":"env:HEARTHGATE_SECRET_KEY"}}}"#);
    add("HOOK", "hook", r#"{"auth":{"bearer":"file:hook"}}"#);
    add("OTHER", "other", r#"{"auth":{"bearer":"file:none"}}"#);
    let mut client = Client::connect(home.mqtt, "sensor").await;
    until("the one whose secret is in the .env file", async || {
        client.publish("named", r#"{"named":1}"#).await;
        client.confirmed(1).await;
        (!endpoint.calls().is_empty()).then_some(())
    })
    .await;
    let waits = |flow: &str| told(&home, &["status"]).contains(&format!("waiting: {flow}: the secret file:"));
    for flow in ["HOOK", "OTHER"] {
        let topic = flow.to_lowercase();
        until("its deliveries wait", async || {
            client.publish(&topic, format!("{{\"{topic}\":1}}")).await;
            client.confirmed(1).await;
            waits(flow).then_some(())
        })
        .await;
    }
    gateway.wait_for_log(&["deliveries wait for a secret", "file:hook"]);
    let delivered = |text: &str| endpoint.delivered().contains(&text.to_owned());
    assert!(!delivered(r#"{"hook":1}"#) && told(&home, &["dlq", "list"]).starts_with("0 in all"));
    let folder = home.path().join("secrets/flows");
    std::fs::create_dir_all(&folder).expect("the folder of secrets");
    std::fs::write(folder.join("hook"), "token").expect("the secret");
    until("the first one goes out", async || delivered(r#"{"hook":1}"#).then_some(())).await;
    told(&home, &["flow", "edit", "OTHER", "--options", r#"{"auth":{"bearer":"file:hook"}}"#]);
    until("the other one names another secret", async || delivered(r#"{"other":1}"#).then_some(())).await;
    assert!(!waits("HOOK") && !waits("OTHER"));
    assert!(told(&home, &["dlq", "list"]).starts_with("0 in all"));
}
