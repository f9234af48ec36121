//! Findings of `check`, line by line as they come, or as one JSON object at the end.

use crate::exit::ExitStatus;
use hearthgate_settings::{ConfigFinding, LoadedSettings};
use serde_json::{Value, json};
use std::fmt::Display;
use std::io::{IsTerminal, Write};

/// How one line ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineMark {
    Ok,
    Skipped,
    Warning,
    /// Something to put right in a file or in a flow.
    Wrong,
    /// Something that can't be reached now.
    Unreachable,
}

pub(super) struct CheckReport<'a> {
    /// Tells in which line a finding is to be put right.
    loaded: &'a LoadedSettings,
    out: &'a mut dyn Write,
    colours: bool,
    /// The findings, when they are wanted as JSON.
    findings: Option<Vec<Value>>,
    wrong: u32,
    unreachable: u32,
}

impl<'a> CheckReport<'a> {
    pub(super) fn new(loaded: &'a LoadedSettings, out: &'a mut dyn Write, as_json: bool) -> Self {
        let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { loaded, out, colours, findings: as_json.then(Vec::new), wrong: 0, unreachable: 0 }
    }

    /// Writes one line at once: a person watches.
    ///
    /// # Errors
    /// Writing fails.
    pub(super) fn line(&mut self, mark: LineMark, subject: impl Display, detail: impl Display) -> anyhow::Result<()> {
        let (word, name, colour) = match mark {
            LineMark::Ok => ("ok", "ok", "32"),
            LineMark::Skipped => ("skip", "skipped", "2"),
            LineMark::Warning => ("warn", "warning", "33"),
            LineMark::Wrong => ("WRONG", "wrong", "31"),
            LineMark::Unreachable => ("DOWN", "unreachable", "31"),
        };
        match mark {
            LineMark::Wrong => self.wrong += 1,
            LineMark::Unreachable => self.unreachable += 1,
            LineMark::Ok | LineMark::Skipped | LineMark::Warning => {}
        }
        let subject = subject.to_string();
        let is_finding = matches!(mark, LineMark::Warning | LineMark::Wrong | LineMark::Unreachable);
        let place = self.loaded.place(&key_of(&subject)).filter(|_| is_finding).map(ToString::to_string);
        if let Some(findings) = &mut self.findings {
            findings.push(json!({"result": name, "subject": subject, "detail": detail.to_string(), "place": place}));
            return Ok(());
        }
        if self.colours {
            write!(self.out, "\x1b[{colour}m{word:<5}\x1b[0m ")?;
        } else {
            write!(self.out, "{word:<5} ")?;
        }
        write!(self.out, "{subject}: {detail}")?;
        match place {
            Some(place) => writeln!(self.out, " ({place})")?,
            None => writeln!(self.out)?,
        }
        self.out.flush()?;
        Ok(())
    }

    /// The same for what is wrong in the configuration.
    ///
    /// # Errors
    /// Writing fails.
    pub(super) fn finding(&mut self, finding: &ConfigFinding) -> anyhow::Result<()> {
        let ConfigFinding { key, message, remedy, .. } = finding;
        self.line(LineMark::Wrong, key, format!("{message}; {}", remedy.as_deref().unwrap_or_default()))
    }

    /// What is wrong counts more than what can't be reached.
    ///
    /// # Errors
    /// Writing fails.
    pub(super) fn close(self) -> anyhow::Result<ExitStatus> {
        let (exit, text) = match (self.wrong, self.unreachable) {
            (0, 0) => (ExitStatus::Ok, "everything is in order".to_owned()),
            (0, down) => (ExitStatus::Unavailable, format!("{down} not reachable")),
            (wrong, 0) => (ExitStatus::Findings, format!("{wrong} to put right")),
            (wrong, down) => (ExitStatus::Findings, format!("{wrong} to put right, {down} not reachable")),
        };
        match self.findings {
            Some(findings) => {
                let CheckReport { wrong, unreachable, .. } = self;
                let answer = json!({"wrong": wrong, "unreachable": unreachable, "findings": findings});
                writeln!(self.out, "{answer}")?;
            }
            None => writeln!(self.out, "{text}")?,
        }
        Ok(exit)
    }
}

/// Which key, or section, of the configuration a subject of `check` is about.
fn key_of(subject: &str) -> String {
    match subject {
        "state" | "disk" => "gateway.state_dir".to_owned(),
        "mqtt" => "mqtt.server".to_owned(),
        "database" => "database.url".to_owned(),
        _ => subject.strip_prefix("interface ").map_or_else(|| subject.to_owned(), |name| format!("interfaces.{name}")),
    }
}
