//! The Python MQTT Gateway: what its `.env` file says. Its tables are used as they are.

use super::writing::{quoted, tell_next};
use crate::commands::new_files::{refuse_configured, write_configuration, write_new};
use crate::exit::{CommandFailure, ExitStatus};
use hearthgate_settings::{ImportedValue, import_dot_env};
use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

const PASSWORD_FILE: &str = "secrets/database";

/// Writes the configuration, and the database's password into a file of its own.
///
/// # Errors
/// The file can't be read or names no database; the target is there or can't be written.
pub(super) fn run(file: &Path, folder: &Path, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    refuse_configured(folder)?;
    let values = import_dot_env(file)?;
    if !values.iter().any(|value| value.key == "url") {
        let problem = format!("{} has no DB_HOST; is it the .env file of the MQTT Gateway?", file.display());
        return Err(CommandFailure::Config(problem).into());
    }
    let password = values.iter().find(|value| value.key == "password");
    if let Some(password) = password {
        write_new(&folder.join(PASSWORD_FILE), &password.value, 0o600)?;
    }
    let written = write_configuration(folder, &text(file, &values))?;
    if let Some(id) = values.iter().find(|value| value.key == "client_id") {
        writeln!(
            out,
            "{} is the client id of the running service and is not taken over: a broker keeps only one of two clients \
             with the same id. Do not start hearthgate in the folder of {}, which would set it again.",
            quoted(&id.value),
            file.display()
        )?;
    }
    tell_next(&written, out)?;
    Ok(ExitStatus::Ok)
}

fn text(file: &Path, values: &[ImportedValue]) -> String {
    let mut text = format!(
        "# From {} by `hearthgate import mqtt-gateway`. Flows and brokers stay in the tables of the database.\n\
         # Stop the Python gateway before `hearthgate run`: both would store each message.\n",
        file.display()
    );
    let mut sections: Vec<&str> = values.iter().map(|value| value.section.as_str()).chain(["flows"]).collect();
    sections.sort_unstable();
    sections.dedup();
    for section in sections {
        // Writing to a String does not fail.
        let _ = writeln!(text, "\n[{section}]");
        for ImportedValue { key, value, variable, .. } in values.iter().filter(|value| value.section == section) {
            let _ = match key.as_str() {
                "password" => writeln!(text, "# {variable}\npassword_file = {}", quoted(PASSWORD_FILE)),
                "client_id" => writeln!(
                    text,
                    "# {variable} is the running service's own id; two clients with one id disconnect each other. Only \
                     once it is\n# gone for good: client_id = {}",
                    quoted(value)
                ),
                _ => writeln!(text, "# {variable}\n{key} = {}", quoted(value)),
            };
        }
        if section == "flows" {
            text += "# As the Python gateway writes values that are no strings: True, None, {'a': 1}.\n\
                     value_format = \"python\"\n";
        }
    }
    text
}
