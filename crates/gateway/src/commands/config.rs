//! `config show|schema|default`.

use crate::cli::ConfigCommand;
use crate::exit::ExitStatus;
use hearthgate_settings::{self, LoadedSettings, ShownValue, ValueOrigin};
use serde_json::json;
use std::io::Write;

/// Prints what is asked for. `load` is called only where a configuration is needed.
///
/// # Errors
/// The configuration is wrong, or writing fails.
pub fn run(
    command: &ConfigCommand,
    load: impl FnOnce() -> anyhow::Result<LoadedSettings>,
    out: &mut dyn Write,
) -> anyhow::Result<ExitStatus> {
    match command {
        ConfigCommand::Show { changed, json } => {
            let loaded = load()?;
            let mut entries = loaded.entries();
            entries.retain(|entry| !changed || entry.origin != ValueOrigin::Default);
            if *json { as_json(&entries, out) } else { as_toml(&loaded, &entries, out) }
        }
        ConfigCommand::Schema => {
            serde_json::to_writer_pretty(&mut *out, &hearthgate_settings::schema())?;
            writeln!(out)?;
            Ok(ExitStatus::Ok)
        }
        ConfigCommand::Default => {
            out.write_all(hearthgate_settings::DEFAULTS.as_bytes())?;
            Ok(ExitStatus::Ok)
        }
    }
}

fn as_json(entries: &[ShownValue], out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    for entry in entries {
        let value: serde_json::Value = serde_json::from_str(&entry.value).unwrap_or_else(|_| json!(entry.value));
        writeln!(out, "{}", json!({"key": entry.key, "value": value, "origin": entry.origin.to_string()}))?;
    }
    Ok(ExitStatus::Ok)
}

fn as_toml(loaded: &LoadedSettings, entries: &[ShownValue], out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    match &loaded.file {
        Some(file) => writeln!(out, "# file: {}", file.display())?,
        None => writeln!(out, "# no configuration file")?,
    }
    writeln!(out, "# relative paths start at {}", loaded.base.display())?;
    let width = entries.iter().map(|entry| entry.key.len() + entry.value.len() + 3).max().unwrap_or(0).min(60);
    for entry in entries {
        let line = format!("{} = {}", entry.key, entry.value);
        writeln!(out, "{line:width$}  # {}", entry.origin)?;
    }
    for warning in &loaded.warnings {
        writeln!(out, "# {warning}")?;
    }
    Ok(ExitStatus::Ok)
}
