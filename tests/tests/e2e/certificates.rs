//! Certificates as a home's own authority makes them.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::fs;
use std::path::Path;

/// An authority, and a certificate for each name, valid for these hosts: `ca.pem`, `NAME.pem`, `NAME.key`.
pub(crate) fn write_certificates(folder: &Path, names: &[&str], hosts: &[&str]) {
    let mut params = CertificateParams::new(vec![]).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "authority");
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
    fs::write(folder.join("ca.pem"), ca.pem()).expect("writing");
    for name in names {
        let key = KeyPair::generate().expect("a key");
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, *name);
        let certificate = params.signed_by(&key, &ca).expect("a certificate");
        fs::write(folder.join(format!("{name}.pem")), certificate.pem()).expect("writing");
        fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).expect("writing");
    }
}
