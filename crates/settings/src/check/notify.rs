//! `[notify.NAME]`: what each kind needs, and what has no effect there.

use super::Rules;
use crate::sections::{GatewaySettings, NotifyKind, NotifySettings};

impl Rules<'_> {
    pub(super) fn notify(&mut self, settings: &mut GatewaySettings) {
        for (name, notify) in &mut settings.notify {
            let section = format!("notify.{name}");
            let NotifySettings { password, password_file, token, token_file, .. } = notify;
            self.secret(&format!("{section}.password"), password, password_file.as_deref());
            self.secret(&format!("{section}.token"), token, token_file.as_deref());
            self.keys_of_kind(&section, notify);
        }
        let Some(name) = settings.notify.keys().next() else { return };
        if !settings.flows.enabled || !settings.mqtt.enabled {
            self.error(
                &format!("notify.{name}.kind"),
                "notifications pass through the journal of the flows, which are switched off",
                "set flows.enabled = true and mqtt.enabled = true, or remove the section",
            );
        }
    }

    fn keys_of_kind(&mut self, section: &str, notify: &NotifySettings) {
        let kind = notify.kind;
        let needed: &[&str] = match kind {
            NotifyKind::Email => &["server", "from", "to"],
            NotifyKind::Ntfy | NotifyKind::Webhook => &["url"],
            NotifyKind::Pushover => &["token", "user_key"],
            NotifyKind::Telegram => &["token", "chat"],
        };
        let possible: &[&str] = match kind {
            NotifyKind::Email => &["username", "password"],
            NotifyKind::Ntfy | NotifyKind::Webhook => &["token"],
            NotifyKind::Pushover | NotifyKind::Telegram => &["url"],
        };
        let given = [
            ("server", notify.server.is_some()),
            ("username", notify.username.is_some()),
            ("password", notify.password.is_some()),
            ("from", notify.from.is_some()),
            ("to", !notify.to.is_empty()),
            ("url", notify.url.is_some()),
            ("token", notify.token.is_some()),
            ("user_key", notify.user_key.is_some()),
            ("chat", notify.chat.is_some()),
        ];
        for (key, is_given) in given {
            if !is_given && needed.contains(&key) {
                let message = format!("kind = \"{}\" needs {key}", kind.name());
                self.error(&format!("{section}.kind"), message, format!("set {section}.{key}"));
            }
            if is_given && !needed.contains(&key) && !possible.contains(&key) {
                let message = format!("kind = \"{}\" has no {key}", kind.name());
                self.error(&format!("{section}.{key}"), message, "remove this line");
            }
        }
        if notify.username.is_some() != notify.password.is_some() && kind == NotifyKind::Email {
            let (present, absent) = match notify.username.is_some() {
                true => ("username", "password_file"),
                false => ("password", "username"),
            };
            self.error(&format!("{section}.{present}"), format!("{section}.{absent} is missing"), "set both");
        }
    }
}
