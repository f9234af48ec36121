//! Where a mail server is, as people write it.

use crate::types::read_from_text;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A mail server: `smtps://HOST[:465]`, `smtp://HOST[:587]`, `smtp+plain://HOST[:25]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailServerUrl {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// How the connection is encrypted.
    pub security: MailSecurity,
}

/// How the connection to a mail server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailSecurity {
    /// From the first byte.
    Tls,
    /// After `STARTTLS`.
    StartTls,
    /// Not at all.
    Plain,
}

/// A text that names no mail server.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("expected smtps://HOST, smtp://HOST or smtp+plain://HOST, with a port if need be, found \"{0}\"")]
pub struct MailServerUrlError(Box<str>);

const SCHEMES: [(&str, MailSecurity, u16); 3] =
    [("smtps", MailSecurity::Tls, 465), ("smtp", MailSecurity::StartTls, 587), ("smtp+plain", MailSecurity::Plain, 25)];

impl FromStr for MailServerUrl {
    type Err = MailServerUrlError;

    fn from_str(text: &str) -> Result<Self, MailServerUrlError> {
        let wrong = || MailServerUrlError(text.into());
        let (scheme, rest) = text.trim().split_once("://").ok_or_else(wrong)?;
        let (_, security, usual) = SCHEMES.iter().find(|(known, ..)| *known == scheme).ok_or_else(wrong)?;
        let rest = rest.trim_end_matches('/');
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !host.ends_with(':') => (host, port.parse().map_err(|_| wrong())?),
            Some(_) | None => (rest, *usual),
        };
        let is_host = !host.is_empty() && !host.contains(['/', '@', '?', '#', ' ']);
        if !is_host || port == 0 {
            return Err(wrong());
        }
        Ok(MailServerUrl { host: host.to_owned(), port, security: *security })
    }
}

impl fmt::Display for MailServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = SCHEMES.iter().find(|(_, security, _)| *security == self.security).map_or("", |(name, ..)| name);
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

read_from_text!(MailServerUrl, "MailServer", "a mail server such as \"smtps://mail.example.com\"", {
    "type": "string",
    "pattern": "^(smtps|smtp|smtp\\+plain)://[^/@?# ]+$",
    "examples": ["smtps://mail.example.com", "smtp://mail.example.com:587"]
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_server_has_the_usual_port_of_its_encryption() {
        for (text, expected) in [
            ("smtps://mail.example.com", "smtps://mail.example.com:465"),
            ("smtp://mail.example.com", "smtp://mail.example.com:587"),
            ("smtp+plain://127.0.0.1", "smtp+plain://127.0.0.1:25"),
            ("smtps://mail.example.com:2465/", "smtps://mail.example.com:2465"),
        ] {
            assert_eq!(text.parse::<MailServerUrl>().unwrap().to_string(), expected);
        }
    }

    #[test]
    fn what_names_no_server_is_refused() {
        for text in
            ["", "mail.example.com", "http://mail", "smtps://", "smtps://a:b", "smtps://user@mail", "smtp://m:0"]
        {
            assert!(text.parse::<MailServerUrl>().is_err(), "{text}");
        }
    }
}
