//! What is told, and what keeps it from being told.

use crate::{AddressError, HeaderError};
use chrono::{DateTime, Local};
use std::time::{Duration, SystemTime};
use thiserror::Error;

/// How long an attempt may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

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

impl Notification {
    /// The text with its time in front, as people read it.
    pub(super) fn timed_text(&self) -> String {
        let at: DateTime<Local> = self.at.into();
        format!("{}  {}", at.format("%Y-%m-%d %H:%M:%S %:z"), self.text)
    }
}
