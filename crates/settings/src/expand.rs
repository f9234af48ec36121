//! `${VAR}` and `${VAR:-default}` in the values of a file; `$${` stands for `${` itself.

use super::environment::EnvironmentVariables;
use super::finding::ConfigFinding;

/// A text with its references filled in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ExpandedText {
    pub(crate) text: String,
    /// Whether there was any reference.
    pub(crate) replaced: bool,
}

/// Why a reference can't be filled in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ExpandError {
    /// The variable is not set, and there is no default.
    Unset(String),
    /// `${` without `}`, or without a name.
    Malformed(String),
}

impl ExpandError {
    pub(crate) fn into_finding(self, key: String) -> ConfigFinding {
        match self {
            Self::Unset(name) => ConfigFinding::error(key, format!("the environment variable {name} is not set"))
                .remedy(format!("set it, or give a default: \"${{{name}:-…}}\"")),
            Self::Malformed(text) => ConfigFinding::error(key, format!("\"{text}\" is not a reference to a variable"))
                .remedy("write \"${NAME}\" or \"${NAME:-default}\"; a plain \"${\" is written \"$${\""),
        }
    }
}

/// Fills in the references of `text`. What a variable holds is taken as it is, never expanded again.
pub(crate) fn expand(text: &str, environment: &EnvironmentVariables) -> Result<ExpandedText, ExpandError> {
    let mut out = String::with_capacity(text.len());
    let mut replaced = false;
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("$${") {
            out.push_str("${");
            rest = after;
        } else if let Some(after) = rest.strip_prefix("${") {
            let end = after.find('}').ok_or_else(|| ExpandError::Malformed(rest.to_owned()))?;
            out.push_str(&value_of(&after[..end], environment)?);
            replaced = true;
            rest = &after[end + 1..];
        } else {
            out.push('$');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    Ok(ExpandedText { text: out, replaced })
}

fn value_of(reference: &str, environment: &EnvironmentVariables) -> Result<String, ExpandError> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    let is_name = !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if !is_name {
        return Err(ExpandError::Malformed(format!("${{{reference}}}")));
    }
    match (environment.get(name), default) {
        // As in a shell, `:-` also replaces an empty value.
        (Some(value), _) if !value.is_empty() => Ok(value.to_owned()),
        (_, Some(default)) => Ok(default.to_owned()),
        (Some(_), None) => Ok(String::new()),
        (None, None) => Err(ExpandError::Unset(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn expanded(text: &str) -> Result<String, ExpandError> {
        let environment = EnvironmentVariables::of([("HOST", "db.home"), ("EMPTY", ""), ("TRICK", "${HOST}")]);
        expand(text, &environment).map(|expanded| expanded.text)
    }

    #[test]
    fn variables_and_defaults_are_filled_in() {
        assert_eq!(expanded("mysql://gw@${HOST}/x").unwrap(), "mysql://gw@db.home/x");
        assert_eq!(expanded("${PORT:-1883}").unwrap(), "1883");
        assert_eq!(expanded("${EMPTY:-x}${EMPTY}").unwrap(), "x");
    }

    #[test]
    fn the_value_of_a_variable_is_not_expanded_again() {
        assert_eq!(expanded("${TRICK}").unwrap(), "${HOST}");
    }

    #[test]
    fn an_escaped_reference_stays() {
        assert_eq!(expanded("$${HOST} costs $5").unwrap(), "${HOST} costs $5");
    }

    #[test]
    fn an_unset_variable_and_a_broken_reference_are_errors() {
        assert_eq!(expanded("${NOPE}"), Err(ExpandError::Unset("NOPE".into())));
        assert!(matches!(expanded("${HOST"), Err(ExpandError::Malformed(_))));
        assert!(matches!(expanded("${a b}"), Err(ExpandError::Malformed(_))));
    }

    proptest! {
        #[test]
        fn text_without_a_dollar_stays_as_it_is(text in "[^$]*") {
            prop_assert_eq!(expanded(&text).unwrap(), text);
        }

        #[test]
        fn no_text_makes_it_panic(text in "(\\$|\\{|\\}|:-|[a-zä])*") {
            prop_assert!(format!("{:?}", expanded(&text)).len() > 1, "it has a debug form");
        }
    }
}
