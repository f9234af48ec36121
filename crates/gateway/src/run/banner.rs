//! What a newcomer sees first: what runs, and what to try next.

use crate::wiring::RunningGateway;
use hearthgate_settings::LoadedSettings;
use std::fmt::Write as _;

/// Prints the banner to standard error, beside the log.
pub(super) fn print(loaded: &LoadedSettings, running: &RunningGateway) {
    eprint!("{}", text(loaded, running));
}

fn text(loaded: &LoadedSettings, running: &RunningGateway) -> String {
    let settings = &loaded.settings;
    let mut text = format!("\nHearthgate {}\n", env!("CARGO_PKG_VERSION"));
    let mut line = |what: &str, value: &str| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "  {what:<12} {value}");
    };
    match &loaded.file {
        Some(file) => line("configured by", &file.display().to_string()),
        None => line("configured by", "its defaults (no hearthgate.toml found)"),
    }
    for address in running.broker.iter().flat_map(|broker| &broker.listens) {
        line("broker", &format!("mqtt://{address} (embedded, MQTT 3.1.1 and 5)"));
    }
    match (settings.mqtt.enabled, settings.mqtt.server.to_string().as_str()) {
        (false, _) => line("mqtt", "off"),
        (true, "embedded") => {}
        (true, server) => line("mqtt", server),
    }
    if settings.flows.enabled && settings.database.enabled {
        line("flows", &format!("from {}", settings.database.url));
    } else {
        line("flows", "off");
    }
    let names: Vec<&str> = running.interfaces.iter().map(|interface| &*interface.name).collect();
    line("interfaces", if names.is_empty() { "none" } else { "" }.to_owned().as_str());
    text = text.replace("interfaces   \n", &format!("interfaces   {}\n", names.join(", ")));
    if loaded.is_first_run {
        text += TRY;
    }
    text + "\n"
}

const TRY: &str = "
Try, in another terminal:
  mosquitto_sub -v -t '#'                                     everything that passes
  mosquitto_pub -t 'testmqttgtw/dummyfunction//kitchen//me/C' -m audio_on
                                                              a command for the dummy interface; see this log
  mosquitto_pub -q 1 -t sensors/aht10 -m '{\"temperature\":23.5,\"humidity\":65.2}'
                                                              two rows in the table data of data/hearthgate.db
  hearthgate status                                           how every part is
";
