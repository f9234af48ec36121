//! The broker goes away and comes back, and has forgotten us.

use crate::opening::{READINGS, opening, reading};
use hearthgate_tests::client::Client;
use hearthgate_tests::{http, until};

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
