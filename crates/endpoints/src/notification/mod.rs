//! Notifications: what is told to people, by mail or by a service that shows it on their telephones.
//!
//! As everywhere in this crate, one call is one attempt.

mod mail;
mod services;

pub use mail::{MailEncryption, MailOptions, MailServer};
pub use services::ServiceOptions;

use crate::{AddressError, CallOutcome, EndpointClient, HeaderError};
use chrono::{DateTime, Local};
use mail::MailSender;
use services::ServiceCaller;
use std::time::{Duration, SystemTime};
use thiserror::Error;

/// How long an attempt may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Something that somebody is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// In a few words.
    pub title: String,
    /// In full.
    pub text: String,
    /// When it happened, which may be long before it can be told.
    pub at: SystemTime,
    /// The same in every attempt, so that a receiver can recognise a repetition.
    pub message_id: String,
}

/// How somebody is told.
#[derive(Clone, Debug)]
pub enum NotifierOptions {
    /// By mail.
    Mail(MailOptions),
    /// By a call to a service.
    Service(ServiceOptions),
}

/// What keeps a notifier from ever telling anything.
#[derive(Debug, Error)]
pub enum NotifierError {
    /// An address of a mail.
    #[error("\"{address}\" is no mail address: {source}")]
    MailAddress {
        /// As it was given.
        address: String,
        /// What is wrong with it.
        source: lettre::address::AddressError,
    },
    /// The mail server's name, or what its encryption needs.
    #[error("mail server: {0}")]
    MailServer(#[from] lettre::transport::smtp::Error),
    /// The service's address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A token that fits into no header.
    #[error(transparent)]
    Header(#[from] HeaderError),
}

/// Tells somebody. It belongs to the runtime on which it was made.
pub struct Notifier(SenderKind);

enum SenderKind {
    Mail(MailSender),
    Service(ServiceCaller),
}

impl Notifier {
    /// A notifier that calls services by `client`.
    ///
    /// # Errors
    /// [`NotifierError`].
    pub fn new(options: &NotifierOptions, client: &EndpointClient) -> Result<Self, NotifierError> {
        Ok(Notifier(match options {
            NotifierOptions::Mail(options) => SenderKind::Mail(MailSender::new(options)?),
            NotifierOptions::Service(options) => SenderKind::Service(ServiceCaller::new(options, client)?),
        }))
    }

    /// Makes one attempt to tell it.
    pub async fn send(&self, notification: &Notification) -> CallOutcome {
        match &self.0 {
            SenderKind::Mail(mail) => mail.send(notification).await,
            SenderKind::Service(service) => service.send(notification).await,
        }
    }
}

impl Notification {
    /// The text with its time in front, as people read it.
    fn timed_text(&self) -> String {
        let at: DateTime<Local> = self.at.into();
        format!("{}  {}", at.format("%Y-%m-%d %H:%M:%S %:z"), self.text)
    }
}
