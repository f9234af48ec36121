//! The TLS listener's configuration, from PEM files.

use crate::broker::error::BrokerError;
use crate::broker::options::BrokerTlsOptions;
use crate::pem::{read_certificates, read_private_key};
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

impl BrokerTlsOptions {
    /// Reads the files as the listener will: certificate and key, whether they belong together, and the authorities.
    ///
    /// # Errors
    /// [`BrokerError::Tls`], naming the file.
    pub fn check(&self) -> Result<(), BrokerError> {
        acceptor(self).map(drop)
    }
}

/// Reads certificate, key and, where client certificates are required, their authorities.
pub(crate) fn acceptor(options: &BrokerTlsOptions) -> Result<TlsAcceptor, BrokerError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = certificates(&options.certificate)?;
    let key = read_private_key(&options.key).map_err(|error| unusable(&options.key, &error))?;
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&options.certificate, &error))?;
    let builder = match &options.client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(|error| unusable(file, &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| unusable(file, &error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let config = builder.with_single_cert(chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => unusable(&options.certificate, &"the key is that of another certificate"),
        error => unusable(&options.certificate, &error),
    })?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, BrokerError> {
    let chain = read_certificates(file).map_err(|error| unusable(file, &error))?;
    if chain.is_empty() {
        return Err(unusable(file, &"it holds no certificate"));
    }
    Ok(chain)
}

fn unusable(file: &Path, why: &dyn std::fmt::Display) -> BrokerError {
    BrokerError::Tls { file: file.to_owned(), why: why.to_string() }
}
