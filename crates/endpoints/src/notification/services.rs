//! Services that are called over HTTP: ntfy, Pushover, Telegram, and whoever takes our own JSON.

use super::content::{Notification, NotifierError, TIMEOUT};
use crate::{AddressSource, CallAuth, CallHeaders, CallOutcome, EndpointAddress, EndpointCall, EndpointClient};
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use std::time::{SystemTime, UNIX_EPOCH};
use url::form_urlencoded;

/// A service, and who is told by it.
#[derive(Clone, Debug)]
pub enum ServiceOptions {
    /// <https://ntfy.sh>, or a server of one's own.
    Ntfy {
        /// Address with the topic: `https://ntfy.sh/TOPIC`.
        url: String,
        /// Access token, if the topic needs one.
        token: Option<SecretString>,
    },
    /// <https://pushover.net>.
    Pushover {
        /// Of its API.
        url: String,
        /// Of the application.
        token: SecretString,
        /// User or group.
        user: SecretString,
    },
    /// A bot of Telegram.
    Telegram {
        /// Of its API, without path.
        url: String,
        /// Of the bot.
        token: SecretString,
        /// Number of the chat, or `@channel`.
        chat: String,
    },
    /// A POST of `{"title", "text", "at"}`.
    Webhook {
        /// Where to.
        url: String,
        /// Sent as `Authorization: Bearer`.
        token: Option<SecretString>,
    },
}

pub(super) struct ServiceCaller {
    client: EndpointClient,
    address: EndpointAddress,
    headers: CallHeaders,
    options: ServiceOptions,
}

impl ServiceCaller {
    pub(super) fn new(options: &ServiceOptions, client: &EndpointClient) -> Result<Self, NotifierError> {
        let (url, token) = match options {
            ServiceOptions::Ntfy { url, token } => (ntfy_parts(url).0.to_owned(), token.clone()),
            ServiceOptions::Webhook { url, token } => (url.clone(), token.clone()),
            ServiceOptions::Pushover { url, .. } => (url.clone(), None),
            ServiceOptions::Telegram { url, token, .. } => {
                (format!("{}/bot{}/sendMessage", url.trim_end_matches('/'), token.expose_secret()), None)
            }
        };
        let kind = match options {
            ServiceOptions::Pushover { .. } => {
                vec![("content-type".into(), "application/x-www-form-urlencoded".into())]
            }
            ServiceOptions::Ntfy { .. } | ServiceOptions::Telegram { .. } | ServiceOptions::Webhook { .. } => {
                Vec::new()
            }
        };
        Ok(ServiceCaller {
            client: client.clone(),
            address: client.address(&url, AddressSource::Flow)?,
            headers: CallHeaders::new(&kind, &token.map_or(CallAuth::None, CallAuth::Bearer))?,
            options: options.clone(),
        })
    }

    pub(super) async fn send(&self, notification: &Notification) -> CallOutcome {
        let call = EndpointCall {
            address: &self.address,
            headers: &self.headers,
            body: self.options.body(notification),
            message_id: &notification.message_id,
            timestamp: SystemTime::now(),
            timeout: TIMEOUT,
            secret: None,
        };
        self.client.call(&call).await
    }
}

impl ServiceOptions {
    fn body(&self, notification: &Notification) -> Bytes {
        let Notification { title, text, at, .. } = notification;
        match self {
            ServiceOptions::Ntfy { url, .. } => {
                let message = notification.timed_text();
                json!({"topic": ntfy_parts(url).1, "title": title, "message": message}).to_string()
            }
            ServiceOptions::Pushover { token, user, .. } => {
                let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().to_string();
                form_urlencoded::Serializer::new(String::new())
                    .append_pair("token", token.expose_secret())
                    .append_pair("user", user.expose_secret())
                    .append_pair("title", title)
                    .append_pair("message", text)
                    .append_pair("timestamp", &seconds)
                    .finish()
            }
            ServiceOptions::Telegram { chat, .. } => {
                json!({"chat_id": chat, "text": format!("{title}\n{}", notification.timed_text())}).to_string()
            }
            ServiceOptions::Webhook { .. } => {
                let at = DateTime::<Utc>::from(*at).to_rfc3339_opts(SecondsFormat::Millis, true);
                json!({"title": title, "text": text, "at": at}).to_string()
            }
        }
        .into()
    }
}

/// The server's address and the topic; a URL without a path names no topic.
fn ntfy_parts(url: &str) -> (&str, &str) {
    url.trim_end_matches('/').rsplit_once('/').unwrap_or((url, ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_service_gets_its_form_with_the_time_of_the_event() {
        let notification = Notification {
            title: "home".into(),
            text: "the journal is full & blocks".into(),
            at: UNIX_EPOCH + Duration::from_millis(1_764_244_443_500),
            message_id: "1".into(),
        };
        let body = |options: ServiceOptions| String::from_utf8(options.body(&notification).to_vec()).unwrap();
        let text = || "secret".to_owned();
        let ntfy = body(ServiceOptions::Ntfy { url: "https://ntfy.sh/garden".into(), token: None });
        assert!(ntfy.contains(r#""topic":"garden""#) && ntfy.contains("the journal is full & blocks"), "{ntfy}");
        assert!(ntfy.contains("2025-11-2"), "{ntfy}");
        let pushover = ServiceOptions::Pushover { url: text(), token: text().into(), user: "me".to_owned().into() };
        let expected = "token=secret&user=me&title=home&message=the+journal+is+full+%26+blocks&timestamp=1764244443";
        assert_eq!(body(pushover), expected);
        let telegram = body(ServiceOptions::Telegram { url: text(), token: text().into(), chat: "-7".into() });
        assert!(telegram.contains(r#""chat_id":"-7""#) && !telegram.contains("secret"), "{telegram}");
        let webhook = body(ServiceOptions::Webhook { url: text(), token: None });
        let expected = r#"{"title":"home","text":"the journal is full & blocks","at":"2025-11-27T11:54:03.500Z"}"#;
        assert_eq!(webhook, expected);
    }
}
