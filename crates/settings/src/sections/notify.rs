//! `[notify.NAME]`.

use crate::mail_server::MailServerUrl;
use crate::types::DurationText;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;
use std::path::PathBuf;

/// `[notify.NAME]`: somebody who is told, and how.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NotifySettings {
    /// How.
    pub kind: NotifyKind,
    /// Whether critical events of the gateway itself are told, and not only what flows notify of; absent: yes.
    pub events: Option<bool>,
    /// The same is told once within this time; absent: an hour.
    pub throttle: Option<DurationText>,
    /// Mail server.
    pub server: Option<MailServerUrl>,
    /// User name at the mail server.
    pub username: Option<String>,
    /// Its password; after loading also what `password_file` holds.
    #[schemars(with = "Option<String>")]
    pub password: Option<SecretString>,
    /// File with the password.
    pub password_file: Option<PathBuf>,
    /// The sender's mail address.
    pub from: Option<String>,
    /// The receivers' mail addresses.
    #[serde(default)]
    pub to: Vec<String>,
    /// Address of the service, where it is not the usual one.
    pub url: Option<String>,
    /// Token of the service; after loading also what `token_file` holds.
    #[schemars(with = "Option<String>")]
    pub token: Option<SecretString>,
    /// File with the token.
    pub token_file: Option<PathBuf>,
    /// Pushover: key of the user or group.
    #[schemars(with = "Option<String>")]
    pub user_key: Option<SecretString>,
    /// Telegram: number of the chat, or `@channel`.
    pub chat: Option<String>,
}

/// How somebody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NotifyKind {
    /// A mail, over SMTP.
    Email,
    /// A topic of ntfy.
    Ntfy,
    /// Pushover.
    Pushover,
    /// A bot of Telegram.
    Telegram,
    /// A POST of JSON.
    Webhook,
}

impl NotifyKind {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            NotifyKind::Email => "email",
            NotifyKind::Ntfy => "ntfy",
            NotifyKind::Pushover => "pushover",
            NotifyKind::Telegram => "telegram",
            NotifyKind::Webhook => "webhook",
        }
    }
}
