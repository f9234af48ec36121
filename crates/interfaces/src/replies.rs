//! Which commands are executed, and what the others are answered. Pure: the caller says what time it is.

use crate::config::InterfaceConfig;
use crate::queue::DeviceCommand;
use hearthgate_domain::mapping::internal_msg::InternalMsg;
use std::time::{Duration, Instant};

/// The `response` argument of an answer that says no.
pub const ERROR: &str = "ERROR";

/// What to do with a message for an interface before it is queued.
#[derive(Clone, Debug, PartialEq)]
pub enum ReplyAdmission {
    /// Hand it to the driver.
    Accept,
    /// Forget it: a retained command from before our time.
    DropRetained,
}

/// Retained commands are dropped unless the interface asks for them: a gate must not open because somebody wanted it
/// open yesterday. Statuses are let through, retained or not.
#[must_use]
pub fn admit(config: &InterfaceConfig, message: &InternalMsg, retained: bool) -> ReplyAdmission {
    if retained && message.iscmd && !config.accept_retained {
        ReplyAdmission::DropRetained
    } else {
        ReplyAdmission::Accept
    }
}

/// Why a command must not be executed any more, if so. Statuses are never too old.
#[must_use]
pub fn too_old(command: &DeviceCommand, now: Instant, max_age: Duration) -> Option<String> {
    let age = now.saturating_duration_since(command.received_at);
    (command.message.iscmd && age > max_age).then(|| {
        format!(
            "not executed: it waited {:.1} s, and max_command_age is {:.1} s",
            age.as_secs_f64(),
            max_age.as_secs_f64()
        )
    })
}

/// The answer to a refused command, or `None` when none is due: for a status, or with `replies = false`.
///
/// The sender is left empty, so that the answer goes out under the interface's own name; under the commander's name the
/// commander would take it for its own echo.
#[must_use]
pub fn refusal(config: &InterfaceConfig, command: &InternalMsg, reason: &str) -> Option<InternalMsg> {
    if !config.replies || !command.iscmd {
        return None;
    }
    let mut answer = command.clone().reply(ERROR, reason);
    answer.sender.clear();
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(more: &str) -> InterfaceConfig {
        toml::from_str(&format!("kind = \"dummy\"\nmap = \"m.json\"\n{more}")).unwrap()
    }

    fn gate_open() -> InternalMsg {
        InternalMsg { iscmd: true, sender: "phone".into(), action: "GATE_OPEN".into(), ..InternalMsg::default() }
    }

    #[test]
    fn a_retained_command_is_dropped_unless_the_interface_asks_for_it() {
        let status = InternalMsg { iscmd: false, ..gate_open() };
        assert_eq!(admit(&config(""), &gate_open(), true), ReplyAdmission::DropRetained);
        assert_eq!(admit(&config(""), &gate_open(), false), ReplyAdmission::Accept);
        assert_eq!(admit(&config(""), &status, true), ReplyAdmission::Accept);
        assert_eq!(admit(&config("accept_retained = true"), &gate_open(), true), ReplyAdmission::Accept);
    }

    #[test]
    fn a_command_is_too_old_after_max_command_age_and_a_status_never() {
        let now = Instant::now();
        let later = now + Duration::from_millis(5_001);
        let mut command = DeviceCommand { message: gate_open(), received_at: now };
        assert_eq!(too_old(&command, now + Duration::from_secs(5), Duration::from_secs(5)), None);
        assert!(too_old(&command, later, Duration::from_secs(5)).unwrap().contains("max_command_age is 5.0 s"));
        command.message.iscmd = false;
        assert_eq!(too_old(&command, later, Duration::from_secs(5)), None);
    }

    #[test]
    fn a_refused_command_is_answered_under_our_own_name_with_a_reason() {
        let answer = refusal(&config(""), &gate_open(), "device is offline").unwrap();
        assert!(!answer.iscmd);
        assert_eq!(answer.sender, "");
        assert_eq!(answer.arguments["response"], "ERROR");
        assert_eq!(answer.arguments["reason"], "device is offline");
        assert_eq!(refusal(&config("replies = false"), &gate_open(), "x"), None);
        assert_eq!(refusal(&config(""), &answer, "x"), None);
    }
}
