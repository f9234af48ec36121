//! Users, rights, TLS, addresses.

use crate::harness::*;
use hearthgate_mqtt::broker::{Broker, BrokerError, BrokerOptions, TlsOptions};
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
fn one_user_cannot_take_over_the_session_of_another() {
    let broker = start_with(guarded(), Gateway::Absent);
    let (mut owner, _) = broker.connect(&login(5, "same", Some("root"), Some("open sesame")));
    assert_eq!(broker.connect(&login(5, "same", Some("ann"), Some("open sesame"))).1.code, 0x85);
    assert_eq!(broker.connect(&login(4, "same", Some("ann"), Some("open sesame"))).1.code, 2);
    owner.expect_nothing();
}

#[test]
fn an_open_broker_stays_on_this_machine() {
    let open = BrokerOptions { listen: "0.0.0.0:0".into(), ..BrokerOptions::default() };
    let error = Broker::bind(open).unwrap_err();
    assert!(matches!(error, BrokerError::OpenToAll { .. }));
    assert!(error.to_string().contains("[broker.users.NAME]"), "{error}");
    assert!(Broker::bind(BrokerOptions { listen: "0.0.0.0:0".into(), ..guarded() }).is_ok());
}

#[test]
fn a_port_in_use_is_named_with_the_key_to_change() {
    let broker = start();
    let options = BrokerOptions { listen: broker.address.to_string(), ..options() };
    let error = Broker::bind(options).unwrap_err();
    assert!(matches!(error, BrokerError::PortInUse { .. }));
    let message = error.to_string();
    assert!(message.contains(&broker.address.to_string()) && message.contains("broker.listen"), "{message}");
}

#[test]
fn a_password_that_is_no_hash_is_refused_at_start() {
    let mut options = guarded();
    options.users.get_mut("ann").unwrap().password = "open sesame".into();
    let error = Broker::bind(options).unwrap_err().to_string();
    assert!(error.contains("users.ann") && !error.contains("open sesame"), "{error}");
}

/// Writes ca.pem and {server,client}.{pem,key}.
fn certificates(folder: &Path) {
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
    options.tls = Some(TlsOptions {
        listen: "127.0.0.1:0".into(),
        certificate: file("server.pem"),
        key: file("server.key"),
        client_ca: Some(file("ca.pem")),
    });
    options.allow_anonymous = false;
    let broker = start_with(options, Gateway::Prompt);
    let plain = |level| broker.connect(&login(level, "plain", Some("somebody"), Some("x"))).1.code;
    assert_eq!((plain(4), plain(5)), (5, 0x87), "without a certificate");
    let port = broker.tls.unwrap().port().to_string();
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
    options.tls = Some(TlsOptions { listen: "127.0.0.1:0".into(), certificate, key, client_ca: None });
    let error = Broker::bind(options).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/server"), "{error}");
}
