//! TLS for the session: rustls with ring, certificates from files that are read anew for each connection.

use crate::pem::{read_certificates, read_private_key};
use crate::session::transport::quick_ack::QuickAckStream;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Certificates and keys, all PEM files. The default trusts what the system trusts.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// Certificate authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// Our certificate with its chain, and its private key.
    pub client: Option<ClientCertificate>,
    /// Protocols to offer by ALPN, such as `mqtt`.
    pub alpn: Vec<String>,
    /// The name that the broker's certificate must have, when it is not the host's.
    pub server_name: Option<String>,
    /// Accept any certificate. Whoever sits between us and the broker can then read and change everything.
    pub insecure_skip_verify: bool,
}

/// A certificate for mutual TLS.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// PEM file with the certificate, then its chain.
    pub certificate: PathBuf,
    /// PEM file with its private key (PKCS #8, PKCS #1 or SEC 1).
    pub key: PathBuf,
}

/// Why TLS can't be set up; connection attempts report it and go on.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read, or holds no PEM of the right kind.
    #[error("cannot read {what} from {path}: {reason}")]
    File {
        /// What was looked for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the reader says.
        reason: String,
    },
    /// The system's certificates can't be read.
    #[error("the system offers no trusted certificates; name a file with `ca`")]
    NoRoots,
    /// The name is neither a DNS name nor an address.
    #[error("`{0}` cannot be the name in a certificate")]
    Name(String),
    /// Certificate and key don't go together, or similar.
    #[error("cannot set up TLS: {0}")]
    Rustls(#[from] rustls::Error),
    /// Certificates to trust can't be used.
    #[error("cannot use the trusted certificates: {0}")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
}

impl TlsOptions {
    /// Reads the files and builds the configuration that a connection uses; also good for a check without a broker.
    ///
    /// # Errors
    /// [`TlsError`], naming the file.
    pub fn client_config(&self) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let builder =
            ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
        let builder = if self.insecure_skip_verify {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptsAnything(provider)))
        } else {
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(self.roots()?), provider).build()?;
            builder.with_webpki_verifier(verifier)
        };
        let mut config = match &self.client {
            None => builder.with_no_client_auth(),
            Some(client) => {
                let certificates = certificates(&client.certificate, "the client certificate")?;
                let key = read_private_key(&client.key).map_err(|error| file("the client key", &client.key, &error))?;
                builder.with_client_auth_cert(certificates, key)?
            }
        };
        config.alpn_protocols = self.alpn.iter().map(|it| it.clone().into_bytes()).collect();
        Ok(config)
    }

    pub(crate) async fn connect(&self, host: &str, stream: QuickAckStream) -> io::Result<TlsStream<QuickAckStream>> {
        let config = self.client_config().map_err(io::Error::other)?;
        let name = self.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned()).map_err(|_| io::Error::other(TlsError::Name(name.into())))?;
        if self.insecure_skip_verify {
            tracing::warn!(host, "TLS: insecure_skip_verify is set, the broker's certificate is NOT verified");
        }
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        match &self.ca {
            Some(path) => {
                for certificate in certificates(path, "certificate authorities")? {
                    roots.add(certificate)?;
                }
            }
            None => {
                let (_, unusable) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                tracing::debug!(usable = roots.len(), unusable, "read the system's certificates");
            }
        }
        if roots.is_empty() { Err(TlsError::NoRoots) } else { Ok(roots) }
    }
}

fn certificates(path: &Path, what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = read_certificates(path).map_err(|error| file(what, path, &error))?;
    if found.is_empty() {
        return Err(TlsError::File { what, path: path.into(), reason: "no certificate in it".into() });
    }
    Ok(found)
}

fn file(what: &'static str, path: &Path, error: &rustls::pki_types::pem::Error) -> TlsError {
    TlsError::File { what, path: path.into(), reason: error.to_string() }
}

#[derive(Debug)]
struct AcceptsAnything(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptsAnything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
