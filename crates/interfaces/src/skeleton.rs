//! What `hearthgate interface new NAME` writes: an interface that works at once, with its map and its configuration.

use crate::config::{InterfaceNameError, check_name};
use std::path::PathBuf;

/// What the interface is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterfaceLanguage {
    /// A class in the style of the Python library, run by `hearthgate_exec`.
    Python,
    /// A POSIX shell script that speaks the protocol itself.
    Shell,
}

/// The files of a new interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceSkeleton {
    /// To write, relative to the configuration file's folder. None of them may be there already.
    pub files: Vec<SkeletonFile>,
    /// To append to the configuration file.
    pub configuration: String,
}

/// One file of a new interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkeletonFile {
    /// Relative to the configuration file's folder.
    pub path: PathBuf,
    /// Its content.
    pub text: String,
    /// Whether it must be executable.
    pub executable: bool,
}

/// A new interface that answers every command with a status and reports a heartbeat.
///
/// # Errors
/// The name can not be a topic level, a file name and an identifier at once.
pub fn skeleton(name: &str, language: InterfaceLanguage) -> Result<InterfaceSkeleton, InterfaceNameError> {
    check_name(name)?;
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(fits) || name.len() > 40 {
        return Err(InterfaceNameError::Identifier { name: name.to_owned() });
    }
    let fill = |template: &str| template.replace("@NAME@", name);
    let (program, text, command) = match language {
        InterfaceLanguage::Python => (
            format!("interfaces/{name}_interface.py"),
            fill(PYTHON),
            format!("[\"python3\", \"-m\", \"hearthgate_exec\", \"{name}_interface:{name}Interface\"]"),
        ),
        InterfaceLanguage::Shell => (format!("interfaces/{name}.sh"), fill(SHELL), format!("[\"./{name}.sh\"]")),
    };
    let program = SkeletonFile { path: program.into(), text, executable: language == InterfaceLanguage::Shell };
    let map = SkeletonFile { path: format!("maps/{name}.json").into(), text: fill(MAP), executable: false };
    Ok(InterfaceSkeleton {
        files: vec![program, map],
        configuration: fill(CONFIGURATION).replace("@COMMAND@", &command),
    })
}

const CONFIGURATION: &str = r#"
[interfaces.@NAME@]
kind = "exec"
map = "maps/@NAME@.json"
directory = "interfaces"
command = @COMMAND@

[interfaces.@NAME@.params]      # handed to the program
port = "/dev/ttyUSB0"
"#;

const MAP: &str = r#"{
  "root": "home",
  "topics": ["home/+/@NAME@/+/+/+/C"],
  "function": { "maptype": "none" },
  "gateway": { "maptype": "none" },
  "location": { "maptype": "none" },
  "device": { "maptype": "none" },
  "sender": { "maptype": "none" },
  "action": {
    "maptype": "loose",
    "map": { "POWER_ON": ["on"], "POWER_OFF": ["off"] }
  },
  "argkey": { "maptype": "none" },
  "argvalue": { "maptype": "none" }
}
"#;

const PYTHON: &str = r#""""The @NAME@ interface. Try it:

    mosquitto_sub -v -t 'home/#' &
    mosquitto_pub -t home/lighting/@NAME@/kitchen/lamp/me/C -m on
"""

import logging
import time

import mqttgateway.mqtt_map as mqtt_map

LOG = logging.getLogger(__name__)


class @NAME@Interface(object):
    """Bridges a device to messages."""

    def __init__(self, params, msglist_in, msglist_out):
        # Open the device here; an exception ends the interface, which is then started again after a pause.
        self._port = params["port"]
        self._in = msglist_in
        self._out = msglist_out
        self._beat_at = 0.0
        LOG.info("would open %s", self._port)

    def loop(self):
        """Called again and again; must come back soon."""
        while True:
            message = self._in.pull()
            if message is None:
                break
            if message.iscmd:
                # Tell the device here, then say how it went.
                LOG.info("asked for %s", message.action)
                answer = message.reply("OK", "done")
                answer.sender = ""
                self._out.push(answer)
        if time.monotonic() - self._beat_at > 60:
            self._beat_at = time.monotonic()
            self._out.push(mqtt_map.internalMsg(function="system", gateway="@NAME@", action="ALIVE"))

    def loop_stop(self):
        """Called once at the end. Close the device here."""
"#;

const SHELL: &str = r#"#!/bin/sh
# The @NAME@ interface: one JSON object a line on standard input and output. Try it:
#
#   mosquitto_sub -v -t 'home/#' &
#   mosquitto_pub -t home/lighting/@NAME@/kitchen/lamp/me/C -m on
#
# For more than a few actions use jq, or another language.

say() { printf '%s\n' "$1"; }

# The text or number of a key in the line; enough for keywords, which hold no quotes.
field() { printf '%s\n' "$line" | sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p"; }

while IFS= read -r line; do
  case $line in # the type always comes first
    '{"type":"hello"'*)
      # Open the device here: $(field port) is the parameter of that name.
      say '{"type":"ready"}'
      ;;
    '{"type":"ping"'*)
      say "{\"type\":\"pong\",\"id\":$(field id)}"
      ;;
    '{"type":"message"'*)
      if [ "$(field iscmd)" = true ]; then
        # Tell the device here, then say how it went.
        action=$(field action)
        echo "asked for $action" >&2
        say "{\"type\":\"message\",\"message\":{\"iscmd\":false,\"function\":\"$(field function)\",\"gateway\":\"@NAME@\",\"location\":\"$(field location)\",\"device\":\"$(field device)\",\"action\":\"$action\",\"arguments\":{\"response\":\"OK\"}}}"
      fi
      ;;
    '{"type":"stop"'*)
      exit 0
      ;;
  esac
done
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_can_not_be_a_file_and_a_class_is_refused() {
        for bad in ["", "a/b", "Radio", "1st", "my radio", "a-b", "../etc"] {
            assert!(skeleton(bad, InterfaceLanguage::Shell).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_configuration_of_a_skeleton_is_accepted() {
        #[derive(serde::Deserialize)]
        struct Document {
            interfaces: std::collections::BTreeMap<String, crate::InterfaceConfig>,
        }
        for language in [InterfaceLanguage::Python, InterfaceLanguage::Shell] {
            let skeleton = skeleton("radio", language).unwrap();
            let document: Document = toml::from_str(&skeleton.configuration).unwrap();
            assert_eq!(document.interfaces["radio"].kind(), crate::DriverKind::Exec);
            for file in &skeleton.files {
                assert!(!file.text.contains('@'), "{}", file.path.display());
            }
        }
    }
}
