//! Flows, journal, deliveries; log, HTTP API and supervision.

use super::Rules;
use crate::finding::ConfigFinding;
use crate::sections::{GatewaySettings, SupervisionSettings};
use hearthgate_domain::suggestion::nearest_word;
use secrecy::ExposeSecret;

/// Shorter tokens can be guessed. In bytes.
const SHORTEST_TOKEN: usize = 16;

impl Rules<'_> {
    pub(super) fn flows(&mut self, settings: &GatewaySettings) {
        if settings.flows.enabled && !settings.database.enabled {
            self.warning(
                "database.enabled",
                "flows are kept in the database, so none will be loaded",
                "set flows.enabled = false too, or switch the database on",
            );
        }
        if settings.secrets.env_prefix.is_empty() {
            self.warning(
                "secrets.env_prefix",
                "whoever may write flows to the database can send any variable of the gateway elsewhere",
                "set a beginning that only variables for flows have",
            );
        }
        let journal = &settings.journal;
        if journal.segment_size.0 < 64 << 10 {
            self.error(
                "journal.segment_size",
                format!("{} is too small", journal.segment_size),
                "use at least \"64KiB\"",
            );
        }
        if journal.max_size.0 < 2 * journal.segment_size.0 {
            self.error(
                "journal.max_size",
                format!("{} is less than two segments of {}", journal.max_size, journal.segment_size),
                "raise it, or lower journal.segment_size",
            );
        }
        if settings.endpoints.retry.is_empty() {
            self.error("endpoints.retry", "without any try nothing is delivered", "use at least [\"0s\"]");
        }
    }

    pub(super) fn operation(&mut self, settings: &GatewaySettings) {
        let http = &settings.http;
        if http.enabled && !http.listen.0.ip().is_loopback() && http.token.is_none() {
            self.error(
                "http.listen",
                format!("{} can be reached from elsewhere, and there is no token", http.listen),
                "set http.token_file, or listen on 127.0.0.1",
            );
        }
        if let Err(error) = tracing_subscriber::EnvFilter::builder().parse(&settings.log.level) {
            self.error(
                "log.level",
                format!("{error}"),
                "use error, warn, info, debug, trace or off, or module=level,…",
            );
        }
        if http.enabled
            && (http.token.is_some() || http.listen.0.ip().is_loopback())
            && let Some(fault) = http.token.as_ref().and_then(|token| token_fault(token.expose_secret()))
        {
            let key = if http.token_file.is_some() { "http.token_file" } else { "http.token" };
            self.error(key, fault, "make one with `openssl rand -hex 32`");
        }
        for ancestor in http.frame_ancestors.iter().filter(|ancestor| !is_ancestor(ancestor)) {
            self.error(
                "http.frame_ancestors",
                format!("{ancestor:?} is no origin"),
                "use \"'self'\", or an origin such as \"https://panel.lan:8443\"",
            );
        }
        for component in settings.supervision.components.keys() {
            let interfaces = settings.interface_tables.keys().map(String::as_str);
            let known: Vec<&str> = SupervisionSettings::COMPONENTS.into_iter().chain(interfaces).collect();
            if !known.contains(&component.as_str()) {
                let remedy = match nearest_word(component, known.iter().copied()) {
                    Some(word) => format!("did you mean \"{word}\"?"),
                    None => format!("known are {}", known.join(", ")),
                };
                let key = format!("supervision.{component}");
                let finding = ConfigFinding::error(key, "there is no such component").remedy(remedy);
                self.findings.push(finding.at(self.origins.header(&["supervision".to_owned(), component.clone()])));
            }
        }
    }
}

/// `'self'`, or scheme, host and perhaps port: all that a header may take from us without becoming another one.
fn is_ancestor(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]*".contains(&byte);
    text == "'self'" || host.is_some_and(|host| !host.is_empty() && host.bytes().all(is_plain))
}

/// Why a token protects nothing, or reaches no client.
fn token_fault(token: &str) -> Option<String> {
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some("the token must consist of visible ASCII characters".to_owned());
    }
    (token.len() < SHORTEST_TOKEN)
        .then(|| format!("the token has {} characters; it needs at least {SHORTEST_TOKEN}", token.len()))
}

#[cfg(test)]
mod tests {
    use super::{is_ancestor, token_fault};

    #[test]
    fn what_is_no_origin_gets_into_no_header() {
        for origin in ["'self'", "https://panel.lan", "http://192.168.1.2:8123", "https://[::1]:1", "https://*.lan"] {
            assert!(is_ancestor(origin), "{origin}");
        }
        for other in
            ["", "self", "*", "panel.lan", "https://", "https://a/b", "https://a; script-src *", "https://a\nb: c"]
        {
            assert!(!is_ancestor(other), "{other}");
        }
    }

    #[test]
    fn a_token_that_is_empty_short_or_unsendable_is_refused() {
        assert_eq!(token_fault("0123456789abcdef"), None);
        assert!(token_fault("").unwrap().contains("0 characters"));
        assert!(token_fault("secret").unwrap().contains("6 characters"));
        assert!(token_fault("0123456789 abcdef").unwrap().contains("visible ASCII"));
        assert!(token_fault("0123456789abcdeü").unwrap().contains("visible ASCII"));
    }
}
