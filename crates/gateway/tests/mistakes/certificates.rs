//! Certificates and keys.

use crate::Mistake;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};

const LISTENER: &str = "[broker]\nlisten = \"127.0.0.1:0\"\n[broker.tls]\nlisten = \"127.0.0.1:0\"\n";
const HTTP_OFF: &str = "[http]\nenabled = false\n";

pub(crate) fn mistakes() -> Vec<Mistake> {
    let (certificate, key) = own();
    let pair = format!("{LISTENER}certificate = \"broker.pem\"\nkey = \"broker.key\"\n{HTTP_OFF}");
    let broker = |more: &str| format!("[mqtt]\nserver = \"mqtts://broker.lan\"\n[mqtt.tls]\n{more}\n");
    vec![
        Mistake::refused("a certificate that is not there", "hearthgate.toml:5", &pair).with("broker.key", &key),
        Mistake::refused("a key that is not there", "hearthgate.toml:6", &pair).with("broker.pem", &certificate),
        Mistake::refused("a certificate that is none", "hearthgate.toml:5", &pair)
            .with("broker.pem", "see the other folder\n")
            .with("broker.key", &key),
        Mistake::refused("certificate and key exchanged", "hearthgate.toml:5", &pair)
            .with("broker.pem", &key)
            .with("broker.key", &certificate),
        Mistake::refused("the key of another certificate", "hearthgate.toml:5", &pair)
            .with("broker.pem", &certificate)
            .with("broker.key", own().1),
        Mistake::refused(
            "a certificate without its key",
            "hearthgate.toml:5",
            &format!("{LISTENER}certificate = \"a\"\n"),
        ),
        Mistake::refused("a TLS listener without a certificate", "hearthgate.toml:4", LISTENER),
        Mistake::told("an authority that is not there", "hearthgate.toml:4", &broker("ca = \"ca.pem\"")),
        Mistake::told("an authority that has ended", "hearthgate.toml:4", &broker("ca = \"ca.pem\""))
            .with("ca.pem", ended()),
        Mistake::refused(
            "certificates for a connection without encryption",
            "hearthgate.toml:2",
            "[mqtt]\nserver = \"mqtt://broker.lan\"\n[mqtt.tls]\nca = \"ca.pem\"\n",
        ),
        Mistake::refused(
            "an authority that nothing is compared with",
            "hearthgate.toml:4",
            "[database]\nurl = \"postgres://me@db/home\"\n[database.tls]\nca = \"ca.pem\"\n",
        ),
        Mistake::refused("an encrypted file", "hearthgate.toml:2", "[database.tls]\nmode = \"verify-full\"\n"),
        Mistake::refused(
            "encryption asked for in two places",
            "hearthgate.toml:4",
            "[database]\nurl = \"postgres://me@db/home?sslmode=require\"\n[database.tls]\nmode = \"verify-full\"\n",
        ),
        Mistake::told(
            "an authority of the database that is not there",
            "hearthgate.toml:5",
            "[database]\nurl = \"postgres://me@db/home\"\n[database.tls]\nmode = \"verify-full\"\nca = \"ca.pem\"\n",
        ),
    ]
}

/// A certificate and its key.
fn own() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// An authority of the last century.
fn ended() -> String {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (params.not_before, params.not_after) = (date_time_ymd(1998, 1, 1), date_time_ymd(1999, 1, 1));
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap().pem()
}
