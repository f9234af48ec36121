//! What looks like a secret, by its name or by where it stands in a text, and must not be shown.

use std::borrow::Cow;

/// What stands for a secret.
pub const MASK: &str = "***";

/// Parts of names whose values are secrets, compared without `_`, `-` and capitals.
const SECRET_WORDS: [&str; 14] = [
    "password",
    "passwd",
    "passphrase",
    "passwort",
    "token",
    "secret",
    "authorization",
    "apikey",
    "accesskey",
    "privatekey",
    "credential",
    "bearer",
    "cookie",
    "signature",
];

/// Names that are secrets as a whole, or as their last word.
const SHORT_WORDS: [&str; 8] = ["pass", "pwd", "auth", "pin", "psk", "sig", "jwt", "key"];

/// Whether a value of this name is a secret.
#[must_use]
pub fn names_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    let last = name.rsplit(['_', '-', '.', ' ']).next().unwrap_or_default();
    let joined: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    SECRET_WORDS.iter().any(|word| joined.contains(word)) || SHORT_WORDS.contains(&last)
}

/// Whether an argument is the name of a secret that the next argument holds.
pub(crate) fn announces_secret(argument: &str) -> bool {
    let name = argument.trim_start_matches('-');
    name.len() < argument.len() && !name.contains(['=', ' ']) && names_secret(name)
}

/// The text without passwords of URLs and without the values behind `NAME=` and `NAME: ` that are secrets.
#[must_use]
pub fn mask_text(text: &str) -> String {
    let text = without_userinfo(text);
    let mut shown = String::with_capacity(text.len());
    for part in text.split_inclusive(['?', '&', ';', ' ', ',', '\n']) {
        let (body, separator) = match part.char_indices().next_back() {
            Some((at, '?' | '&' | ';' | ' ' | ',' | '\n')) => part.split_at(at),
            _ => (part, ""),
        };
        match body.split_once('=') {
            Some((name, value)) if !value.is_empty() && names_secret(name.trim_start_matches('-')) => {
                shown += &format!("{name}={MASK}");
            }
            _ => shown += body,
        }
        shown += separator;
    }
    mask_header(shown)
}

/// `Authorization: Bearer X` and the like: everything behind the colon.
fn mask_header(text: String) -> String {
    match text.split_once(": ") {
        Some((name, _)) if !name.contains(char::is_whitespace) && names_secret(name) => format!("{name}: {MASK}"),
        _ => text,
    }
}

/// The text of a URL with whatever stands between `//` and `@` hidden; for messages and for `config show`.
#[must_use]
pub(crate) fn without_userinfo(text: &str) -> Cow<'_, str> {
    let Some(start) = text.find("//").map(|at| at + 2) else { return text.into() };
    let authority = &text[start..];
    let end = authority.find(['/', '?', '#']).unwrap_or(authority.len());
    // A password may hold '/' unencoded; hide up to the last '@' in any case.
    let at = authority.rfind('@').filter(|&at| at < end || authority[..at].contains(':'));
    match at {
        Some(at) => match authority[..at].split_once(':') {
            Some((user, _)) => format!("{}{user}:***@{}", &text[..start], &authority[at + 1..]).into(),
            None => text.into(),
        },
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_names_of_secrets_are_recognised_and_others_are_not() {
        for name in ["AWS_SECRET_ACCESS_KEY", "MQTT_PASS", "DB_PASSWD", "X-Api-Key", "token", "authToken", "PGPASSWORD"]
        {
            assert!(names_secret(name), "{name}");
        }
        for name in ["keep_alive", "compass", "keyboard", "author", "HOME", "bypass_valve", "spinner"] {
            assert!(!names_secret(name), "{name}");
        }
    }

    #[test]
    fn secrets_in_urls_arguments_and_headers_are_masked() {
        assert_eq!(mask_text("postgres://u@h/x?password=p&a=1"), "postgres://u@h/x?password=***&a=1");
        assert_eq!(mask_text("--api-key=abc"), "--api-key=***");
        assert_eq!(mask_text("Authorization: Bearer abc"), "Authorization: ***");
        assert_eq!(mask_text("mqtt://u:p@h"), "mqtt://u:***@h");
        assert_eq!(mask_text("home/kitchen a=b"), "home/kitchen a=b");
        assert!(announces_secret("--password") && !announces_secret("password") && !announces_secret("--verbose"));
    }
}
