//! How the tests of crashes and faults open: Mosquitto, a gateway on it with SQLite, and a publisher.

use hearthgate_tests::broker::Mosquitto;
use hearthgate_tests::client::Client;
use hearthgate_tests::database::Database;
use hearthgate_tests::gateway::{Gateway, Home};
use hearthgate_tests::until;

/// The messages that count; those that only wait for the subscription have another humidity.
pub(crate) const READINGS: &str =
    "SELECT COUNT(*) FROM data WHERE attribute_name = 'humidity' AND attribute_value = '1'";

/// What runs.
pub(crate) struct Opening {
    pub(crate) gateway: Gateway,
    pub(crate) home: Home,
    pub(crate) database: Database,
    pub(crate) client: Client,
    pub(crate) broker: Mosquitto,
}

/// Starts everything, with these lines in the configuration too, and waits until a message has come through.
pub(crate) async fn opening(more: &str) -> Opening {
    let broker = Mosquitto::start();
    let home = Home::new();
    home.configure(&format!(
        "[mqtt]\nserver = \"mqtt://127.0.0.1:{}\"\n[mqtt.reconnect]\ninitial = \"50ms\"\nmax = \"200ms\"\n{more}",
        broker.port
    ));
    let mut gateway = home.start();
    gateway.wait_for_log(&["flows loaded"]);
    let database = Database::sqlite(home.path()).await;
    let mut client = Client::connect(broker.port, "publisher").await;
    until("the first row", async || {
        client.publish("sensors/aht10", reading(0, -1)).await;
        client.confirmed(1).await;
        (database.number("SELECT COUNT(*) FROM data").await > 0).then_some(())
    })
    .await;
    Opening { gateway, home, database, client, broker }
}

/// A message for the sample flow.
pub(crate) fn reading(temperature: usize, humidity: i64) -> String {
    format!(r#"{{"temperature":{temperature},"humidity":{humidity}}}"#)
}

/// The temperatures of the messages that count, in the order in which they were stored.
pub(crate) async fn temperatures(database: &Database) -> Vec<usize> {
    let rows = database.records().await;
    let counting = rows.chunks(2).filter(|pair| pair[1].value == "1");
    counting.map(|pair| pair[0].value.parse().expect("a number")).collect()
}
