//! The configuration in force, without its secrets, and the log's level.

use crate::telemetry::Level;
use hearthgate_api::wire::{ConfigurationView, LogLevel, LogWanted, SettingView};
use hearthgate_api::{Answer, Failure, SystemView};
use hearthgate_settings::{Loaded, Origin};
use serde_json::json;
use std::time::Duration;

/// Minutes of a day.
const MOST_MINUTES: u32 = 1_440;

pub(super) struct System {
    configuration: ConfigurationView,
    level: Level,
}

impl System {
    pub(super) fn new(loaded: &Loaded, level: Level) -> Self {
        let settings = loaded.entries().into_iter().map(|entry| SettingView {
            value: serde_json::from_str(&entry.value).unwrap_or_else(|_| json!(entry.value)),
            origin: entry.origin.to_string(),
            changed: entry.origin != Origin::Default,
            locked: !matches!(entry.origin, Origin::Default | Origin::File { .. }),
            key: entry.key,
        });
        let configuration = ConfigurationView {
            file: loaded.file.as_ref().map(|file| file.display().to_string()),
            base: loaded.base.display().to_string(),
            warnings: loaded.warnings.iter().map(ToString::to_string).collect(),
            settings: settings.collect(),
        };
        System { configuration, level }
    }
}

impl SystemView for System {
    fn configuration(&self) -> ConfigurationView {
        self.configuration.clone()
    }

    fn log_level(&self) -> LogLevel {
        view(&self.level)
    }

    fn set_log_level(&self, wanted: LogWanted) -> Answer<LogLevel> {
        let level = self.level.clone();
        Box::pin(async move {
            if wanted.minutes > MOST_MINUTES {
                return Err(Failure::Invalid(format!("minutes are 0 to {MOST_MINUTES}")));
            }
            let time = Duration::from_secs(u64::from(wanted.minutes) * 60);
            level.set(&wanted.level, time).map_err(Failure::Invalid)?;
            Ok(view(&level))
        })
    }
}

fn view(level: &Level) -> LogLevel {
    let (now, until) = level.now();
    LogLevel { level: now, configured: level.configured().to_owned(), until: until.map(Into::into) }
}
