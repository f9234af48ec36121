//! What a token or a cookie gives: the one place that knows the token of the configuration, the kept ones, and the logins.

use crate::scope::AccessScope;
use crate::secrets::hash;
use crate::sessions::LoginSessions;
use crate::settings::ApiOptions;
use crate::tokens::KnownTokens;
use secrecy::ExposeSecret;
use subtle::ConstantTimeEq;

/// Who may do what.
#[derive(Debug, Default)]
pub(crate) struct AccessKeys {
    /// SHA-256 of the configuration's token.
    own: Option<String>,
    kept: KnownTokens,
    pub(crate) sessions: LoginSessions,
}

/// By what a caller may do what it may: asked again as long as a stream of events is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GrantOrigin {
    /// There is no token; everybody may.
    Everybody,
    /// The token with this hash.
    Token(String),
    /// The login by this cookie.
    Login(String),
}

impl AccessKeys {
    pub(crate) fn new(settings: &ApiOptions) -> Self {
        AccessKeys {
            own: settings.token().map(|token| hash(token.expose_secret().as_bytes())),
            kept: KnownTokens::of(settings.token_file()),
            sessions: LoginSessions::open(settings.sessions_file()),
        }
    }

    /// Whether there is a token to show.
    pub(crate) fn needs_token(&self) -> bool {
        self.own.is_some()
    }

    /// What the bearer of this token may do, and its hash.
    pub(crate) fn of_token(&self, token: &[u8]) -> Option<(AccessScope, String)> {
        let hashed = hash(token);
        self.of_hash(&hashed).map(|scope| (scope, hashed))
    }

    /// What is still given by this.
    pub(crate) fn scope_of(&self, origin: &GrantOrigin) -> Option<AccessScope> {
        match origin {
            GrantOrigin::Everybody => (!self.needs_token()).then_some(AccessScope::Admin),
            GrantOrigin::Token(hashed) => self.of_hash(hashed),
            GrantOrigin::Login(cookie) => self.of_hash(&self.sessions.token_of(cookie)?),
        }
    }

    fn of_hash(&self, hashed: &str) -> Option<AccessScope> {
        let is_own = self.own.as_ref().is_some_and(|own| bool::from(own.as_bytes().ct_eq(hashed.as_bytes())));
        if is_own { Some(AccessScope::Admin) } else { self.kept.scope_of(hashed) }
    }

    /// Whether the token of a login is still in force.
    pub(crate) fn is_in_force(&self, token: &str) -> bool {
        self.of_hash(token).is_some()
    }
}
