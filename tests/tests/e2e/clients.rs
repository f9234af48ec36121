//! Clients of the embedded broker, as they are in the field.

use hearthgate_tests::browser::{Browser, WIDE};
use hearthgate_tests::client::Client;
use hearthgate_tests::database::Database;
use hearthgate_tests::gateway::{Gateway, Home};
use hearthgate_tests::http::request;
use hearthgate_tests::wire::{Connect, Wire, packet, text};
use hearthgate_tests::{free_port, until};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const TOPIC: &str = "sensors/aht10";

/// A gateway with its embedded broker, ready to take messages.
async fn start() -> (Home, Gateway, Database) {
    let home = Home::new();
    let mut gateway = home.start();
    gateway.wait_for_log(&["the embedded broker runs"]);
    gateway.wait_for_log(&["connected to the database"]);
    let database = Database::sqlite(home.path()).await;
    (home, gateway, database)
}

fn reading(temperature: u32) -> String {
    format!(r#"{{"temperature":{temperature},"humidity":50}}"#)
}

fn reconnect(home: &Home) -> Wire {
    let (wire, code) = Wire::connect(home.mqtt, Connect::kept("sensor"));
    assert_eq!(code, 0);
    wire
}

#[tokio::test(flavor = "multi_thread")]
async fn an_equal_reading_after_a_reconnect_is_stored_and_a_repetition_is_not() {
    let (home, _gateway, database) = start().await;
    let mut sensor = reconnect(&home);
    for id in 1..=3 {
        sensor.publish(id, false, TOPIC, &reading(id.into()));
        sensor.acknowledged(id);
    }
    // Its identifier is used again: the sensor has the acknowledgement of the first one.
    let mut sensor = reconnect(&home);
    sensor.publish(1, false, TOPIC, &reading(4));
    sensor.acknowledged(1);
    // A new reading, equal to the first and by chance with its identifier, was lost on its way: the broker sees only
    // its repetition.
    let mut sensor = reconnect(&home);
    sensor.publish(1, true, TOPIC, &reading(1));
    sensor.acknowledged(1);
    // And now the same one, because its acknowledgement was lost; twice.
    for _ in 0..2 {
        let mut sensor = reconnect(&home);
        sensor.publish(1, true, TOPIC, &reading(1));
        sensor.acknowledged(1);
    }
    let mut sensor = reconnect(&home);
    sensor.publish(2, false, TOPIC, &reading(99));
    sensor.acknowledged(2);
    until("the last reading", async || {
        let last = "SELECT COUNT(*) FROM data WHERE attribute_value = '99'";
        (database.number(last).await == 1).then_some(())
    })
    .await;
    let records = database.records().await;
    let values: Vec<&str> = records.iter().filter(|it| it.name == "temperature").map(|it| it.value.as_str()).collect();
    assert_eq!(values, ["1", "2", "3", "4", "1", "99"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_brokers_figures_are_topics_and_metrics() {
    let (home, _gateway, _) = start().await;
    let mut client = Client::connect(home.mqtt, "monitor").await;
    client.subscribe("$SYS/broker/clients/connected").await;
    assert_eq!(client.next().await, ("$SYS/broker/clients/connected".to_owned(), "1".to_owned()));
    let (_, metrics) = request(home.http, "GET", "/metrics").expect("the metrics");
    for line in
        ["# TYPE hearthgate_broker_clients gauge", "hearthgate_broker_clients 1", "hearthgate_broker_subscriptions 1"]
    {
        assert!(metrics.lines().any(|shown| shown == line), "{line} in {metrics}");
    }
    let sent = metrics.lines().find_map(|line| line.strip_prefix("hearthgate_broker_sent_messages_total "));
    assert!(sent.and_then(|count| count.parse().ok()) >= Some(1), "{metrics}");
}

/// A broker that takes a few more clients than the default's 1,000.
async fn roomy() -> (Home, Gateway, Database) {
    let home = Home::new();
    home.configure("[broker.limits]\nmax_connections = 1200\n");
    let mut gateway = home.start();
    gateway.wait_for_log(&["the embedded broker runs"]);
    let database = Database::sqlite(home.path()).await;
    (home, gateway, database)
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquittos_clients_publish_and_subscribe_in_both_versions() {
    let (home, _gateway, _) = start().await;
    let port = home.mqtt.to_string();
    let client = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(["-h", "127.0.0.1", "-p", &port]).args(arguments);
        command
    };
    for version in ["mqttv311", "mqttv5"] {
        for qos in ["0", "1", "2"] {
            let kept = format!("kept/{version}/{qos}");
            let sent =
                client("mosquitto_pub", &["-V", version, "-q", qos, "-r", "-t", &kept, "-m", "retained"]).status();
            assert!(sent.expect("mosquitto_pub").success());
            // What is retained and what is live come in no order between them.
            let subscribe = |topic: &str| {
                let mut command =
                    client("mosquitto_sub", &["-V", version, "-q", qos, "-C", "1", "-W", "60", "-v", "-t", topic]);
                command.stdout(Stdio::piped());
                command
            };
            // At QoS 0 a publisher that ends at once may not have been heard: it tries until somebody has its message.
            let mut first = subscribe(&kept).spawn().expect("mosquitto_sub");
            while first.try_wait().expect("its state").is_none() {
                let again =
                    client("mosquitto_pub", &["-V", version, "-q", qos, "-r", "-t", &kept, "-m", "retained"]).status();
                assert!(again.expect("mosquitto_pub").success());
            }
            first.wait_with_output().expect("its output");
            let retained = subscribe(&kept).output().expect("mosquitto_sub").stdout;
            assert_eq!(String::from_utf8_lossy(&retained), format!("{kept} retained\n"));
            let live = format!("live/{version}/{qos}");
            let mut subscriber = subscribe(&live).spawn().expect("mosquitto_sub");
            // Until its subscription stands and it has one.
            while subscriber.try_wait().expect("its state").is_none() {
                let sent = client("mosquitto_pub", &["-V", version, "-q", qos, "-t", &live, "-m", "now"]).status();
                assert!(sent.expect("mosquitto_pub").success());
            }
            let heard = subscriber.wait_with_output().expect("its output").stdout;
            assert_eq!(String::from_utf8_lossy(&heard), format!("{live} now\n"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_idle_clients_and_a_flood_of_nonsense_leave_a_sensor_served() {
    raise_file_limit();
    let (home, gateway, database) = roomy().await;
    let idle = |number: usize| {
        let id = format!("idle-{number}");
        let (mut wire, code) =
            Wire::connect(home.mqtt, Connect::clean(if number.is_multiple_of(2) { 4 } else { 5 }, &id));
        assert_eq!(code, 0, "{id}");
        assert_eq!(wire.subscribe(&format!("to/{id}")), 1);
        wire
    };
    let mut clients: Vec<Wire> = (0..1_000).map(idle).collect();
    let resident = gateway.resident();
    let port = home.mqtt;
    let flood = tokio::task::spawn_blocking(move || {
        for number in 0..4_000_usize {
            let mut wire = Wire::open(port, 4);
            wire.send_regardless(&nonsense(number));
        }
    });
    let (mut sensor, code) = Wire::connect(home.mqtt, Connect::kept("sensor"));
    assert_eq!(code, 0);
    for id in 1..=500 {
        sensor.publish(id, false, TOPIC, &reading(id.into()));
        sensor.acknowledged(id);
    }
    flood.await.expect("the flood");
    until("all readings", async || {
        let count = "SELECT COUNT(*) FROM data WHERE attribute_name = 'temperature'";
        (database.number(count).await == 500).then_some(())
    })
    .await;
    assert!(clients.iter_mut().all(Wire::is_served), "an idle client was dropped");
    let grown = gateway.resident().saturating_sub(resident);
    println!("resident: {} KiB with 1,000 clients, {grown} KiB more after the flood", resident);
    assert!(grown < 16 << 10, "{grown} KiB more after the flood");
}

/// Bytes that no client should send, of many kinds.
fn nonsense(number: usize) -> Vec<u8> {
    let connect = packet(0x10, &[&text("MQTT")[..], &[4, 2, 0, 60], &text("nonsense")].concat());
    let mut bytes = match number % 8 {
        0 => vec![0xff; 64],
        1 => vec![0x10, 0xff, 0xff, 0xff, 0x7f],
        2 => vec![0x10, 0xff, 0xff, 0xff, 0xff, 0xff],
        3 => b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        4 => connect[..number % connect.len()].to_vec(),
        // After a good CONNECT: a length that lies, QoS 3, a topic that is not UTF-8.
        5 => [&connect[..], &[0x32, 0xff, 0xff, 0xff, 0x7f]].concat(),
        6 => [&connect[..], &packet(0x36, b"\0\x01a\0\x01x")].concat(),
        _ => [&connect[..], &packet(0x30, b"\0\x02\xff\xfex")].concat(),
    };
    let at = number % bytes.len().max(1);
    if let Some(byte) = bytes.get_mut(at).filter(|_| number.is_multiple_of(3)) {
        *byte = byte.wrapping_add(u8::try_from(number % 251).expect("a byte"));
    }
    bytes
}

/// Many clients are many sockets, also on this side.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    setrlimit(Resource::Nofile, raised).expect("more open files");
}

/// A folder under the target folder for what a registry gives, when the switch for it is set.
pub(crate) fn folder_of(switch: &str) -> Option<PathBuf> {
    if std::env::var_os(switch).is_none() {
        eprintln!("not run: {switch} is not set");
        return None;
    }
    let target = std::env::current_exe().expect("the test's own path");
    let folder = target.ancestors().nth(3).expect("target/PROFILE/deps/TEST").join(switch.to_lowercase());
    std::fs::create_dir_all(&folder).expect("a folder");
    Some(folder)
}

/// The script says that all went well.
fn says_ok(script: &mut Command) {
    let output = script.output().expect("running the client");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.trim() == "ok", "{out}\n{err}");
}

pub(crate) fn run(program: impl AsRef<OsStr>, arguments: &[&str], folder: &Path) {
    let done = Command::new(program).args(arguments).current_dir(folder).output().expect("a program");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn pahos_python_client_works() {
    let Some(folder) = folder_of("HEARTHGATE_TEST_PYPI") else { return };
    let (home, _gateway, _) = start().await;
    run("python3", &["-m", "venv", "venv"], &folder);
    run(folder.join("venv/bin/pip"), &["install", "--quiet", "paho-mqtt==2.1.0"], &folder);
    std::fs::write(folder.join("paho_client.py"), include_str!("clients/paho.py")).expect("the script");
    let python = folder.join("venv/bin/python");
    says_ok(Command::new(python).arg(folder.join("paho_client.py")).arg(home.mqtt.to_string()));
}

/// Puts MQTT.js into the folder.
fn install_mqtt_js(folder: &Path) {
    std::fs::write(folder.join("package.json"), "{\"private\": true}").expect("a package");
    run("npm", &["install", "--silent", "--no-audit", "--no-fund", "mqtt@5"], folder);
}

/// A gateway whose broker takes WebSockets of pages of one origin; its port.
fn start_with_websocket(home: &Home, origin: &str) -> (Gateway, u16) {
    let port = free_port();
    home.configure(&format!("[broker.websocket]\nlisten = \"127.0.0.1:{port}\"\norigins = [\"{origin}\"]\n"));
    let mut gateway = home.start();
    gateway.wait_for_log(&["the embedded broker runs"]);
    gateway.wait_for_log(&["connected to the broker"]);
    (gateway, port)
}

#[tokio::test(flavor = "multi_thread")]
async fn mqtt_js_works_over_tcp_and_websocket() {
    let Some(folder) = folder_of("HEARTHGATE_TEST_NPM") else { return };
    install_mqtt_js(&folder);
    std::fs::write(folder.join("mqttjs.mjs"), include_str!("clients/mqttjs.mjs")).expect("the script");
    let home = Home::new();
    let (_gateway, websocket) = start_with_websocket(&home, "https://dashboard.lan");
    for url in [format!("mqtt://127.0.0.1:{}", home.mqtt), format!("ws://127.0.0.1:{websocket}/mqtt")] {
        says_ok(Command::new("node").arg(folder.join("mqttjs.mjs")).arg(url));
    }
}

/// Serves an empty page for ever; its origin.
fn serve_page() -> String {
    const PAGE: &[u8] =
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<p>hi\n";
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("its address"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // Browsers open connections that they do not use.
            let _ = stream.and_then(|mut stream| {
                let request = BufReader::new(stream.try_clone()?).lines();
                request.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
                stream.write_all(PAGE)
            });
        }
    });
    origin
}

#[tokio::test(flavor = "multi_thread")]
async fn mqtt_js_in_a_browser_works_for_pages_of_a_listed_origin_alone() {
    let Some(folder) = folder_of("HEARTHGATE_TEST_NPM") else { return };
    let Some(browser) = Browser::start(WIDE).await else { return };
    install_mqtt_js(&folder);
    let library = std::fs::read_to_string(folder.join("node_modules/mqtt/dist/mqtt.min.js")).expect("MQTT.js");
    let (listed, other) = (serve_page(), serve_page());
    let home = Home::new();
    let (mut gateway, port) = start_with_websocket(&home, &listed);
    let begin = format!("{library}; window.mqtt = mqtt; {}", include_str!("clients/page.js"));
    let begin = begin.replace("URL_OF_BROKER", &format!("ws://127.0.0.1:{port}/mqtt"));
    browser.open(&listed).await;
    browser.run(&begin).await;
    browser.wait_for("messages at every QoS", "window.received.join() === 'at 0,at 1,at 2'").await;
    browser.open(&other).await;
    browser.run(&begin).await;
    browser.wait_for("a refusal", "window.failed").await;
    gateway.wait_for_log(&["refused a WebSocket", &other]);
    assert_eq!(browser.run("return window.received").await, serde_json::json!([]));
}
