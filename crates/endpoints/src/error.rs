//! Why an endpoint cannot be called at all.

use std::net::IpAddr;
use url::ParseError;

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EndpointClientError {
    /// An entry of an allow-list is no host.
    #[error("{list}: {entry:?} is no host, host:port or *.domain")]
    Host {
        /// Which list.
        list: &'static str,
        /// As given.
        entry: String,
    },
    /// The process has no crypto provider.
    #[error("no crypto provider is installed in this process; install rustls's ring provider first")]
    Provider,
    /// What should be the certificates of an authority.
    #[error("no certificate of an authority in PEM form: {0}")]
    Authority(String),
    /// The HTTP library refused the options.
    #[error("could not make the HTTP client: {0}")]
    Build(#[from] reqwest::Error),
}

/// Why a header cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Its name is not one.
    #[error("{name:?} is no header name")]
    Name {
        /// As given.
        name: String,
    },
    /// Its value holds what no header may hold. The value may be a secret, and is not repeated.
    #[error("the value of header {name} is not valid")]
    Value {
        /// The header.
        name: String,
    },
}

/// Why a URL may not be called. It may hold secrets, so no variant repeats it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is no URL.
    #[error("the URL is not valid: {0}")]
    Url(#[from] ParseError),
    /// Something other than HTTP is asked for.
    #[error("the URL's scheme is {scheme}, only http and https are called")]
    Scheme {
        /// As given.
        scheme: String,
    },
    /// The allow-list does not name its host.
    #[error("the host {host} is not in allowed_hosts")]
    Host {
        /// As given.
        host: String,
    },
    /// A message names a host of this machine or of its network.
    #[error("the message leads to {host} ({address}), which is not of the public internet, nor in allowed_local_hosts")]
    Local {
        /// As given.
        host: String,
        /// Where it leads.
        address: IpAddr,
    },
    /// User name and password decode to something other than text.
    #[error("the URL's user name or password is not UTF-8")]
    Credentials,
    /// URLs of this form have no place for a user name.
    #[error("the URL can't have a user name")]
    NoUser,
    /// User name and password make no header.
    #[error(transparent)]
    Header(#[from] HeaderError),
}
