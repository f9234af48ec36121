//! Users, rights, TLS, addresses.

use crate::harness::*;
use hearthgate_domain::delivery::{OutboundMessage, QoS};
use hearthgate_mqtt::broker::{AclOptions, BrokerError, BrokerOptions, BrokerTlsOptions, EmbeddedBroker};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::path::Path;
use std::process::Command;

/// "open sesame", with cheap parameters.
fn hash() -> String {
    use argon2::password_hash::PasswordHasher;
    let parameters = argon2::Params::new(64, 1, 1, None).unwrap();
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, parameters);
    argon2.hash_password_with_salt(b"open sesame", b"0123456789abcdef").unwrap().to_string()
}

fn guarded() -> BrokerOptions {
    let mut options: BrokerOptions = serde_json::from_value(serde_json::json!({
        "listen": "127.0.0.1:0",
        "users": {
            "ann": { "password": hash(), "publish": ["home/%u/#"], "subscribe": ["home/+/state", "to/%c/#"] },
            "root": { "password": hash() },
        }
    }))
    .unwrap();
    options.limits.max_sessions = 100;
    options
}

fn login(level: u8, id: &str, user: Option<&str>, password: Option<&str>) -> Connect {
    let (user, password) = (user.map(str::to_owned), password.map(str::to_owned));
    Connect { level, id: id.into(), user, password, ..Connect::v4() }
}

#[test]
fn wrong_and_missing_credentials_have_their_codes() {
    let broker = start_with(guarded(), Gateway::Absent);
    for (user, password, three, five) in [
        (Some("ann"), Some("open sesame"), 0, 0),
        (Some("ann"), Some("wrong"), 4, 0x86),
        (Some("ann"), None, 4, 0x86),
        (Some("nobody"), Some("open sesame"), 4, 0x86),
        (None, None, 5, 0x87),
    ] {
        assert_eq!(broker.connect(&login(4, "c", user, password)).1.code, three, "{user:?} {password:?}");
        assert_eq!(broker.connect(&login(5, "c", user, password)).1.code, five, "{user:?} {password:?}");
    }
}

#[test]
fn lists_bound_what_a_user_publishes_and_subscribes() {
    let broker = start_with(guarded(), Gateway::Absent);
    let (mut ann, _) = broker.connect(&login(5, "c1", Some("ann"), Some("open sesame")));
    let (mut root, _) = broker.connect(&login(4, "r", Some("root"), Some("open sesame")));
    assert_eq!(root.subscribe("#", 0), 0);
    assert_eq!(ann.subscribe("home/+/state", 1), 1);
    assert_eq!(ann.subscribe("to/c1/x", 0), 0);
    assert_eq!(ann.subscribe("$share/g/to/c1/#", 0), 0);
    for refused in ["#", "home/#", "to/c2/x", "$share/g/#"] {
        assert_eq!(ann.subscribe(refused, 0), 0x87, "{refused}");
    }
    ann.publish(2, "home/bob/x", 1, "x");
    ann.expect(&[0x40, 3, 0, 1, 0x87]);
    ann.publish(4, "home/bob/x", 2, "x");
    ann.expect(&[0x50, 3, 0, 2, 0x87]);
    ann.publish(0, "home/bob/x", 0, "x");
    ann.publish(2, "home/ann/x", 3, "mine");
    ann.expect_acknowledgement(4, 3);
    assert_eq!(root.message().text(), "mine");
    let (mut old, _) = broker.connect(&login(4, "c3", Some("ann"), Some("open sesame")));
    assert_eq!(old.subscribe("#", 0), 0x80);
    old.publish(2, "home/bob/x", 1, "x");
    old.expect_acknowledgement(4, 1);
    root.expect_nothing();
}

#[test]
fn a_will_needs_the_right_to_publish_it() {
    let broker = start_with(guarded(), Gateway::Absent);
    let will = Some((0, "home/bob/x".to_owned(), Vec::new(), Vec::new()));
    let connect = Connect { will, ..login(5, "c", Some("ann"), Some("open sesame")) };
    assert_eq!(broker.connect(&connect).1.code, 0x87);
}

#[test]
fn clients_of_two_users_with_one_client_id_have_sessions_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let start =
        || start_with(BrokerOptions { state_dir: Some(folder.path().to_owned()), ..guarded() }, Gateway::Absent);
    let of = |user: &str| Connect {
        user: Some(user.into()),
        password: Some("open sesame".into()),
        ..Connect::kept(4, "same")
    };
    let mut broker = start();
    let (mut owner, _) = broker.connect(&of("root"));
    owner.subscribe("home/root/state", 1);
    for attempt in 0..2 {
        let (mut other, connack) = broker.connect(&of("ann"));
        assert_eq!((connack.code, connack.present), (0, attempt > 0));
        other.subscribe("home/ann/state", 1);
        other.disconnect();
        owner.expect_nothing();
    }
    owner.disconnect();
    let (mut publisher, _) = broker.connect(&login(4, "p", Some("root"), Some("open sesame")));
    for topic in ["home/root/state", "home/ann/state"] {
        publisher.publish(2, topic, 1, topic);
        publisher.expect_acknowledgement(4, 1);
    }
    for restarts in [false, true] {
        if restarts {
            broker.stop().unwrap();
            broker = start();
        }
        for (user, topic) in [("root", "home/root/state"), ("ann", "home/ann/state")] {
            let (mut client, connack) = broker.connect(&of(user));
            assert!(connack.present);
            let message = client.message();
            assert_eq!(message.text(), topic);
            client.expect_nothing();
        }
    }
}

#[test]
fn an_open_broker_stays_on_this_machine() {
    let open = BrokerOptions { listen: "0.0.0.0:0".into(), ..BrokerOptions::default() };
    let error = EmbeddedBroker::bind(open).unwrap_err();
    assert!(matches!(error, BrokerError::OpenToAll { .. }));
    assert!(error.to_string().contains("hearthgate broker passwd"), "{error}");
    assert!(EmbeddedBroker::bind(BrokerOptions { listen: "0.0.0.0:0".into(), ..guarded() }).is_ok());
}

#[test]
fn a_port_in_use_is_named_with_the_key_to_change() {
    let broker = start();
    let options = BrokerOptions { listen: broker.address.to_string(), ..options() };
    let error = EmbeddedBroker::bind(options).unwrap_err();
    assert!(matches!(error, BrokerError::PortInUse { .. }));
    let message = error.to_string();
    assert!(message.contains(&broker.address.to_string()) && message.contains("broker.listen"), "{message}");
}

#[test]
fn a_password_that_is_no_hash_is_refused_at_start() {
    let mut options = guarded();
    options.users.get_mut("ann").unwrap().password = "open sesame".into();
    let error = EmbeddedBroker::bind(options).unwrap_err().to_string();
    assert!(error.contains("users.ann") && !error.contains("open sesame"), "{error}");
}

/// Writes ca.pem and {server,client}.{pem,key}.
pub(crate) fn certificates(folder: &Path) {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(folder.join("ca.pem"), ca.pem()).unwrap();
    for name in ["server", "client"] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".into(), "localhost".into()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let certificate = params.signed_by(&key, &ca).unwrap();
        std::fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

#[test]
fn a_tls_listener_with_client_certificates_serves_those_who_have_one() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let file = |name: &str| folder.path().join(name);
    let mut options = options();
    options.tls = Some(BrokerTlsOptions {
        listen: Some("127.0.0.1:0".into()),
        certificate: file("server.pem"),
        key: file("server.key"),
        client_ca: Some(file("ca.pem")),
    });
    options.allow_anonymous = false;
    let broker = start_with(options, Gateway::Prompt);
    let plain = |level| broker.connect(&login(level, "plain", Some("somebody"), Some("x"))).1.code;
    assert_eq!((plain(4), plain(5)), (5, 0x87), "without a certificate");
    let port = broker.others[0].port().to_string();
    let publish = |certified: bool| {
        let mut publisher = Command::new("mosquitto_pub");
        publisher.args(["-h", "localhost", "-p", &port, "-q", "1", "-t", "secret", "-m", "x", "--cafile"]);
        publisher.arg(file("ca.pem")).stderr(std::process::Stdio::null());
        if certified {
            publisher.arg("--cert").arg(file("client.pem")).arg("--key").arg(file("client.key"));
        }
        publisher.status().unwrap().success()
    };
    assert!(publish(true));
    assert_eq!(broker.gateway_messages(1)[0].1.payload, "x");
    assert!(!publish(false), "without a certificate");
    // Large enough for several records, both ways.
    let large = "y".repeat(200_000);
    std::fs::write(file("large"), &large).unwrap();
    let status = Command::new("mosquitto_pub")
        .args(["-h", "localhost", "-p", &port, "-q", "2", "-t", "secret", "-f"])
        .arg(file("large"))
        .arg("--cafile")
        .arg(file("ca.pem"))
        .arg("--cert")
        .arg(file("client.pem"))
        .arg("--key")
        .arg(file("client.key"))
        .status();
    assert!(status.unwrap().success());
    assert_eq!(broker.gateway_messages(2)[1].1.payload, large);
}

#[test]
fn an_unusable_certificate_is_named() {
    let mut options = options();
    let file = |name: &str| std::path::PathBuf::from(name);
    let (certificate, key) = (file("/nonexistent/server.pem"), file("/nonexistent/server.key"));
    options.tls = Some(BrokerTlsOptions { listen: Some("127.0.0.1:0".into()), certificate, key, client_ca: None });
    let error = EmbeddedBroker::bind(options).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/server"), "{error}");
}

/// Clients without a name, who must neither publish nor receive what is secret.
fn open_but_for_secrets() -> BrokerOptions {
    let mut open = options();
    open.anonymous.forbidden = vec!["secret/#".into()];
    open
}

fn outbound(topic: &str) -> OutboundMessage {
    OutboundMessage { topic: topic.into(), payload: "x".into(), qos: QoS::AtLeastOnce, retain: true }
}

#[test]
fn what_is_forbidden_to_clients_without_a_name_is_neither_taken_nor_delivered() {
    let broker = start_with(open_but_for_secrets(), Gateway::Prompt);
    broker.handle.publish(vec![outbound("secret/before"), outbound("open/before")]).unwrap();
    broker.gateway_messages(2);
    let (mut old, mut new) = (broker.v4("old"), broker.v5("new"));
    assert_eq!((old.subscribe("secret/a", 1), new.subscribe("$share/g/secret/#", 1)), (0x80, 0x87));
    assert_eq!((old.subscribe("#", 1), new.subscribe("secret/../#", 1), new.subscribe("+/+", 1)), (1, 0x87, 1));
    for client in [&mut old, &mut new] {
        assert_eq!(client.message_acknowledged().topic, "open/before");
    }
    broker.handle.publish(vec![outbound("secret/after"), outbound("open/after")]).unwrap();
    for client in [&mut old, &mut new] {
        assert_eq!(client.message_acknowledged().topic, "open/after");
    }
    new.publish(2, "secret/mine", 1, "x");
    new.expect(&[0x40, 3, 0, 1, 0x87]);
    old.publish(2, "secret/mine", 1, "x");
    old.expect_acknowledgement(4, 1);
    old.publish(2, "mine", 2, "x");
    let topics = broker.gateway_messages(5).into_iter().map(|(_, message)| message.topic.to_string());
    let expected = ["secret/before", "open/before", "secret/after", "open/after", "mine"];
    assert_eq!(topics.collect::<Vec<_>>(), expected);
}

#[test]
fn a_shared_message_goes_to_a_member_who_may_receive_it() {
    let mut options = guarded();
    if let Some(ann) = options.users.get_mut("ann") {
        ann.acl = AclOptions { forbidden: vec!["a/secret".into()], ..AclOptions::default() };
    }
    let broker = start_with(options, Gateway::Absent);
    let (mut ann, _) = broker.connect(&login(5, "a", Some("ann"), Some("open sesame")));
    let (mut root, _) = broker.connect(&login(5, "r", Some("root"), Some("open sesame")));
    assert_eq!((ann.subscribe("$share/g/a/+", 1), root.subscribe("$share/g/a/+", 1)), (1, 1));
    for id in 1..=4 {
        root.publish(2, "a/secret", id, "x");
    }
    let mut kinds: Vec<u8> = (0..8).map(|_| root.receive().0 & 0xf0).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, [0x30, 0x30, 0x30, 0x30, 0x40, 0x40, 0x40, 0x40]);
    ann.expect_nothing();
}

/// A kept session with a subscription of everything, made while clients needed no name, and two messages for it.
fn session_of_nobody(folder: &Path) {
    let broker = start_with(BrokerOptions { state_dir: Some(folder.to_owned()), ..options() }, Gateway::Absent);
    let (mut device, _) = broker.connect(&Connect::kept(4, "device"));
    assert_eq!(device.subscribe("#", 1), 1);
    device.disconnect();
    let mut publisher = broker.v4("p");
    for (id, topic) in [(1, "home/ann/x"), (2, "home/x/state")] {
        publisher.publish(2, topic, id, "x");
        publisher.expect_acknowledgement(4, id);
    }
    broker.stop().unwrap();
}

#[test]
fn what_a_device_without_a_name_left_behind_is_its_own_once_it_has_one_as_far_as_its_rights_go() {
    let folder = tempfile::tempdir().unwrap();
    session_of_nobody(folder.path());
    let broker = start_with(BrokerOptions { state_dir: Some(folder.path().to_owned()), ..guarded() }, Gateway::Absent);
    let kept = |user| Connect { clean: false, ..login(4, "device", Some(user), Some("open sesame")) };
    let (mut device, answer) = broker.connect(&kept("ann"));
    assert_eq!((answer.code, answer.present), (0, true));
    // Its subscription is wider than what ann may receive.
    assert_eq!(device.message_acknowledged().topic, "home/x/state");
    let (mut root, _) = broker.connect(&login(4, "r", Some("root"), Some("open sesame")));
    for (id, topic) in [(1, "home/ann/y"), (2, "home/y/state")] {
        root.publish(2, topic, id, "x");
    }
    assert_eq!(device.message_acknowledged().topic, "home/y/state");
    device.expect_nothing();
    let answer = broker.connect(&kept("root")).1;
    assert_eq!((answer.code, answer.present), (0, false), "it is ann's now");
}

#[test]
fn a_client_id_is_free_again_when_its_user_is_none_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let with = |options| BrokerOptions { state_dir: Some(folder.path().to_owned()), ..options };
    let kept = |user| Connect { clean: false, ..login(4, "device", Some(user), Some("open sesame")) };
    let broker = start_with(with(guarded()), Gateway::Absent);
    broker.connect(&kept("ann")).0.disconnect();
    broker.stop().unwrap();
    let mut without_ann = guarded();
    without_ann.users.remove("ann");
    let broker = start_with(with(without_ann), Gateway::Absent);
    let (_device, answer) = broker.connect(&kept("root"));
    assert_eq!((answer.code, answer.present), (0, false));
}
