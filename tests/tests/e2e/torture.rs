//! A short torture; the long one is `cargo xtask torture`.

use hearthgate_tests::torture::{self, BrokerKind, DatabaseKind, Fault, Payloads, Plan};
use rumqttc::QoS;

async fn nothing_is_lost_or_stored_twice(broker: BrokerKind, payloads: Payloads, seed: u64) {
    let plan = Plan {
        kills: 10,
        others: 2,
        qos: QoS::AtLeastOnce,
        database: DatabaseKind::Sqlite,
        broker,
        payloads,
        faults: Fault::ALL.into_iter().filter(|fault| *fault != Fault::Disk || hearthgate_tests::is_root()).collect(),
        seed,
        rate: 300,
        window: 200,
        messages: 1_000,
        verbose: false,
    };
    let outcome = torture::run(&plan).await.expect("a run to the end");
    let table = torture::table(std::slice::from_ref(&outcome));
    assert!(outcome.is_clean(), "\n{table}");
    assert!(outcome.stored > 500 && outcome.delivered > 0 && outcome.dead > 0, "\n{table}");
    assert_eq!(outcome.acknowledged, outcome.sent, "\n{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_mosquitto_and_distinct_messages_nothing_is_lost_or_stored_twice() {
    nothing_is_lost_or_stored_twice(BrokerKind::Mosquitto, Payloads::Distinct, 11).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_embedded_broker_and_equal_messages_nothing_is_lost_or_stored_twice() {
    nothing_is_lost_or_stored_twice(BrokerKind::Embedded, Payloads::Equal, 12).await;
}
