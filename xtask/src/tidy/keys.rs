//! Keys of the configuration that code and documents name exist in the default file.

use std::collections::BTreeSet;

/// Columns, and endings of files and hosts, whose names may begin like a section.
const NO_KEYS: [&str; 11] = ["md", "rs", "toml", "json", "lan", "home", "db", "log", "example.com", "id", "sqlite"];

/// What a text names.
#[derive(Default)]
pub(crate) struct NamedKeys<'a> {
    pub(crate) known: Vec<&'a str>,
    pub(crate) unknown: Vec<&'a str>,
}

/// The keys of the default file, those in its comments included, as `section.key`; sections stand for themselves.
pub(crate) struct KnownKeys {
    sections: BTreeSet<String>,
    keys: BTreeSet<String>,
}

impl KnownKeys {
    /// Reads the default file.
    pub(crate) fn read(defaults: &str) -> Self {
        let mut known = KnownKeys { sections: BTreeSet::new(), keys: BTreeSet::new() };
        let mut section = String::new();
        for line in defaults.lines() {
            let line = line.trim_start_matches(['#', ' ']);
            if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.split(']').next())
                && is_key(header)
            {
                section = header.to_owned();
                let parts: Vec<&str> = section.split('.').collect();
                known.sections.extend((1..=parts.len()).map(|count| parts[..count].join(".")));
            } else if let Some((key, _)) = line.split_once(" =")
                && is_key(key)
            {
                known.keys.insert(format!("{section}.{key}"));
                // Secrets have a twin that names a file.
                known.keys.insert(format!("{section}.{key}_file"));
            }
        }
        known
    }

    /// The names in `text` that look like a key: with a section of ours in front.
    pub(crate) fn named<'a>(&self, text: &'a str) -> NamedKeys<'a> {
        let is_part = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "._".contains(letter);
        let mut named = NamedKeys::default();
        for word in text.split(|letter| !is_part(letter)).map(|word| word.trim_matches('.')) {
            let Some((section, key)) = word.split_once('.') else { continue };
            if NO_KEYS.contains(&key) || !self.sections.contains(section) {
                continue;
            }
            let kind = if self.knows(word) { &mut named.known } else { &mut named.unknown };
            kind.push(word);
        }
        named
    }

    fn knows(&self, word: &str) -> bool {
        if self.keys.contains(word) || self.sections.contains(word) {
            return true;
        }
        // `supervision.NAME.key`, `broker.users.NAME.key`: a name that the user chose stands between.
        if word.rsplit_once('.').is_some_and(|(before, _)| self.has_names(before)) {
            return true;
        }
        let Some((before, key)) = word.rsplit_once('.') else { return false };
        let Some((section, _)) = before.rsplit_once('.') else { return self.has_names(before) };
        self.has_names(section)
            || self.sections.iter().any(|known| {
                known.rsplit_once('.').is_some_and(|(outer, _)| outer == section)
                    && self.keys.contains(&format!("{known}.{key}"))
            })
    }

    /// Whether sections below this one bear names that the user chose.
    fn has_names(&self, section: &str) -> bool {
        ["supervision", "interfaces", "broker.users"].contains(&section)
    }
}

fn is_key(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_comments_count_and_others_are_found() {
        let known = KnownKeys::read("[mqtt]\nserver = \"embedded\"\n# password = \"x\"\n[mqtt.tls]\n# ca = \"a\"\n");
        let named = known.named("set mqtt.server, mqtt.password_file or mqtt.tls.ca");
        assert_eq!(named.known, ["mqtt.server", "mqtt.password_file", "mqtt.tls.ca"]);
        assert!(named.unknown.is_empty());
        assert_eq!(known.named("set mqtt.sever or other.thing; see mqtt.md").unknown, ["mqtt.sever"]);
    }
}
