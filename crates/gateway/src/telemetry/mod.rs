//! The log: standard error in the form that fits, a rotated file if wanted, repeats of an error folded.

mod components;
mod daily;
mod escape;
mod fold;
mod forms;
mod level;
mod notices;
mod repeated_line;
mod rotate;

pub(crate) use components::component_directives;
pub use level::{LevelControl, LogLevelError, check_level};

use anyhow::Context;
use daily::DailyFile;
use escape::escaped_fields;
use fold::FoldLayer;
use forms::{JournalLines, PythonLines, ShortLocalTime, is_stderr_journal};
use hearthgate_actors::operation::notices::NoticeSource;
use hearthgate_settings::{LogFormat, LogRotation, LogSettings};
use notices::notice_layer;
use rotate::RotatingFile;
use std::io::{self, IsTerminal};
use std::path::Path;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, reload};

/// Keeps the log going; what waits is written when it is dropped.
#[must_use]
pub struct TelemetryGuard {
    /// The log's level.
    pub level: LevelControl,
    /// Errors, for people who are to be told.
    pub notices: NoticeSource,
    // Dropped in this order: the counts of folded repeats still go into the file.
    _fold: Option<fold::FoldReporter>,
    _file: Option<WorkerGuard>,
}

/// What libraries say of themselves at every start and end is nothing for the log of a home.
const QUIET: &str = "actix_server=warn";

/// The level when the configured one is none.
const USUAL: &str = "info";

/// Starts the log of this process. `RUST_LOG` wins over the configured level.
///
/// # Errors
/// The level or the file is unusable, or a log was started before.
pub fn start(log: &LogSettings) -> anyhow::Result<TelemetryGuard> {
    let wished = std::env::var("RUST_LOG").ok().filter(|level| !level.is_empty());
    let misspelt = if wished.is_none() { check_level(&log.level).err() } else { None };
    let configured = if misspelt.is_some() { USUAL } else { &log.level };
    let shown = wished.clone().unwrap_or_else(|| configured.to_owned());
    let level = wished.unwrap_or_else(|| format!("{configured},{QUIET}"));
    let filter = EnvFilter::builder().parse(&level).with_context(|| format!("reading the log level \"{level}\""))?;
    let (filter, handle) = reload::Layer::new(filter);
    let (notice_layer, notices) = notice_layer();
    let (fold, reporter) = FoldLayer::new(log.fold_repeats.0);
    let (file, guard) = match &log.file {
        Some(path) => {
            let file =
                log_file(log, path).with_context(|| format!("opening the log file {} (log.file)", path.display()))?;
            let (writer, guard) = NonBlockingBuilder::default().finish(file);
            let layer = match log.format {
                LogFormat::Json => tracing_subscriber::fmt::layer().json().with_writer(writer).boxed(),
                LogFormat::MqttGateway => {
                    let layer = tracing_subscriber::fmt::layer().event_format(PythonLines);
                    layer.fmt_fields(escaped_fields()).with_writer(writer).boxed()
                }
                LogFormat::Auto | LogFormat::Pretty | LogFormat::Plain => {
                    let layer = tracing_subscriber::fmt::layer().fmt_fields(escaped_fields());
                    layer.with_ansi(false).with_writer(writer).boxed()
                }
            };
            (Some(layer), Some(guard))
        }
        None => (None, None),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(fold)
        .with(notice_layer)
        .with(on_stderr(log.format))
        .with(file)
        .try_init()
        .context("starting the log")?;
    if let Some(problem) = misspelt {
        tracing::warn!("log.level: {problem}; the log goes on with {USUAL}");
    }
    Ok(TelemetryGuard { level: LevelControl::new(handle, shown), notices, _fold: reporter, _file: guard })
}

fn log_file(log: &LogSettings, path: &Path) -> io::Result<Box<dyn io::Write + Send>> {
    Ok(match log.rotate {
        LogRotation::Size => Box::new(RotatingFile::open(path, log.max_size.0, log.keep)?),
        LogRotation::Day => Box::new(DailyFile::open(path, log.max_size.0, log.keep)?),
    })
}

fn on_stderr<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    let terminal = std::io::stderr().is_terminal();
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    if format == LogFormat::Json {
        return layer.json().boxed();
    }
    let layer = layer.fmt_fields(escaped_fields());
    match (format, terminal) {
        (LogFormat::MqttGateway, _) => layer.event_format(PythonLines).boxed(),
        (LogFormat::Auto, false) if is_stderr_journal() => layer.event_format(JournalLines::default()).boxed(),
        (LogFormat::Pretty, _) | (LogFormat::Auto, true) => {
            let colours = terminal && std::env::var_os("NO_COLOR").is_none();
            layer.with_ansi(colours).with_target(false).with_timer(ShortLocalTime).boxed()
        }
        (LogFormat::Plain | LogFormat::Json, _) | (LogFormat::Auto, false) => layer.with_ansi(false).boxed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_told_and_directives_for_modules_are_not() {
        assert!(check_level("verbose").is_err() && check_level("info,debgu").is_err());
        for level in ["info", "WARN", "off", "info,hearthgate_mqtt=debug", "hearthgate_mqtt[session]=trace"] {
            assert!(check_level(level).is_ok(), "{level}");
        }
    }
}
