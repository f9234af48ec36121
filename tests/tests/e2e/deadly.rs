//! A message that stops a part of the gateway twice becomes a dead letter of that part; the others go on, in order.

use crate::flows::told;
use crate::opening::{Opening, opening};
use crate::supervision::restarts_of;
use hearthgate_tests::client::Client;
use hearthgate_tests::database::Database;
use hearthgate_tests::endpoint::{Answer, Endpoint};
use hearthgate_tests::gateway::Home;
use hearthgate_tests::http::is_ready;
use hearthgate_tests::until;
use std::collections::HashSet;

const QUICK: &str = "[supervision]\nbackoff = \"20ms\"\nmax_backoff = \"50ms\"\nmax_restarts = 100\n";

/// Opens with the flow `DEADLY` in force, which stores and does what `more` says.
async fn opening_with(more: &[&str]) -> Opening {
    let mut site = opening(QUICK).await;
    let add = ["flow", "add", "DEADLY", "--topic", "deadly/#", "--schema", r#"{"temperature":"int"}"#];
    told(&site.home, &[&add, more].concat());
    site.gateway.wait_for_log(&["flows reloaded", "added=1"]);
    until("subscribed", async || is_ready(site.home.http).then_some(())).await;
    site
}

/// Publishes these to the flow, numbered from 0, and waits for their acknowledgements.
async fn publish(client: &mut Client, topics: &[&str]) {
    for (n, topic) in topics.iter().enumerate() {
        let more = if *topic == "deadly/writing" { r#","fault":"writing""# } else { "" };
        client.publish(topic, format!(r#"{{"temperature":{n}{more}}}"#)).await;
    }
    client.confirmed(topics.len()).await;
}

/// The values that the flow has stored, in their order, once the last is there.
async fn stored_through(database: &Database, last: usize) -> Vec<usize> {
    let stored = async || -> Vec<usize> {
        let rows = database.records().await;
        let ours = rows.iter().filter(|row| row.flow == "DEADLY" && row.name == "temperature");
        ours.map(|row| row.value.parse().expect("a number")).collect()
    };
    until("the last one", async || Some(stored().await).filter(|stored| stored.contains(&last))).await
}

/// The dead letters as `TOPIC PART: REASON`, in order, once there are `count`.
async fn letters(home: &Home, count: usize) -> Vec<String> {
    let file = home.path().join("data/dead-letters.db");
    let letters = Database::try_open(&file).await.expect("the dead letters");
    let query = "SELECT topic || ' ' || ifnull(part, '-') || ': ' || reason FROM dead_letters ORDER BY topic";
    until("the dead letters", async || letters.texts(query).await.ok().filter(|found| found.len() == count)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_stops_the_router_is_acknowledged() {
    let mut site = opening_with(&[]).await;
    publish(&mut site.client, &["deadly/before", "deadly/fault/router", "deadly/behind"]).await;
    assert_eq!(stored_through(&site.database, 2).await, [0, 2]);
    assert_eq!(restarts_of(site.home.http, "router"), 2);
    assert_eq!(letters(&site.home, 1).await, ["deadly/fault/router -: this message has stopped the router twice"]);
    // Acknowledged: the broker does not send it again to the next gateway.
    let (status, log) = site.gateway.terminate();
    assert!(status.success(), "{log}");
    let mut next = site.home.start();
    until("ready", async || is_ready(site.home.http).then_some(())).await;
    site.client.publish("deadly/later", r#"{"temperature":3}"#).await;
    assert_eq!(stored_through(&site.database, 3).await, [0, 2, 3]);
    assert_eq!(restarts_of(site.home.http, "router"), 0);
    next.wait_for_log(&["flows loaded"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_stop_the_writer_are_not_stored_and_all_others_are_in_order() {
    let mut site = opening_with(&[]).await;
    let mut topics = ["deadly/harmless"; 40];
    topics[7] = "deadly/fault/writer"; // while its record is made
    topics[23] = "deadly/writing"; // while the whole batch that it is in is written
    publish(&mut site.client, &topics).await;
    let others: Vec<usize> = (0..40).filter(|n| ![7, 23].contains(n)).collect();
    assert_eq!(stored_through(&site.database, 39).await, others);
    site.database.assert_numbers_without_gap_or_repeat("DEADLY").await;
    let reason = "STORE_DB: this message has stopped the writer twice";
    assert_eq!(
        letters(&site.home, 2).await,
        [format!("deadly/fault/writer {reason}"), format!("deadly/writing {reason}")]
    );
    assert_eq!(restarts_of(site.home.http, "writer"), 4);
    // None of that is done again by the next gateway.
    let (status, log) = site.gateway.terminate();
    assert!(status.success(), "{log}");
    let _next = site.home.start();
    until("ready", async || is_ready(site.home.http).then_some(())).await;
    site.client.publish("deadly/harmless", r#"{"temperature":40}"#).await;
    assert_eq!(stored_through(&site.database, 40).await, [&others[..], &[40]].concat());
    assert_eq!(letters(&site.home, 2).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_stops_the_poster_is_given_up_for_what_it_did_then_and_for_nothing_else() {
    let endpoint = Endpoint::start(Answer::Status(200));
    let options = r#"{"actions":[{"type":"POST_ENDPOINT"},{"type":"PUBLISH","topic":"again/{{ payload.temperature }}","qos":1}]}"#;
    let mut site = opening_with(&["--options", options, "--endpoint-url", &endpoint.url]).await;
    let mut listener = Client::connect(site.broker.port, "listener").await;
    listener.subscribe("again/#").await;
    publish(&mut site.client, &["deadly/0", "deadly/fault/post", "deadly/2", "deadly/fault/publish", "deadly/4"]).await;

    until("the last call", async || endpoint.delivered().contains(&r#"{"temperature":4}"#.to_owned()).then_some(()))
        .await;
    let mut known = HashSet::new();
    let once = endpoint.calls().into_iter().filter(|call| known.insert(call.id.clone()));
    let called: Vec<String> = once.map(|call| call.body).collect();
    assert_eq!(called, [0, 2, 3, 4].map(|n| format!(r#"{{"temperature":{n}}}"#)), "in order, one webhook-id each");
    let mut published: Vec<String> = Vec::new();
    while published.last().is_none_or(|topic| topic != "again/4") {
        let (topic, _) = listener.next().await;
        published.extend((!published.contains(&topic)).then_some(topic)); // at least once
    }
    assert_eq!(published, [0, 1, 2, 4].map(|n| format!("again/{n}")));
    let reason = "this message has stopped the poster twice";
    let expected =
        [format!("deadly/fault/post POST_ENDPOINT: {reason}"), format!("deadly/fault/publish PUBLISH: {reason}")];
    assert_eq!(letters(&site.home, 2).await, expected);
    assert_eq!(stored_through(&site.database, 4).await, [0, 1, 2, 3, 4]);
    site.database.assert_numbers_without_gap_or_repeat("DEADLY").await;
    assert_eq!(restarts_of(site.home.http, "poster"), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_with_which_the_process_ends_is_given_up_after_two_ends() {
    let mut site = opening_with(&["--options", r#"{"actions":[{"type":"PUBLISH","topic":"seen"}]}"#]).await;
    site.client.publish("deadly/fault/abort", r#"{"temperature":0}"#).await;
    assert!(!site.gateway.wait().success(), "by itself");
    assert!(!site.home.start().wait().success(), "and once more");
    let _third = site.home.start();
    until("ready", async || is_ready(site.home.http).then_some(())).await;
    let reason = "deadly/fault/abort PUBLISH: this message has stopped the poster twice";
    assert_eq!(letters(&site.home, 1).await, [reason]);
    site.client.publish("deadly/behind", r#"{"temperature":1}"#).await;
    assert_eq!(stored_through(&site.database, 1).await, [0, 1]);
}
