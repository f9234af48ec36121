//! Where the API listens and whom it obeys.

use crate::tokens::TokenFile;
use secrecy::SecretString;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Checked settings of the API.
#[derive(Clone, Debug)]
pub struct ApiOptions {
    bind: SocketAddr,
    token: Option<SecretString>,
    names: Vec<String>,
    frame_ancestors: Vec<String>,
    state_dir: Option<PathBuf>,
}

/// The settings would open the gateway to strangers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiOptionsError {
    /// Reachable from other machines, and anybody could give orders.
    #[error("{0} is reachable from other machines and there is no token; listen on loopback, or set a token")]
    OpenWithoutToken(SocketAddr),
}

impl ApiOptions {
    /// Checks that only loopback is open without a token. `names` are further host names under which the gateway may be
    /// addressed, such as `gateway.lan`, without port.
    ///
    /// # Errors
    /// See [`ApiOptionsError`]; each one says what to set.
    pub fn new(bind: SocketAddr, token: Option<SecretString>, names: Vec<String>) -> Result<Self, ApiOptionsError> {
        if token.is_none() && !bind.ip().to_canonical().is_loopback() {
            return Err(ApiOptionsError::OpenWithoutToken(bind));
        }
        let names = names.into_iter().map(|name| name.to_ascii_lowercase()).collect();
        Ok(ApiOptions { bind, token, names, frame_ancestors: Vec::new(), state_dir: None })
    }

    /// Logins to the page are kept in this folder, and outlive the process; so are the tokens that the command line makes.
    #[must_use]
    pub fn with_state_dir(self, folder: PathBuf) -> Self {
        ApiOptions { state_dir: Some(folder), ..self }
    }

    /// Pages of these origins, or `'self'`, may show ours in a frame. They go into a header as they are: whoever reads the
    /// configuration checks them.
    #[must_use]
    pub fn with_frame_ancestors(self, frame_ancestors: Vec<String>) -> Self {
        ApiOptions { frame_ancestors, ..self }
    }

    pub(crate) fn frame_ancestors(&self) -> &[String] {
        &self.frame_ancestors
    }

    pub(crate) fn sessions_file(&self) -> Option<PathBuf> {
        self.state_dir.as_ref().map(|folder| folder.join("page-sessions.json"))
    }

    pub(crate) fn token_file(&self) -> Option<TokenFile> {
        self.state_dir.as_deref().map(TokenFile::in_folder)
    }

    /// Cookies are the same for all ports of a host (RFC 6265 section 8.5), and several gateways may run on one.
    pub(crate) fn cookie_name(&self) -> String {
        format!("hearthgate-{}", self.bind.port())
    }

    /// Where to listen.
    pub fn bind(&self) -> SocketAddr {
        self.bind
    }

    pub(crate) fn token(&self) -> Option<&SecretString> {
        self.token.as_ref()
    }

    pub(crate) fn is_loopback(&self) -> bool {
        self.bind.ip().to_canonical().is_loopback()
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(bind: &str, token: Option<&str>) -> Result<(), ApiOptionsError> {
        ApiOptions::new(bind.parse().unwrap(), token.map(Into::into), Vec::new()).map(drop)
    }

    #[test]
    fn only_loopback_is_open_without_a_token() {
        for bind in ["127.0.0.1:8787", "127.3.2.1:1", "[::1]:8787", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(settings(bind, None), Ok(()), "{bind}");
        }
        for bind in ["0.0.0.0:8787", "[::]:8787", "192.168.1.2:80", "[::ffff:10.0.0.1]:1"] {
            assert_eq!(settings(bind, None), Err(ApiOptionsError::OpenWithoutToken(bind.parse().unwrap())), "{bind}");
            assert_eq!(settings(bind, Some("0123456789abcdef")), Ok(()), "{bind}");
        }
    }

    #[test]
    fn the_token_does_not_show_in_debug_output() {
        let settings = ApiOptions::new("127.0.0.1:1".parse().unwrap(), Some("0123456789abcdef".into()), Vec::new());
        assert!(!format!("{:?}", settings.unwrap()).contains("0123456789abcdef"));
    }
}
