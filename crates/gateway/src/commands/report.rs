//! Findings of `check`, line by line as they come.

use crate::exit::Exit;
use std::fmt::Display;
use std::io::{IsTerminal, Write};

/// How one line ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Ok,
    Skipped,
    Warning,
    /// Something to put right in a file or in a flow.
    Wrong,
    /// Something that can't be reached now.
    Unreachable,
}

pub(super) struct Report<'a> {
    out: &'a mut dyn Write,
    colours: bool,
    wrong: u32,
    unreachable: u32,
}

impl<'a> Report<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { out, colours, wrong: 0, unreachable: 0 }
    }

    /// Writes one line at once: a person watches.
    ///
    /// # Errors
    /// Writing fails.
    pub(super) fn line(&mut self, mark: Mark, subject: impl Display, detail: impl Display) -> anyhow::Result<()> {
        let (word, colour) = match mark {
            Mark::Ok => ("ok", "32"),
            Mark::Skipped => ("skip", "2"),
            Mark::Warning => ("warn", "33"),
            Mark::Wrong => ("WRONG", "31"),
            Mark::Unreachable => ("DOWN", "31"),
        };
        match mark {
            Mark::Wrong => self.wrong += 1,
            Mark::Unreachable => self.unreachable += 1,
            Mark::Ok | Mark::Skipped | Mark::Warning => {}
        }
        if self.colours {
            write!(self.out, "\x1b[{colour}m{word:<5}\x1b[0m ")?;
        } else {
            write!(self.out, "{word:<5} ")?;
        }
        writeln!(self.out, "{subject}: {detail}")?;
        self.out.flush()?;
        Ok(())
    }

    /// What is wrong counts more than what can't be reached.
    ///
    /// # Errors
    /// Writing fails.
    pub(super) fn close(self) -> anyhow::Result<Exit> {
        let (exit, text) = match (self.wrong, self.unreachable) {
            (0, 0) => (Exit::Ok, "everything is in order".to_owned()),
            (0, down) => (Exit::Unavailable, format!("{down} not reachable")),
            (wrong, 0) => (Exit::Findings, format!("{wrong} to put right")),
            (wrong, down) => (Exit::Findings, format!("{wrong} to put right, {down} not reachable")),
        };
        writeln!(self.out, "{text}")?;
        Ok(exit)
    }
}
