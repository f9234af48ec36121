//! Secrets in what a flow says: never shown, and kept where the mask comes back.

use hearthgate_settings::{MASK, mask_text, names_secret};
use serde_json::{Map, Value};

/// The value without its secrets: texts under names of secrets, and those in URLs and headers.
pub(super) fn masked(value: &Value) -> Value {
    match value {
        Value::String(text) => mask_text(text).into(),
        Value::Array(items) => items.iter().map(masked).collect(),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| (name.clone(), masked_field(name, value));
            fields.iter().map(field).collect::<Map<_, _>>().into()
        }
        other => other.clone(),
    }
}

fn masked_field(name: &str, value: &Value) -> Value {
    match value {
        Value::String(text) if !text.is_empty() && names_secret(name) => MASK.into(),
        other => masked(other),
    }
}

/// Puts the secrets of the old value back where the mask stands for them.
///
/// # Errors
/// The mask stands where there was no secret, or within a text that was changed.
pub(super) fn restore(new: &mut Value, old: Option<&Value>) -> Result<(), String> {
    match new {
        Value::Object(fields) => {
            for (name, value) in fields {
                let before = old.and_then(|old| old.get(name));
                match before {
                    Some(before) if *value == masked_field(name, before) => value.clone_from(before),
                    before => restore(value, before)?,
                }
            }
            Ok(())
        }
        Value::Array(items) => {
            let before = |index| old.and_then(|old: &Value| old.get(index));
            items.iter_mut().enumerate().try_for_each(|(index, item)| restore(item, before(index)))
        }
        Value::String(text) => restore_text(text, old.and_then(Value::as_str)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

/// The same for a text.
///
/// # Errors
/// As above.
pub(super) fn restore_text(new: &mut String, old: Option<&str>) -> Result<(), String> {
    match old.filter(|old| mask_text(old) == *new) {
        Some(old) => old.clone_into(new),
        None if new.contains(MASK) => {
            return Err(format!("{new:?} holds {MASK} in place of a secret that is not known here: write the secret"));
        }
        None => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_are_not_shown_and_come_back_where_they_were_not_changed() {
        let stored = json!({"headers": {"Authorization": "Bearer planted", "X-Room": "kitchen"},
            "url_template": "https://u:planted@h/{{ topic }}", "auth": {"bearer": {"env": "NAME"}}, "list": ["a"]});
        let shown = masked(&stored);
        assert!(!shown.to_string().contains("planted"), "{shown}");
        assert_eq!((&shown["headers"]["X-Room"], &shown["auth"]), (&json!("kitchen"), &stored["auth"]));
        let mut back = shown.clone();
        back["headers"]["X-Room"] = json!("hall");
        restore(&mut back, Some(&stored)).unwrap();
        assert_eq!(back["headers"], json!({"Authorization": "Bearer planted", "X-Room": "hall"}));
        assert_eq!(back["url_template"], stored["url_template"]);
        let mut edited = shown;
        edited["url_template"] = json!("https://u:***@elsewhere/");
        assert!(restore(&mut edited, Some(&stored)).is_err());
        assert!(restore(&mut json!({"headers": {"Authorization": "***"}}), None).is_err());
    }
}
