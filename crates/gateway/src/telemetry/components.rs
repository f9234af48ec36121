//! What the log calls the components that users know.

use super::level::{LogLevelError, check_level};

/// The places in the code where a component works; interfaces have names of their own and share theirs.
const TARGETS: [(&str, &[&str]); 15] = [
    ("broker", &["hearthgate_mqtt::broker"]),
    ("mqtt", &["hearthgate_actors::mqtt", "hearthgate_mqtt::session"]),
    ("mapper", &["hearthgate_actors::mapping::mapper", "hearthgate_domain::mapping"]),
    ("maps", &["hearthgate_actors::mapping::maps"]),
    (
        "router",
        &["hearthgate_actors::flows::router", "hearthgate_actors::flows::commit", "hearthgate_storage::journal"],
    ),
    ("catalog", &["hearthgate_actors::flows::catalog", "hearthgate_storage::sql"]),
    ("writer", &["hearthgate_actors::flows::writer", "hearthgate_storage::sql"]),
    ("poster", &["hearthgate_actors::flows::poster", "hearthgate_endpoints"]),
    ("dead_letters", &["hearthgate_actors::flows::dead_letters", "hearthgate_storage::dead_letters"]),
    ("historian", &["hearthgate_actors::flows::historian", "hearthgate_storage::sql::history"]),
    ("silence", &["hearthgate_actors::flows::silence"]),
    ("homeassistant", &["hearthgate_actors::operation::homeassistant"]),
    ("supervisor", &["hearthgate_actors::operation::supervisor", "hearthgate_supervision"]),
    ("notifier", &["hearthgate_actors::operation::notices", "hearthgate_endpoints::notification"]),
    ("api", &["hearthgate_api"]),
];
const OF_INTERFACES: [&str; 2] = ["hearthgate_actors::mapping::interface", "hearthgate_interfaces"];

/// Why a component has no level of its own.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ComponentLevelError {
    /// There is no such component.
    #[error("there is no component \"{name}\"; known are {known}")]
    Unknown { name: String, known: String },
    /// Directives name their places themselves.
    #[error("\"{level}\" is no single level; use error, warn, info, debug, trace or off")]
    NoLevel { level: String },
    #[error(transparent)]
    Level(#[from] LogLevelError),
}

/// The log's level with another one for a component, above what is in force otherwise.
///
/// # Errors
/// No such component, no such level.
pub(crate) fn component_directives(
    otherwise: &str,
    component: &str,
    level: &str,
    interfaces: &[String],
) -> Result<String, ComponentLevelError> {
    check_level(level)?;
    if level.is_empty() || level.contains([',', '=', '[', ':']) {
        return Err(ComponentLevelError::NoLevel { level: level.to_owned() });
    }
    let known = TARGETS.iter().find(|(name, _)| *name == component).map(|(_, targets)| *targets);
    let of_interface = || interfaces.iter().any(|name| name == component).then_some(&OF_INTERFACES[..]);
    let Some(targets) = known.or_else(of_interface) else {
        let names = TARGETS.iter().map(|(name, _)| *name).chain(interfaces.iter().map(String::as_str));
        let known = names.collect::<Vec<_>>().join(", ");
        return Err(ComponentLevelError::Unknown { name: component.to_owned(), known });
    };
    let own: Vec<String> = targets.iter().map(|target| format!("{target}={level}")).collect();
    Ok(format!("{otherwise},{}", own.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearthgate_settings::SupervisionSettings;

    #[test]
    fn every_component_has_places_in_the_code() {
        for component in SupervisionSettings::COMPONENTS {
            assert!(component_directives("info", component, "debug", &[]).is_ok(), "{component}");
        }
        let radio = component_directives("info", "radio", "trace", &["radio".into()]).unwrap();
        assert_eq!(radio, "info,hearthgate_actors::mapping::interface=trace,hearthgate_interfaces=trace");
    }

    #[test]
    fn what_is_no_component_or_no_level_is_told() {
        let told = component_directives("info", "writter", "debug", &["radio".into()]).unwrap_err().to_string();
        assert!(told.contains("no component \"writter\"") && told.ends_with("api, radio"), "{told}");
        for level in ["verbose", "info,x=debug", ""] {
            assert!(component_directives("info", "writer", level, &[]).is_err(), "{level}");
        }
    }
}
