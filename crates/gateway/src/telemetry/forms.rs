//! Forms of a line that the log's library does not know.

use chrono::Local;
use rustix::fs::fstat;
use std::fmt;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// A person in front of a terminal knows the date.
pub(super) struct ShortLocalTime;

impl FormatTime for ShortLocalTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{}", Local::now().format("%H:%M:%S%.3f"))
    }
}

/// Lines for systemd's journal: with the priority before each (`man sd-daemon`), and without the time, which it has itself.
pub(super) struct JournalLines(Format<Full, ()>);

impl Default for JournalLines {
    fn default() -> Self {
        JournalLines(Format::default().without_time().with_ansi(false))
    }
}

impl<S, N> FormatEvent<S, N> for JournalLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.0.format_event(ctx, writer, event)
    }
}

/// Of `syslog(3)`.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// Whether standard error goes into systemd's journal: then `JOURNAL_STREAM` names it by device and inode (`man systemd.exec`).
pub(super) fn is_stderr_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else { return false };
    fstat(std::io::stderr()).is_ok_and(|file| named == format!("{}:{}", file.st_dev, file.st_ino))
}

/// Lines as in the log files of the Python library mqttgateway, which scripts may read: time, module, line, function, thread and
/// level in columns, the message in a line of its own. The function's column names our crate.
pub(super) struct PythonLines;

impl<S, N> FormatEvent<S, N> for PythonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        let (path, module) = metadata.target().rsplit_once("::").unwrap_or(("", metadata.target()));
        let origin = path.split("::").next().unwrap_or_default();
        let thread = std::thread::current();
        write!(
            writer,
            "{} {module:<20}.{:04}-{origin:<20} {:<10} {:<8}:\n\t",
            Local::now().format("%Y-%m-%d %H:%M:%S,%3f"),
            metadata.line().unwrap_or_default(),
            thread.name().unwrap_or_default(),
            python_level(*metadata.level()),
        )?;
        ctx.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

fn python_level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        Level::DEBUG | Level::TRACE => "DEBUG",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::layer::SubscriberExt;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged<F>(form: F, work: impl FnOnce()) -> String
    where
        F: FormatEvent<tracing_subscriber::Registry, tracing_subscriber::fmt::format::DefaultFields>
            + Send
            + Sync
            + 'static,
    {
        let captured = Captured::default();
        let writer = captured.clone();
        let layer =
            tracing_subscriber::fmt::layer().event_format(form).with_ansi(false).with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_journal_gets_a_priority_and_no_time() {
        let text = logged(JournalLines::default(), || tracing::warn!(target: "x", "hot"));
        assert_eq!(text, "<4> WARN x: hot\n");
    }

    #[test]
    fn a_line_of_the_python_library_has_its_columns() {
        let text = logged(PythonLines, || tracing::warn!(target: "hearthgate_actors::flows::writer", count = 3, "hot"));
        let (head, message) = text.split_once('\n').unwrap();
        assert_eq!(message, "\thot count=3\n");
        let (time, rest) = head.split_at("2018-11-11 17:04:05,896 ".len());
        assert!(time.as_bytes()[19] == b',' && time.ends_with(' '), "{head}");
        assert!(rest.starts_with("writer              .") && rest.contains("-hearthgate_actors    "), "{head}");
        assert!(rest.ends_with(" WARNING :"), "{head}");
    }
}
