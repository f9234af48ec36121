//! `docs`: the book, as it belongs to this version, without a network.

use crate::exit::{CommandFailure, ExitStatus};
use hearthgate_domain::suggestion::nearest_word;
use std::io::Write;

/// Name and text of a chapter.
type BookChapter = (&'static str, &'static str);

macro_rules! chapters {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../../../../docs/", $name, ".md")))),*]
    };
}

/// In the order in which they are read.
const CHAPTERS: [BookChapter; 15] = chapters![
    "getting-started",
    "configuration",
    "flows",
    "devices",
    "history",
    "interfaces",
    "notifications",
    "page",
    "operation",
    "troubleshooting",
    "upgrade",
    "security",
    "scaling",
    "guarantees",
    "moving-in",
];

/// Prints a chapter, or what chapters there are.
///
/// # Errors
/// There is no such chapter.
pub fn run(chapter: Option<&str>, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    let Some(wanted) = chapter else {
        for (name, text) in CHAPTERS {
            writeln!(out, "{name:16}  {}", title(text))?;
        }
        return Ok(ExitStatus::Ok);
    };
    let Some((_, text)) = CHAPTERS.iter().find(|(name, _)| *name == wanted) else {
        let nearest = nearest_word(wanted, CHAPTERS.iter().map(|(name, _)| *name));
        let remedy = nearest.map_or_else(String::new, |name| format!("; did you mean {name}?"));
        return Err(CommandFailure::Usage(format!("there is no chapter {wanted}{remedy}")).into());
    };
    out.write_all(text.as_bytes())?;
    Ok(ExitStatus::Ok)
}

fn title(text: &str) -> &str {
    text.lines().find_map(|line| line.strip_prefix("# ")).unwrap_or_default()
}

#[cfg(test)]
mod tests;
