//! TLS, WebSocket and Unix sockets.

use crate::broker::Mosquitto;
use crate::gateway::{BOTH, Gateway, lines, options};
use hearthgate_mqtt::session::{BrokerServer, ClientCertificate, ProtocolVersion, SessionOptions, TlsOptions};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::fs;
use std::path::Path;

/// Writes ca.pem, other.pem, and {server,client}.{pem,key} into the folder.
fn certificates(folder: &Path) {
    let authority = |name: &str| {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    };
    let (ca, other) = (authority("test authority"), authority("another authority"));
    fs::write(folder.join("ca.pem"), ca.pem()).unwrap();
    fs::write(folder.join("other.pem"), other.pem()).unwrap();
    for name in ["server", "client"] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".into(), "localhost".into()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let certificate = params.signed_by(&key, &ca).unwrap();
        fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

/// A broker that demands a client certificate; its plain twin for the command-line clients is another listener.
fn encrypted(protocol: &str) -> (Mosquitto, u16) {
    let (mut broker, port) = (Mosquitto::start(), crate::broker::free_port());
    broker.stop();
    let folder = broker.folder.path().to_owned();
    certificates(&folder);
    let folder = folder.display();
    broker.configure(
        "allow_anonymous true\n",
        &format!(
            "listener {port} 127.0.0.1\nprotocol {protocol}\ncafile {folder}/ca.pem\ncertfile {folder}/server.pem\n\
             keyfile {folder}/server.key\nrequire_certificate true\n"
        ),
    );
    broker.resume();
    (broker, port)
}

fn tls(broker: &Mosquitto) -> TlsOptions {
    let client = ClientCertificate { certificate: broker.path("client.pem"), key: broker.path("client.key") };
    TlsOptions { ca: Some(broker.path("ca.pem")), client: Some(client), ..TlsOptions::default() }
}

fn over(server: BrokerServer, protocol: ProtocolVersion) -> SessionOptions {
    SessionOptions { server, ..options(0, protocol) }
}

async fn exchanges_a_message(broker: &Mosquitto, options: SessionOptions) {
    let mut gateway = Gateway::subscribed(options, &["a"]).await;
    broker.publish("a", &lines("m", 200));
    gateway.until_messages(200).await;
    gateway.acknowledge_all().await;
    assert_eq!(gateway.payloads(), lines("m", 200));
    gateway.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_with_a_client_certificate_works() {
    let (broker, port) = encrypted("mqtt");
    for protocol in BOTH {
        let server = BrokerServer::Tls { host: "127.0.0.1".into(), port, tls: tls(&broker) };
        exchanges_a_message(&broker, over(server, protocol)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_nobody_vouches_for_is_refused_unless_verification_is_off() {
    let (broker, port) = encrypted("mqtt");
    let mut wrong = tls(&broker);
    wrong.ca = Some(broker.path("other.pem"));
    let server = |tls: &TlsOptions| BrokerServer::Tls { host: "localhost".into(), port, tls: tls.clone() };
    let mut gateway = Gateway::start(over(server(&wrong), ProtocolVersion::V5), &[]);
    gateway.until("a refusal", |it| !it.reasons.is_empty()).await;
    assert!(gateway.reasons[0].contains("certificate"), "{:?}", gateway.reasons);
    assert_eq!(gateway.connected, 0);
    gateway.close().await;

    wrong.insecure_skip_verify = true;
    exchanges_a_message(&broker, over(server(&wrong), ProtocolVersion::V5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_client_certificate_or_file_is_said_in_words() {
    let (broker, port) = encrypted("mqtt");
    let mut without = tls(&broker);
    without.client = None;
    let server = BrokerServer::Tls { host: "localhost".into(), port, tls: without.clone() };
    let mut gateway = Gateway::start(over(server, ProtocolVersion::V5), &[]);
    gateway.until("a refusal", |it| !it.reasons.is_empty()).await;
    assert_eq!(gateway.connected, 0);
    gateway.close().await;

    without.ca = Some(broker.path("missing.pem"));
    let error = without.client_config().unwrap_err().to_string();
    assert!(error.contains("missing.pem"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websockets_work_with_and_without_tls() {
    let (broker, port) = encrypted("websockets");
    for protocol in BOTH {
        let server = |port, tls| BrokerServer::WebSocket { host: "127.0.0.1".into(), port, path: "/mqtt".into(), tls };
        exchanges_a_message(&broker, over(server(port, Some(tls(&broker))), protocol)).await;
        let (mut plain, port) = (Mosquitto::start(), crate::broker::free_port());
        plain.stop();
        plain.configure("allow_anonymous true\n", &format!("listener {port} 127.0.0.1\nprotocol websockets\n"));
        plain.resume();
        exchanges_a_message(&plain, over(server(port, None), protocol)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_works() {
    let mut broker = Mosquitto::start();
    broker.stop();
    let path = broker.path("socket");
    broker.configure("allow_anonymous true\n", &format!("listener 0 {}\n", path.display()));
    broker.resume();
    exchanges_a_message(&broker, over(BrokerServer::Unix(path), ProtocolVersion::V5)).await;
}
