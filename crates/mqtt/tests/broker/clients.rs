//! Clients that others have written.

use crate::harness::*;
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
            let arguments = ["-t", "m/#", "-q", qos, "-C", "3", "-W", "20", "-F", "%t %q %p", "-i", "subscriber"];
            let subscriber = mosquitto("mosquitto_sub", &broker, version, &arguments).spawn().unwrap();
            // A retained message shows that it has subscribed.
            let arguments = ["-t", "m/ready", "-q", qos, "-m", "ready", "-r"];
            assert!(mosquitto("mosquitto_pub", &broker, version, &arguments).status().unwrap().success());
            seen += 1;
            let mut ready = broker.v5("probe");
            ready.subscribe("m/ready", 0);
            assert_eq!(ready.message().text(), "ready");
            std::thread::sleep(Duration::from_millis(300));
            for text in ["one", "two"] {
                let arguments = ["-t", "m/x", "-q", qos, "-m", text];
                assert!(mosquitto("mosquitto_pub", &broker, version, &arguments).status().unwrap().success());
                seen += 1;
            }
            let output = subscriber.wait_with_output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let expected = format!("m/ready {qos} ready\nm/x {qos} one\nm/x {qos} two\n");
            assert_eq!(text, expected, "{version}: {}", String::from_utf8_lossy(&output.stderr));
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
