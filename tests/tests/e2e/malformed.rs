//! Bad input at the running gateway's door: a clear dead letter, no panic, and the next good message goes through.

use hearthgate_tests::client::Client;
use hearthgate_tests::database::Database;
use hearthgate_tests::gateway::Home;
use hearthgate_tests::until;

#[tokio::test(flavor = "multi_thread")]
async fn malformed_payloads_are_refused_in_words_and_the_next_message_is_stored() {
    let home = Home::new();
    let mut gateway = home.start_with(|command| {
        command.env("HEARTHGATE__BROKER__LIMITS__MAX_PACKET_SIZE", "8MiB");
    });
    gateway.wait_for_log(&["flows loaded"]);
    let mut client = Client::connect(home.mqtt, "careless").await;
    let deep = format!("{}1{}", r#"{"temperature":"#.repeat(10_000), "}".repeat(10_000));
    let large = format!(r#"{{"temperature":1,"humidity":"{}"}}"#, "x".repeat(5 << 20));
    let bad: [&[u8]; 7] = [
        b"",
        b"not json",
        b"[1,2]",
        b"\xff\xfe{}",
        br#"{"temperature":true,"humidity":1}"#,
        deep.as_bytes(),
        large.as_bytes(),
    ];
    for payload in bad {
        client.publish("sensors/aht10", payload).await;
        client.confirmed(1).await;
    }
    client.publish("sensors/aht10", r#"{"temperature":1,"humidity":2}"#).await;
    client.confirmed(1).await;
    let database = Database::sqlite(home.path()).await;
    let rows = until("the good one", async || Some(database.records().await).filter(|rows| !rows.is_empty())).await;
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].number, 1, "a refused message does not raise last_msg_id");
    let (status, log) = gateway.terminate();
    assert!(status.success(), "{log}");
    assert!(!log.contains("panicked"), "{log}");
    assert!(log.contains("dead letter"), "{log}");
}
