//! Notifications: what is told to people, by mail or by a service that shows it on their telephones.
//!
//! As everywhere in this crate, one call is one attempt.

mod content;
mod mail;
mod services;

pub use content::{Notification, NotifierError};
pub use mail::{MailEncryption, MailOptions, MailServer};
pub use services::ServiceOptions;

use crate::{CallOutcome, EndpointClient};
use mail::MailSender;
use services::ServiceCaller;

/// How somebody is told.
#[derive(Clone, Debug)]
pub enum NotifierOptions {
    /// By mail.
    Mail(MailOptions),
    /// By a call to a service.
    Service(ServiceOptions),
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
