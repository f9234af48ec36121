//! Mail over SMTP.

use super::content::{Notification, NotifierError, TIMEOUT};
use crate::CallOutcome;
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use secrecy::{ExposeSecret, SecretString};

/// A mail server, who writes, and to whom.
#[derive(Clone, Debug)]
pub struct MailOptions {
    /// The server.
    pub server: MailServer,
    /// User name and password there.
    pub credentials: Option<(String, SecretString)>,
    /// The sender's address.
    pub from: String,
    /// The receivers' addresses, at least one.
    pub to: Vec<String>,
}

/// Where a mail server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailServer {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// How the connection is encrypted.
    pub encryption: MailEncryption,
}

/// How the connection to a mail server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailEncryption {
    /// From the first byte (RFC 8314), as usual on port 465.
    Tls,
    /// After `STARTTLS` (RFC 3207), as usual on port 587; a server that does not offer it gets no mail.
    StartTls,
    /// Not at all: for a relay on this machine.
    None,
}

pub(super) struct MailSender {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
}

impl MailSender {
    pub(super) fn new(options: &MailOptions) -> Result<Self, NotifierError> {
        let MailServer { host, port, encryption } = &options.server;
        let tls = match encryption {
            MailEncryption::Tls => Tls::Wrapper(TlsParameters::new(host.clone())?),
            MailEncryption::StartTls => Tls::Required(TlsParameters::new(host.clone())?),
            MailEncryption::None => Tls::None,
        };
        let builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host).port(*port).tls(tls);
        let mut builder = builder.timeout(Some(TIMEOUT)).hello_name(ClientId::default());
        if let Some((user, password)) = &options.credentials {
            builder = builder.credentials(Credentials::new(user.clone(), password.expose_secret().to_owned()));
        }
        let to = options.to.iter().map(|address| mailbox(address)).collect::<Result<_, _>>()?;
        Ok(MailSender { transport: builder.build(), from: mailbox(&options.from)?, to })
    }

    pub(super) async fn send(&self, notification: &Notification) -> CallOutcome {
        let mail = match self.mail(notification) {
            Ok(mail) => mail,
            Err(error) => return CallOutcome::Refused { status: None, reason: error.to_string() },
        };
        match self.transport.send(mail).await {
            Ok(answer) => CallOutcome::Delivered { status: code(answer.code()) },
            Err(error) => {
                let status = error.status().map(code);
                let reason = in_full(&error);
                match error.is_permanent() {
                    true => CallOutcome::Refused { status, reason },
                    false => CallOutcome::RetryLater { status, after: None, reason },
                }
            }
        }
    }

    fn mail(&self, notification: &Notification) -> Result<Message, lettre::error::Error> {
        // A line break in a subject would begin another header.
        let subject = notification.title.replace(['\r', '\n'], " ");
        let builder = Message::builder().from(self.from.clone()).subject(subject).date(notification.at);
        let builder = builder.message_id(Some(format!("<{}@hearthgate>", notification.message_id)));
        let builder = self.to.iter().cloned().fold(builder, MessageBuilder::to);
        builder.header(ContentType::TEXT_PLAIN).body(notification.timed_text())
    }
}

fn mailbox(address: &str) -> Result<Mailbox, NotifierError> {
    address.parse().map_err(|source| NotifierError::MailAddress { address: address.to_owned(), source })
}

fn code(code: lettre::transport::smtp::response::Code) -> u16 {
    code.into()
}

/// With what is behind it: "connection error" alone tells nobody anything.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
