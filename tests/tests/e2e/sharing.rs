//! Several gateways in one group: one broker (MQTT 5), one database, each message stored once.

use hearthgate_tests::broker::Mosquitto;
use hearthgate_tests::client::Client;
use hearthgate_tests::database::{Database, Record};
use hearthgate_tests::gateway::{Gateway, Home};
use hearthgate_tests::publisher::{Options, Publisher};
use hearthgate_tests::{PATIENCE, until};
use rumqttc::QoS;
use std::io::{Read, Write};
use std::net::TcpStream;

const TOPIC: &str = "sensors/aht10";
const FLOW: &str = "AHT10_SENSOR";
/// Another flow that wants the same messages, by another filter: a shared subscription of its own.
const OVERLAPPING: &str = "INSERT INTO flows (code, description, topic, action, payload_schema, last_msg_id, enabled) \
                           SELECT 'ALL_SENSORS', '', 'sensors/#', action, payload_schema, 0, enabled FROM flows WHERE code = \
                           'AHT10_SENSOR'";
const MESSAGES: usize = 4_000;

/// A member of the group: its folder, and the gateway while it runs.
struct Member {
    home: Home,
    toml: String,
    gateway: Option<Gateway>,
}

impl Member {
    fn new(number: usize, broker: &Mosquitto, database: &Database) -> Self {
        let home = Home::new();
        let toml = format!(
            "[gateway]\nname = \"member-{number}\"\n[database]\nurl = \"{}\"\n[mqtt]\nserver = \
             \"mqtt://127.0.0.1:{}\"\nprotocol = \"5\"\ngroup = \"home\"\n",
            database.url, broker.port
        );
        home.configure(&toml);
        Member { home, toml, gateway: None }
    }

    fn start_leaving(&mut self) -> &mut Gateway {
        self.home.configure(&format!("{}leave_group = true\n", self.toml));
        self.start()
    }

    fn start(&mut self) -> &mut Gateway {
        self.gateway.insert(self.home.start())
    }

    fn kill(&mut self) {
        self.gateway.take().expect("a running member").kill();
    }

    fn end(&mut self) {
        let (status, log) = self.gateway.take().expect("a running member").terminate();
        assert!(status.success(), "{log}");
    }

    /// Messages that it has taken into its journal since it was started.
    fn journaled(&self) -> u64 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.home.http)).expect("its HTTP API");
        stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").expect("asking");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("its metrics");
        let line = text.lines().find(|line| line.starts_with("hearthgate_journal") && line.contains("outcome=\"ok\""));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
    }
}

async fn count(database: &Database, flow: &str, what: &str) -> i64 {
    let query = format!(
        "SELECT COUNT({what}) FROM data WHERE flow_code = '{flow}' AND attribute_name = 'temperature' \
         AND attribute_value >= '1'"
    );
    database.number(&query).await
}

/// `members` gateways: all but one from the start, the last one is added under load; then they are killed in turn.
async fn every_message_once(database: Database, members: usize) {
    let broker = Mosquitto::start();
    let mut group: Vec<Member> = (1..=members).map(|number| Member::new(number, &broker, &database)).collect();
    group[0].start().wait_for_log(&["flows loaded"]);
    database.execute(OVERLAPPING).await;
    group[0].kill();
    for member in &mut group[..members - 1] {
        member.start().wait_for_log(&["flows loaded"]);
    }
    let mut client = Client::connect(broker.port, "publisher").await;
    until("the first row", async || {
        client.publish(TOPIC, r#"{"temperature":0,"humidity":1}"#).await;
        client.confirmed(1).await;
        (database.number("SELECT COUNT(*) FROM data WHERE flow_code = 'ALL_SENSORS'").await > 0).then_some(())
    })
    .await;

    let step = MESSAGES / (members + 2);
    for index in 0..MESSAGES {
        publish(&client, index..index + 1).await;
        if index == step {
            let added = &mut group[members - 1];
            added.start().wait_for_log(&["connected to the broker"]);
            until("the added member takes part", async || {
                client.publish(TOPIC, r#"{"temperature":0,"humidity":1}"#).await;
                (added.journaled() > 0).then_some(())
            })
            .await;
        } else if index > step && index % step == 0 && index / step - 2 < members {
            let member = &mut group[index / step - 2];
            member.kill();
            member.start();
        }
    }
    client.confirmed(MESSAGES).await;
    all_are_there(&database, MESSAGES).await;
    group.iter_mut().for_each(Member::end);
    each_is_there_once(&database, MESSAGES).await;
}

async fn all_are_there(database: &Database, messages: usize) {
    for flow in [FLOW, "ALL_SENSORS"] {
        until(&format!("all messages of {flow}"), async || {
            (count(database, flow, "*").await >= messages as i64).then_some(())
        })
        .await;
    }
}

async fn each_is_there_once(database: &Database, messages: usize) {
    for flow in [FLOW, "ALL_SENSORS"] {
        let mut records = database.records().await;
        records.retain(|it| it.flow == flow && it.name == "temperature" && it.value != "0");
        records.sort_by(|one, other| one.value.cmp(&other.value));
        let repeated: Vec<&[Record]> = records.windows(2).filter(|two| two[0].value == two[1].value).collect();
        assert!(repeated.is_empty(), "{flow}: stored twice: {repeated:?}");
        assert_eq!(count(database, flow, "DISTINCT attribute_value").await, messages as i64, "{flow}: messages");
        database.assert_numbers_without_gap_or_repeat(flow).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_share_what_is_stored_in_mariadb() {
    every_message_once(Database::mariadb().await, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_gateways_share_what_is_stored_in_mariadb() {
    every_message_once(Database::mariadb().await, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_gateways_share_what_is_stored_in_postgresql() {
    every_message_once(Database::postgres().await, 4).await;
}

/// Messages of these numbers; all of equal length, so that text compares as numbers do.
async fn publish(client: &Client, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let payload = format!(r#"{{"temperature":{},"humidity":1}}"#, 10_000 + number);
        client.publish_with(TOPIC, payload, QoS::ExactlyOnce, false).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_leaves_takes_in_what_waits_for_it_and_gets_nothing_more() {
    let (broker, database) = (Mosquitto::start(), Database::mariadb().await);
    let [mut stays, mut leaves] = [1, 2].map(|number| Member::new(number, &broker, &database));
    stays.start().wait_for_log(&["flows loaded"]);
    database.execute(OVERLAPPING).await;
    stays.kill();
    stays.start().wait_for_log(&["flows loaded"]);
    leaves.start().wait_for_log(&["flows loaded"]);
    let mut client = Client::connect(broker.port, "publisher").await;
    until("both take part", async || {
        client.publish(TOPIC, r#"{"temperature":0,"humidity":1}"#).await;
        client.confirmed(1).await;
        (stays.journaled() > 0 && leaves.journaled() > 0).then_some(())
    })
    .await;
    publish(&client, 0..500).await;
    leaves.kill();
    // Half of it waits in the session of the one that is down, with what it had not acknowledged.
    publish(&client, 500..1_000).await;
    client.confirmed(1_000).await;
    leaves.start_leaving();
    publish(&client, 1_000..1_500).await;
    client.confirmed(500).await;
    all_are_there(&database, 1_500).await;
    assert!(leaves.journaled() > 0, "it took in what waited for it");
    leaves.end();
    publish(&client, 1_500..2_000).await;
    client.confirmed(500).await;
    all_are_there(&database, 2_000).await;
    stays.end();
    each_is_there_once(&database, 2_000).await;
}

/// Prints how many messages a second `members` store of what waits for them at the broker, for `flows` flows together.
async fn measure(members: usize, flows: usize, messages: usize) {
    let (broker, database) = (Mosquitto::start(), Database::mariadb().await);
    let mut group: Vec<Member> = (1..=members).map(|number| Member::new(number, &broker, &database)).collect();
    group[0].start().wait_for_log(&["flows loaded"]);
    for number in 0..flows {
        database
            .execute(&format!(
                "INSERT INTO flows (code, description, topic, action, payload_schema, last_msg_id, enabled) SELECT \
                 'LOAD_{number}', '', 'load/{number}', action, payload_schema, 0, 1 FROM flows WHERE code = '{FLOW}'"
            ))
            .await;
    }
    group[0].kill();
    for member in &mut group {
        member.start().wait_for_log(&["flows loaded"]);
    }
    let client = Client::connect(broker.port, "publisher").await;
    for number in 0..flows {
        for member in &group {
            until("its subscription", async || {
                let before = member.journaled();
                for _ in 0..members {
                    client.publish(&format!("load/{number}"), r#"{"temperature":0,"humidity":1}"#).await;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                (member.journaled() > before).then_some(())
            })
            .await;
        }
    }
    group.iter_mut().for_each(Member::end);
    let rows = "SELECT COUNT(*) FROM data WHERE attribute_name = 'temperature'";
    let before = database.number(rows).await;
    let publisher = Publisher::start(Options::new(broker.port, "load"));
    for number in 0..messages / flows * flows {
        let payload = format!(r#"{{"temperature":{number},"humidity":65.2}}"#);
        publisher.publish(&format!("load/{}", number % flows), payload).await;
    }
    publisher.all_acknowledged(PATIENCE).await.expect("the load");
    let since = std::time::Instant::now();
    for member in &mut group {
        member.start();
    }
    let all = before + (messages / flows * flows) as i64;
    while database.number(rows).await < all {
        assert!(since.elapsed() < 5 * PATIENCE, "{} of {all}", database.number(rows).await);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let took = since.elapsed().as_secs_f64();
    assert_eq!(database.number(rows).await, all);
    eprintln!("{members} members, {flows} flows: {:.0} messages a second", messages as f64 / took);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: see docs/scaling.md"]
async fn how_fast_one_two_and_four_gateways_are() {
    // Of more, what waits for one member would be more than there are packet identifiers.
    let messages = std::env::var("HEARTHGATE_BENCH_MESSAGES").map_or(60_000, |it| it.parse().expect("a number"));
    for flows in [1, 8] {
        for members in [1, 2, 4] {
            measure(members, flows, messages).await;
        }
    }
}
