//! Certificates and keys from PEM files, for the session and for the embedded broker.

use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;

/// All certificates of a file, which may hold none.
pub(crate) fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    CertificateDer::pem_file_iter(file)?.collect()
}

/// The first private key of a file: PKCS #8, PKCS #1 or SEC 1.
pub(crate) fn read_private_key(file: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_file(file)
}
