//! The configuration in force, without its secrets, and the log's level.

use crate::telemetry::{LevelControl, component_directives};
use hearthgate_api::wire::{ConfigurationView, LogLevelView, LogWanted, SettingView};
use hearthgate_api::{SubjectAnswer, SubjectFailure, SystemView};
use hearthgate_settings::{LoadedSettings, ValueOrigin};
use serde_json::json;
use std::time::Duration;

/// Minutes of a day.
const MOST_MINUTES: u32 = 1_440;

pub(super) struct SystemSubject {
    configuration: ConfigurationView,
    level: LevelControl,
    interfaces: Vec<String>,
}

impl SystemSubject {
    pub(super) fn new(loaded: &LoadedSettings, level: LevelControl) -> Self {
        let settings = loaded.entries().into_iter().map(|entry| SettingView {
            value: serde_json::from_str(&entry.value).unwrap_or_else(|_| json!(entry.value)),
            origin: entry.origin.to_string(),
            changed: entry.origin != ValueOrigin::Default,
            locked: !matches!(entry.origin, ValueOrigin::Default | ValueOrigin::File { .. }),
            key: entry.key,
        });
        let configuration = ConfigurationView {
            file: loaded.file.as_ref().map(|file| file.display().to_string()),
            base: loaded.base.display().to_string(),
            warnings: loaded.warnings.iter().map(ToString::to_string).collect(),
            settings: settings.collect(),
        };
        let interfaces = loaded.settings.interfaces.keys().cloned().collect();
        SystemSubject { configuration, level, interfaces }
    }
}

impl SystemView for SystemSubject {
    fn configuration(&self) -> ConfigurationView {
        self.configuration.clone()
    }

    fn log_level(&self) -> LogLevelView {
        view(&self.level)
    }

    fn set_log_level(&self, wanted: LogWanted) -> SubjectAnswer<LogLevelView> {
        let (level, interfaces) = (self.level.clone(), self.interfaces.clone());
        Box::pin(async move {
            if wanted.minutes > MOST_MINUTES {
                return Err(SubjectFailure::Invalid(format!("minutes are 0 to {MOST_MINUTES}")));
            }
            let time = Duration::from_secs(u64::from(wanted.minutes) * 60);
            let directives = match &wanted.component {
                Some(component) if !time.is_zero() => {
                    component_directives(level.configured(), component, &wanted.level, &interfaces)
                        .map_err(|error| SubjectFailure::Invalid(error.to_string()))?
                }
                Some(_) | None => wanted.level,
            };
            level.set(&directives, time).map_err(|error| SubjectFailure::Invalid(error.to_string()))?;
            Ok(view(&level))
        })
    }
}

fn view(level: &LevelControl) -> LogLevelView {
    let (now, until) = level.now();
    LogLevelView { level: now, configured: level.configured().to_owned(), until: until.map(Into::into) }
}
