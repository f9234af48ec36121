//! The broker goes away and comes back, and has forgotten us.

use crate::opening::{READINGS, opening, reading, temperatures};
use hearthgate_tests::client::Client;
use hearthgate_tests::{http, until};
use std::time::Duration;

/// Longer than it takes until a ping behind the acknowledgements is answered.
const CONFIRMATION: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread")]
async fn after_the_broker_forgot_us_we_subscribe_again_and_go_on_publishing() {
    let mut site = opening("[gateway]\nname = \"home\"\n").await;
    site.broker.stop();
    until("it is noticed", async || (!http::is_ready(site.home.http)).then_some(())).await;
    site.broker.forget();
    site.broker.resume();
    until("ready again", async || http::is_ready(site.home.http).then_some(())).await;

    let mut client = Client::connect(site.broker.port, "another").await;
    client.publish("sensors/aht10", reading(1, 1)).await;
    client.confirmed(1).await;
    until("a row", async || (site.database.number(READINGS).await == 1).then_some(())).await;
    // Retained, so it was published after the broker had forgotten everything.
    client.subscribe("hearthgate/home/status").await;
    assert_eq!(client.next().await, ("hearthgate/home/status".to_owned(), "online".to_owned()));
    site.gateway.wait_for_log(&["connected to the broker", "session_present=false"]);
    let (status, log) = site.gateway.terminate();
    assert!(status.success(), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_broker_sends_again_since_its_store_is_older_is_not_stored_twice() {
    let mut site = opening("").await;
    let stored = async |count: i64| (site.database.number(READINGS).await == count).then_some(());
    // One by one, and each with its confirmation: that its identifiers come in turn shows where one was free again.
    for index in 1..=3 {
        site.client.publish("sensors/aht10", reading(index, 1)).await;
        until("its row", async || stored(index as i64).await).await;
        tokio::time::sleep(CONFIRMATION).await;
    }
    site.gateway.signal("STOP");
    for index in 4..=11 {
        site.client.publish("sensors/aht10", reading(index, 1)).await;
    }
    site.client.confirmed(11).await;
    site.broker.save();
    site.gateway.signal("CONT");
    until("their rows", async || stored(11).await).await;
    site.client.publish("sensors/aht10", reading(12, 1)).await;
    until("a row that is younger than the store", async || stored(12).await).await;
    tokio::time::sleep(CONFIRMATION).await;

    site.broker.kill();
    site.broker.resume();
    until("ready again", async || http::is_ready(site.home.http).then_some(())).await;
    let client = Client::connect(site.broker.port, "another").await;
    client.publish("sensors/aht10", reading(13, 1)).await;
    until("the last", async || temperatures(&site.database).await.contains(&13).then_some(())).await;
    assert_eq!(temperatures(&site.database).await, (1..=13).collect::<Vec<_>>());
    let (_, metrics) = http::request(site.home.http, "GET", "/metrics").expect("metrics");
    let redelivered = "hearthgate_journal_messages_total{outcome=\"redelivered\"} 8";
    assert!(metrics.contains(redelivered), "{metrics}");
    let (status, log) = site.gateway.terminate();
    assert!(status.success(), "{log}");
}
