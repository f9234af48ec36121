//! How connections to a server are encrypted.

use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use std::path::Path;

/// How a connection to a server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncryptionMode {
    /// Not at all.
    Disable,
    /// When the server offers it, whoever the server is.
    Prefer,
    /// Always, whoever the server is.
    Require,
    /// The server's certificate must be of an authority that is trusted.
    VerifyCa,
    /// It must also have the server's name.
    VerifyFull,
}

impl From<EncryptionMode> for MySqlSslMode {
    fn from(mode: EncryptionMode) -> Self {
        match mode {
            EncryptionMode::Disable => Self::Disabled,
            EncryptionMode::Prefer => Self::Preferred,
            EncryptionMode::Require => Self::Required,
            EncryptionMode::VerifyCa => Self::VerifyCa,
            EncryptionMode::VerifyFull => Self::VerifyIdentity,
        }
    }
}

impl From<EncryptionMode> for PgSslMode {
    fn from(mode: EncryptionMode) -> Self {
        match mode {
            EncryptionMode::Disable => Self::Disable,
            EncryptionMode::Prefer => Self::Prefer,
            EncryptionMode::Require => Self::Require,
            EncryptionMode::VerifyCa => Self::VerifyCa,
            EncryptionMode::VerifyFull => Self::VerifyFull,
        }
    }
}

/// With the mode and the authority, where there are some.
pub(crate) fn encrypted_mysql(
    mut server: MySqlConnectOptions,
    mode: Option<EncryptionMode>,
    authority: Option<&Path>,
) -> MySqlConnectOptions {
    if let Some(mode) = mode {
        server = server.ssl_mode(mode.into());
    }
    match authority {
        Some(file) => server.ssl_ca(file),
        None => server,
    }
}

/// The same for PostgreSQL.
pub(crate) fn encrypted_postgres(
    mut server: PgConnectOptions,
    mode: Option<EncryptionMode>,
    authority: Option<&Path>,
) -> PgConnectOptions {
    if let Some(mode) = mode {
        server = server.ssl_mode(mode.into());
    }
    match authority {
        Some(file) => server.ssl_root_cert(file),
        None => server,
    }
}
