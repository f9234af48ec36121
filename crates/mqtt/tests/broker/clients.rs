//! Clients that others have written.

use crate::harness::*;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

fn mosquitto(program: &str, broker: &Running, version: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    let port = broker.address.port().to_string();
    command.args(["-h", "127.0.0.1", "-p", &port, "-V", version]).args(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn mosquitto_clients_exchange_messages_at_every_qos_and_version() {
    let broker = start_with(options(), Gateway::Prompt);
    let mut seen = 0;
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        for qos in ["0", "1", "2"] {
            let topic = |last: &str| format!("m/{version}/{qos}/{last}");
            let publish = |arguments: &[&str]| {
                let mut publisher = mosquitto("mosquitto_pub", &broker, version, &["-q", qos]);
                assert!(publisher.args(arguments).status().unwrap().success());
            };
            let filter = topic("#");
            let arguments = ["-t", &filter, "-q", qos, "-C", "3", "-W", "20", "-F", "%q %p", "-i", "subscriber"];
            let mut subscriber = mosquitto("mosquitto_sub", &broker, version, &arguments).spawn().unwrap();
            let mut lines = BufReader::new(subscriber.stdout.take().unwrap()).lines().map(Result::unwrap);
            // Retained, so that it arrives before or after the subscription, and shows that there is one.
            publish(&["-t", &topic("ready"), "-m", "ready", "-r"]);
            assert_eq!(lines.next().unwrap(), format!("{qos} ready"));
            publish(&["-t", &topic("x"), "-m", "one"]);
            publish(&["-t", &topic("x"), "-m", "two"]);
            assert_eq!(lines.collect::<Vec<_>>(), [format!("{qos} one"), format!("{qos} two")]);
            assert!(subscriber.wait().unwrap().success());
            seen += 3;
            assert_eq!(broker.gateway_messages(seen).len(), seen);
        }
    }
}

#[tokio::test]
async fn rumqttc_exchanges_messages_in_3_1_1() {
    use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
    let broker = start_with(options(), Gateway::Prompt);
    let mut options = MqttOptions::new("rumqttc", "127.0.0.1", broker.address.port());
    options.set_keep_alive(Duration::from_secs(5));
    let (client, mut events) = AsyncClient::new(options, 100);
    client.subscribe("r/#", QoS::ExactlyOnce).await.unwrap();
    for (qos, text) in [(QoS::AtMostOnce, "0"), (QoS::AtLeastOnce, "1"), (QoS::ExactlyOnce, "2")] {
        client.publish("r/x", qos, false, text).await.unwrap();
    }
    let mut got = Vec::new();
    while got.len() < 3 {
        if let Event::Incoming(Packet::Publish(publish)) = events.poll().await.unwrap() {
            got.push((publish.qos as u8, publish.payload));
        }
    }
    got.sort();
    assert_eq!(got, [(0, "0".into()), (1, "1".into()), (2, "2".into())]);
    assert_eq!(broker.gateway_messages(3).len(), 3);
}

#[tokio::test]
async fn rumqttc_exchanges_messages_in_5() {
    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::mqttbytes::v5::Packet;
    use rumqttc::v5::{AsyncClient, Event, MqttOptions};
    let broker = start_with(options(), Gateway::Prompt);
    let mut options = MqttOptions::new("rumqttc", "127.0.0.1", broker.address.port());
    options.set_keep_alive(Duration::from_secs(5));
    let (client, mut events) = AsyncClient::new(options, 100);
    client.subscribe("r/#", QoS::ExactlyOnce).await.unwrap();
    for (qos, text) in [(QoS::AtMostOnce, "0"), (QoS::AtLeastOnce, "1"), (QoS::ExactlyOnce, "2")] {
        client.publish("r/x", qos, false, text).await.unwrap();
    }
    let mut got = Vec::new();
    while got.len() < 3 {
        if let Event::Incoming(Packet::Publish(publish)) = events.poll().await.unwrap() {
            got.push((publish.qos as u8, publish.payload));
        }
    }
    got.sort();
    assert_eq!(got, [(0, "0".into()), (1, "1".into()), (2, "2".into())]);
}
