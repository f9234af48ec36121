//! Who is told of what: the notifiers of the configuration, and the flows that carry the gateway's own notices to them.

use crate::exit::CommandFailure;
use anyhow::Context as _;
use hearthgate_actors::flows::poster::NotifierChoice;
use hearthgate_domain::flow::{Flow, FlowRow};
use hearthgate_endpoints::notification::{MailEncryption, MailOptions, MailServer, NotifierOptions, ServiceOptions};
use hearthgate_settings::{GatewaySettings, MailSecurity, NotifyKind, NotifySettings};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

const PUSHOVER: &str = "https://api.pushover.net/1/messages.json";
const TELEGRAM: &str = "https://api.telegram.org";
/// The same is told once within this time.
const THROTTLE: Duration = Duration::from_secs(3_600);
/// First levels of the topics of notices; nobody can publish there.
const TOPIC: &str = "$hearthgate/notice";

/// The notifiers of the configuration.
///
/// # Errors
/// A key that its kind needs is missing, which loading has refused before.
pub(super) fn notifiers(settings: &GatewaySettings) -> anyhow::Result<Arc<[NotifierChoice]>> {
    let notifiers = settings.notify.iter().map(|(name, notify)| {
        let options = options(notify).with_context(|| format!("notify.{name}"))?;
        let throttle = notify.throttle.map_or(THROTTLE, |throttle| throttle.0);
        Ok(NotifierChoice { name: name.clone(), options, throttle })
    });
    notifiers.collect()
}

fn options(notify: &NotifySettings) -> anyhow::Result<NotifierOptions> {
    let notify = notify.clone();
    let token = || notify.token.clone();
    Ok(NotifierOptions::Service(match notify.kind {
        NotifyKind::Email => {
            let server = needed(notify.server, "server")?;
            let encryption = match server.security {
                MailSecurity::Tls => MailEncryption::Tls,
                MailSecurity::StartTls => MailEncryption::StartTls,
                MailSecurity::Plain => MailEncryption::None,
            };
            return Ok(NotifierOptions::Mail(MailOptions {
                server: MailServer { host: server.host, port: server.port, encryption },
                credentials: notify.username.zip(notify.password),
                from: needed(notify.from, "from")?,
                to: notify.to,
            }));
        }
        NotifyKind::Ntfy => ServiceOptions::Ntfy { url: needed(notify.url.clone(), "url")?, token: token() },
        NotifyKind::Webhook => ServiceOptions::Webhook { url: needed(notify.url.clone(), "url")?, token: token() },
        NotifyKind::Pushover => ServiceOptions::Pushover {
            url: notify.url.clone().unwrap_or_else(|| PUSHOVER.to_owned()),
            token: needed(token(), "token")?,
            user: needed(notify.user_key.clone(), "user_key")?,
        },
        NotifyKind::Telegram => ServiceOptions::Telegram {
            url: notify.url.clone().unwrap_or_else(|| TELEGRAM.to_owned()),
            token: needed(token(), "token")?,
            chat: needed(notify.chat.clone(), "chat")?,
        },
    }))
}

fn needed<T>(value: Option<T>, key: &str) -> anyhow::Result<T> {
    Ok(value.ok_or_else(|| CommandFailure::Config(format!("{key} is missing")))?)
}

/// A flow for each notifier that is told of the gateway itself: a queue of its own in the journal, as every flow has.
///
/// # Errors
/// None that a configuration can bring about.
pub(super) fn notice_flows(settings: &GatewaySettings) -> anyhow::Result<Vec<Arc<Flow>>> {
    let told = settings.notify.iter().filter(|(_, notify)| notify.events.unwrap_or(true));
    told.map(|(name, _)| notice_flow(&settings.gateway.name, name)).collect()
}

fn notice_flow(gateway: &str, name: &str) -> anyhow::Result<Arc<Flow>> {
    let title = format!("Hearthgate {gateway}");
    let actions =
        json!([{"type": "NOTIFY", "to": name, "title_template": title, "text_template": "{{ payload.text }}"}]);
    let flow = Flow::compile(FlowRow {
        id: notice_flow_id(name),
        code: format!("(notices to {name})"),
        topic: format!("{TOPIC}/{name}"),
        action: "NOTIFY".to_owned(),
        payload_schema: "{}".to_owned(),
        enabled: true,
        options: Some(json!({"actions": actions}).to_string()),
        ..FlowRow::default()
    });
    Ok(Arc::new(flow.with_context(|| format!("notify.{name}"))?))
}

/// The same in every run, whatever other notifiers there are: the journal knows the queue by it. Below zero no database has
/// flows. FNV-1a.
fn notice_flow_id(name: &str) -> i64 {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    -1 - i64::from(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_flow_has_the_same_number_in_every_run() {
        let flow = notice_flow("home", "phone").unwrap();
        assert_eq!(flow.id, notice_flow_id("phone"));
        assert!(flow.id < 0 && notice_flow_id("phone") != notice_flow_id("mail"));
    }
}
