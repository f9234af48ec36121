//! Users, access lists and certificates: the gateway at a guarded Mosquitto, and clients at the guarded embedded broker.

use crate::certificates::write_certificates;
use hearthgate_tests::broker::Mosquitto;
use hearthgate_tests::database::Database;
use hearthgate_tests::gateway::Home;
use hearthgate_tests::until;
use hearthgate_tests::wire::{Connect, Wire};
use hearthgate_tests::{free_port, gateway};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Whom the certificates are for.
const HOSTS: [&str; 2] = ["127.0.0.1", "localhost"];
const TOPIC: &str = "sensors/aht10";
const READING: &str = r#"{"temperature":23.5,"humidity":65.2}"#;

/// A Mosquitto that wants a certificate and a password, and lets each user do little.
fn guarded_mosquitto(folder: &Path) -> Mosquitto {
    write_certificates(folder, &["broker", "gateway", "sensor"], &HOSTS);
    let passwords = folder.join("passwords");
    for (index, (name, password)) in [("gateway", "open sesame"), ("sensor", "tiny")].into_iter().enumerate() {
        let create: &[&str] = if index == 0 { &["-c", "-b"] } else { &["-b"] };
        let made = Command::new("mosquitto_passwd").args(create).arg(&passwords).args([name, password]).output();
        assert!(made.expect("mosquitto_passwd").status.success());
    }
    let list =
        "user gateway\ntopic read sensors/#\ntopic readwrite hearthgate/#\n\nuser sensor\ntopic write sensors/#\n";
    fs::write(folder.join("list"), list).expect("writing");
    let at = folder.display();
    Mosquitto::start_with(&format!(
        "allow_anonymous false\npassword_file {at}/passwords\nacl_file {at}/list\ncafile {at}/ca.pem\n\
         certfile {at}/broker.pem\nkeyfile {at}/broker.key\nrequire_certificate true\n"
    ))
}

/// `mosquitto_pub` at QoS 1 with a certificate; whether it succeeded.
fn publish(folder: &Path, port: u16, more: &[&str]) -> bool {
    let file = |name: &str| folder.join(name);
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "localhost", "-p", &port.to_string(), "-q", "1", "-t", TOPIC, "-m", READING]).args(more);
    command.arg("--cafile").arg(file("ca.pem")).arg("--cert").arg(file("sensor.pem")).arg("--key");
    command.arg(file("sensor.key")).stderr(Stdio::null()).status().expect("mosquitto_pub").success()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mosquitto_with_certificates_passwords_and_an_access_list_lets_the_gateway_do_its_work() {
    for protocol in ["3.1.1", "5"] {
        let home = Home::new();
        let broker = guarded_mosquitto(home.path());
        fs::write(home.path().join("password"), "open sesame\n").expect("writing");
        let configuration = format!(
            "[mqtt]\nserver = \"mqtts://localhost:{}\"\nprotocol = \"{protocol}\"\nusername = \"gateway\"\n\
             password_file = \"password\"\n[mqtt.tls]\nca = \"ca.pem\"\ncertificate = \"gateway.pem\"\nkey = \"gateway.key\"\n",
            broker.port
        );
        home.configure(&configuration);
        let mut running = home.start();
        running.wait_for_log(&["connected to the broker"]);
        running.wait_for_log(&["flows loaded"]);
        let database = Database::sqlite(home.path()).await;
        until("a row", async || {
            assert!(publish(home.path(), broker.port, &["-u", "sensor", "-P", "tiny"]));
            (!database.records().await.is_empty()).then_some(())
        })
        .await;
        let (status, log) = running.terminate();
        assert!(status.success(), "{log}");

        for (change, words) in [
            (("open sesame\n", "wrong"), "not authorized"),
            (("", "certificate = \"gateway.pem\"\nkey = \"gateway.key\"\n"), "certificate"),
            (("", "ca = \"ca.pem\"\n"), "certificate"),
        ] {
            let (password, without) = change;
            let password = if password.is_empty() { "open sesame" } else { without };
            fs::write(home.path().join("password"), password).expect("writing");
            home.configure(&configuration.replace(without, ""));
            let mut running = home.start();
            let line = running.wait_for_log(&["no connection to the broker"]).to_lowercase();
            assert!(line.contains(words), "{line}");
        }
    }
}

/// What `hearthgate broker passwd` prints for this user.
fn section(home: &Home, name: &str, password: &str) -> String {
    let mut child = home
        .command()
        .args(["broker", "passwd", name])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starting the command");
    let mut input = child.stdin.take().expect("its input");
    writeln!(input, "{password}").expect("the password");
    drop(input);
    let output = child.wait_with_output().expect("its end");
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.contains("$argon2id$") && !text.contains(password), "{text}");
    text
}

struct Guarded {
    home: Home,
    tls: u16,
    _gateway: gateway::Gateway,
}

/// The embedded broker with two users, of whom one may do little, and a TLS listener.
fn guarded() -> Guarded {
    let home = Home::new();
    write_certificates(home.path(), &["broker", "sensor"], &HOSTS);
    let tls = free_port();
    let sensor =
        section(&home, "sensor", "tiny") + "publish = [\"sensors/%u/#\", \"sensors/aht10\"]\nsubscribe = [\"to/%c\"]\n";
    let owner = section(&home, "owner", "open sesame");
    home.configure(&format!(
        "[broker]\nallow_anonymous = false\n[broker.tls]\nlisten = \"127.0.0.1:{tls}\"\ncertificate = \"broker.pem\"\n\
         key = \"broker.key\"\nclient_ca = \"ca.pem\"\n{sensor}{owner}"
    ));
    let mut gateway = home.start();
    gateway.wait_for_log(&["the embedded broker runs"]);
    Guarded { home, tls, _gateway: gateway }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_broker_answers_wrong_passwords_with_the_protocols_own_codes() {
    let broker = guarded();
    let code = |version, user: Option<(&str, &str)>| {
        let connect = Connect { user, ..Connect::clean(version, "c") };
        Wire::connect(broker.home.mqtt, connect).1
    };
    for (user, three, five) in [
        (Some(("owner", "open sesame")), 0, 0),
        (Some(("owner", "wrong")), 4, 0x86),
        (Some(("nobody", "open sesame")), 4, 0x86),
        (None, 5, 0x87),
    ] {
        assert_eq!((code(4, user), code(5, user)), (three, five), "{user:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_broker_refuses_forbidden_topics_with_the_protocols_own_codes() {
    let broker = guarded();
    let sensor = |version, id| Wire::connect(broker.home.mqtt, Connect::clean(version, id).user("sensor", "tiny")).0;
    let (mut old, mut new) = (sensor(4, "old"), sensor(5, "new"));
    assert_eq!((old.subscribe("to/old"), new.subscribe("to/new")), (1, 1));
    assert_eq!((old.subscribe("to/new"), new.subscribe("to/old")), (0x80, 0x87));
    // A 3.1.1 broker has no words for a refused message: it is acknowledged and goes nowhere.
    old.publish(7, false, "sensors/other/x", "{}");
    assert_eq!(old.acknowledged(7), 0);
    new.publish(7, false, "sensors/other/x", "{}");
    assert_eq!(new.acknowledged(7), 0x87);
    let database = Database::sqlite(broker.home.path()).await;
    new.publish(8, false, TOPIC, READING);
    assert_eq!(new.acknowledged(8), 0);
    until("a row", async || (!database.records().await.is_empty()).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_broker_refuses_clients_without_a_name_what_is_forbidden_to_them() {
    let home = Home::new();
    home.configure(
        "[broker.anonymous]\npublish = [\"sensors/#\", \"to/%c\"]\nsubscribe = [\"#\"]\nforbidden = [\"sensors/secret\"]\n",
    );
    let mut gateway = home.start();
    gateway.wait_for_log(&["the embedded broker runs"]);
    let (mut old, mut new) =
        (Wire::connect(home.mqtt, Connect::clean(4, "old")).0, Wire::connect(home.mqtt, Connect::clean(5, "new")).0);
    assert_eq!((old.subscribe("sensors/secret"), new.subscribe("sensors/secret")), (0x80, 0x87));
    assert_eq!((old.subscribe("to/new"), new.subscribe("+/other")), (1, 1));
    for (id, topic, code) in
        [(1, "sensors/secret", 0x87), (2, "elsewhere", 0x87), (3, "to/old", 0x87), (4, "to/new", 0)]
    {
        new.publish(id, false, topic, "{}");
        assert_eq!(new.acknowledged(id), code, "{topic}");
    }
    let (kind, body) = old.receive().expect("the one message that was allowed");
    assert_eq!((kind & 0xf0, &body[2..8]), (0x30, "to/new".as_bytes()));
    assert!(gateway.terminate().0.success());
    home.configure(&format!("[broker.anonymous]\nforbidden = [\"x\"]\n{}", section(&home, "owner", "open sesame")));
    let check = home.command().arg("check").output().expect("hearthgate check");
    let said = String::from_utf8_lossy(&check.stderr).into_owned() + &String::from_utf8_lossy(&check.stdout);
    assert!(!check.status.success() && said.contains("broker.anonymous") && said.contains("no effect"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_brokers_tls_listener_wants_a_certificate_and_a_password() {
    let broker = guarded();
    let folder = broker.home.path();
    assert!(publish(folder, broker.tls, &["-u", "sensor", "-P", "tiny"]));
    assert!(publish(folder, broker.tls, &["-u", "sensor", "-P", "tiny", "-V", "mqttv5"]));
    assert!(!publish(folder, broker.tls, &["-u", "sensor", "-P", "wrong"]));
    assert!(!publish(folder, broker.tls, &[]));
    let uncertified = Command::new("mosquitto_pub")
        .args(["-h", "localhost", "-p", &broker.tls.to_string(), "-q", "1", "-t", TOPIC, "-m", READING])
        .args(["-u", "sensor", "-P", "tiny", "--cafile"])
        .arg(folder.join("ca.pem"))
        .stderr(Stdio::null())
        .status();
    assert!(!uncertified.expect("mosquitto_pub").success());
    let database = Database::sqlite(folder).await;
    until("the rows", async || (database.records().await.len() == 4).then_some(())).await;
}
