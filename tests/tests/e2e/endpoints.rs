//! `POST_ENDPOINT`: one endpoint's trouble is nobody else's, nothing is lost, order is kept.

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
