//! `flow import` and `flow diff`: what a file says, beside what is there.

use super::checks::compile_flow;
use super::difference::{data_consequences, with_old_words};
use super::edit::{confirm, tell_differences};
use super::file::{WrittenFlow, read_flows};
use super::intake::FlowIntake;
use crate::exit::{CommandFailure, ExitStatus};
use anyhow::Context;
use hearthgate_domain::flow::FlowRow;
use std::io::{Read, Write};
use std::path::Path;

/// What the command line says of an import.
pub(super) struct ImportOrder<'a> {
    /// None for standard input.
    pub(super) file: Option<&'a Path>,
    /// Nothing is written.
    pub(super) is_dry: bool,
    /// What concerns stored data is meant.
    pub(super) is_agreed: bool,
}

/// Everything is checked before anything is written, and all of it is written or nothing.
///
/// # Errors
/// The file can't be read, or one of its flows could not run.
pub(super) async fn import(
    intake: &FlowIntake<'_>,
    order: ImportOrder<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<ExitStatus> {
    let (mut wanted, mut consequences) = (Vec::new(), Vec::new());
    for new in read_file(order.file)? {
        let code = new.code.clone();
        let Some(old) = intake.rows.iter().find(|row| row.code == code) else {
            writeln!(out, "added {code}")?;
            wanted.push(new);
            continue;
        };
        let new = with_old_words(new, old);
        if new == *old {
            writeln!(out, "unchanged {code}")?;
            continue;
        }
        writeln!(out, "changed {code}")?;
        tell_differences(old, &new, out)?;
        consequences.extend(data_consequences(old, &new).into_iter().map(|text| format!("flow {code}: {text}")));
        wanted.push(new);
    }
    if order.is_dry {
        intake.check(&wanted).await?;
        consequences.iter().for_each(|text| eprintln!("this concerns stored data: {text}"));
        return Ok(ExitStatus::Ok);
    }
    // What can't run is refused before anybody is asked.
    intake.check_quietly(&wanted)?;
    confirm(&consequences, order.is_agreed)?;
    intake.take(wanted).await?;
    Ok(ExitStatus::Ok)
}

/// The flows of a file, or of standard input.
///
/// # Errors
/// It can't be read, or is no file of flows.
pub(super) fn read_file(file: Option<&Path>) -> anyhow::Result<Vec<FlowRow>> {
    let (name, text) = match file.filter(|file| file.as_os_str() != "-") {
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .map_err(|error| CommandFailure::Usage(format!("can't read {}: {error}", file.display())))?;
            (file.display().to_string(), text)
        }
        None => {
            let mut text = String::new();
            std::io::stdin().lock().read_to_string(&mut text).context("reading standard input")?;
            ("standard input".to_owned(), text)
        }
    };
    let written = read_flows(&text).map_err(|error| CommandFailure::Refused(format!("{name}:{error}")))?;
    for WrittenFlow { line, row } in &written {
        compile_flow(row).map_err(|refusal| CommandFailure::Refused(format!("{name}:{line}: {refusal}")))?;
    }
    Ok(written.into_iter().map(|written| written.row).collect())
}
