//! Making the call.

use crate::call::valid;
use crate::hosts::AllowedHosts;
use crate::reach::{AddressSource, PublicResolver, refuse_local};
use crate::{AddressError, CallAuth, CallOutcome, EndpointAddress, EndpointCall, EndpointClientError, HeaderError};
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, Request, Response, redirect};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::borrow::Cow;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use url::Url;

/// How much of an answer is kept for the reason, in bytes.
const REASON_BYTES: usize = 1024;
/// How much of an answer is read so that its connection can be used again, in bytes.
const DRAIN_BYTES: usize = 64 << 10;
/// How long that may take after the status is known.
pub const DRAIN_TIME: Duration = Duration::from_secs(1);

/// How endpoints are called.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Time to connect, within a call's timeout; 5 s.
    pub connect_timeout: Duration,
    /// Hosts that may be called: `host`, `host:port` or `*.domain`. Empty: all.
    pub allowed_hosts: Vec<String>,
    /// Hosts in the same form that a message may name although they are on this machine or in its network. Empty: none.
    pub allowed_local_hosts: Vec<String>,
    /// The `User-Agent` header.
    pub user_agent: String,
    /// Idle connections kept for each host; 8.
    pub idle_per_host: usize,
    /// How long an idle connection is kept; 60 s.
    pub idle_timeout: Duration,
    /// Whether the proxy of the environment (`HTTP_PROXY` and so on) is used; yes.
    pub proxy_from_environment: bool,
    /// TLS settings; without them, the system's certificates and the process's crypto provider.
    pub tls: Option<ClientConfig>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        ClientOptions {
            connect_timeout: Duration::from_secs(5),
            allowed_hosts: Vec::new(),
            allowed_local_hosts: Vec::new(),
            user_agent: concat!("hearthgate/", env!("CARGO_PKG_VERSION")).to_owned(),
            idle_per_host: 8,
            idle_timeout: Duration::from_secs(60),
            proxy_from_environment: true,
            tls: None,
        }
    }
}

/// Calls endpoints, over connections that are kept. Cheap to clone. It belongs to the runtime on which it was made.
#[derive(Clone, Debug)]
pub struct EndpointClient {
    client: Client,
    /// Reaches the public internet alone.
    public_client: Client,
    hosts: AllowedHosts,
    local_hosts: AllowedHosts,
}

impl EndpointClient {
    /// Makes a client. Reads the system's certificates unless TLS settings are given; when there are none, calls over
    /// HTTPS fail, and say so.
    ///
    /// # Errors
    /// [`EndpointClientError`].
    pub fn new(options: ClientOptions) -> Result<Self, EndpointClientError> {
        let hosts = AllowedHosts::new("allowed_hosts", &options.allowed_hosts)?;
        let local_hosts = AllowedHosts::new("allowed_local_hosts", &options.allowed_local_hosts)?;
        let ClientOptions { user_agent, connect_timeout, idle_per_host, idle_timeout, .. } = options;
        let tls = match options.tls {
            Some(tls) => tls,
            None => system_tls()?,
        };
        let client = || {
            Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .connect_timeout(connect_timeout)
                .redirect(redirect::Policy::none())
                .referer(false)
                .retry(reqwest::retry::never())
                .user_agent(&user_agent)
                .pool_max_idle_per_host(idle_per_host)
                .pool_idle_timeout(idle_timeout)
                .tcp_nodelay(true)
        };
        // A proxy would resolve names by itself, and reach what it likes.
        let public_client = client().no_proxy().dns_resolver(Arc::new(PublicResolver)).build()?;
        let client = if options.proxy_from_environment { client() } else { client().no_proxy() }.build()?;
        Ok(EndpointClient { client, public_client, hosts, local_hosts })
    }

    /// Checks a URL. A `user:password@` in it is taken off, and sent as Basic authentication (RFC 7617).
    ///
    /// # Errors
    /// It is no URL, neither `http` nor `https`, its host is not in [`ClientOptions::allowed_hosts`], or a message names
    /// an address of this machine or its network. A name that leads there is refused when it is called.
    pub fn address(&self, url: &str, source: AddressSource) -> Result<EndpointAddress, AddressError> {
        let mut url = Url::parse(url)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(AddressError::Scheme { scheme: url.scheme().to_owned() });
        }
        if !self.hosts.allow(&url) {
            return Err(AddressError::Host { host: url.host_str().unwrap_or_default().to_owned() });
        }
        let is_public_only = source == AddressSource::Message && !self.local_hosts.name(&url);
        if is_public_only {
            refuse_local(&url)?;
        }
        let authorization = take_credentials(&mut url)?;
        Ok(EndpointAddress { url, authorization, is_public_only })
    }

    /// Makes one attempt, a POST, and tells what became of it. It ends within the call's timeout, and [`DRAIN_TIME`] more
    /// for the answer's body.
    pub async fn call(&self, call: &EndpointCall<'_>) -> CallOutcome {
        let request = match request(call) {
            Ok(request) => request,
            Err(error) => return CallOutcome::Refused { status: None, reason: error.to_string() },
        };
        let client = if call.address.is_public_only { &self.public_client } else { &self.client };
        match tokio::time::timeout(call.timeout, client.execute(request)).await {
            Ok(Ok(response)) => read_answer(response, call.timestamp).await,
            Ok(Err(error)) => failure(error),
            Err(_) => {
                let reason = format!("no answer in time: none within {:?}", call.timeout);
                CallOutcome::RetryLater { status: None, after: None, reason }
            }
        }
    }
}

fn request(call: &EndpointCall<'_>) -> Result<Request, HeaderError> {
    let mut request = Request::new(Method::POST, call.address.url.clone());
    let headers = request.headers_mut();
    headers.clone_from(&call.headers.0);
    if let Some(authorization) = &call.address.authorization {
        headers.entry(AUTHORIZATION).or_insert_with(|| authorization.clone());
    }
    headers.insert(HeaderName::from_static("webhook-id"), valid("webhook-id", call.message_id)?);
    if let Some(secret) = call.secret {
        let timestamp = call.timestamp.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let signature = secret.sign(call.message_id, timestamp, &call.body);
        headers.insert(HeaderName::from_static("webhook-timestamp"), timestamp.into());
        headers.insert(HeaderName::from_static("webhook-signature"), valid("webhook-signature", &signature)?);
    }
    *request.body_mut() = Some(call.body.clone().into());
    Ok(request)
}

/// Takes user name and password off a URL, so that they stay out of logs and errors.
fn take_credentials(url: &mut Url) -> Result<Option<HeaderValue>, AddressError> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let decoded = |part: &str| {
        let text = percent_encoding::percent_decode_str(part).decode_utf8();
        text.map(Cow::into_owned).map_err(|_| AddressError::Credentials)
    };
    let user = decoded(url.username())?;
    let password = decoded(url.password().unwrap_or_default())?.into();
    url.set_password(None).map_err(|()| AddressError::NoUser)?;
    url.set_username("").map_err(|()| AddressError::NoUser)?;
    let Some(text) = (CallAuth::Basic { user, password }).header() else { return Ok(None) };
    let mut value = valid(AUTHORIZATION.as_str(), &text)?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// TLS that trusts the authorities of these certificates, in PEM form, and no others.
///
/// # Errors
/// There is none among them, or one is damaged.
pub fn trust_authority(pem: &[u8]) -> Result<ClientConfig, EndpointClientError> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        return Err(EndpointClientError::Provider);
    }
    let problem = |reason: &dyn std::fmt::Display| EndpointClientError::Authority(reason.to_string());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| problem(&error))?;
        roots.add(certificate).map_err(|error| problem(&error))?;
    }
    if roots.is_empty() {
        return Err(problem(&"the file holds none"));
    }
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

fn system_tls() -> Result<ClientConfig, EndpointClientError> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        return Err(EndpointClientError::Provider);
    }
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a certificate of the system could not be read");
    }
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        tracing::warn!(
            "the system has no certificate authorities; calls over HTTPS will fail (install ca-certificates)"
        );
    }
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

async fn read_answer(mut response: Response, now: SystemTime) -> CallOutcome {
    let status = response.status();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
    let mut answer = Vec::new();
    // The status decides; an answer that breaks off or dawdles does not change it.
    let drained = tokio::time::timeout(DRAIN_TIME, drain(&mut response, &mut answer)).await;
    tracing::trace!(status = status.as_u16(), drained = matches!(drained, Ok(Ok(()))), "answer read");
    let text = String::from_utf8_lossy(&answer);
    let text: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    CallOutcome::of_answer(status, retry_after.as_deref(), now, &text)
}

async fn drain(response: &mut Response, answer: &mut Vec<u8>) -> Result<(), reqwest::Error> {
    let mut read = 0;
    while read < DRAIN_BYTES
        && let Some(chunk) = response.chunk().await?
    {
        read += chunk.len();
        let room = REASON_BYTES - answer.len();
        answer.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    Ok(())
}

/// A call without an answer. URLs can hold secrets, so they stay out of the reason.
fn failure(error: reqwest::Error) -> CallOutcome {
    let unfit = error.is_builder();
    let what = if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "could not connect"
    } else {
        "the call failed"
    };
    let error = error.without_url();
    let mut cause: &dyn Error = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
        if let Some(refusal) = cause.downcast_ref::<AddressError>() {
            return CallOutcome::Refused { status: None, reason: refusal.to_string() };
        }
    }
    let reason = format!("{what}: {cause}");
    if unfit {
        CallOutcome::Refused { status: None, reason }
    } else {
        CallOutcome::RetryLater { status: None, after: None, reason }
    }
}
