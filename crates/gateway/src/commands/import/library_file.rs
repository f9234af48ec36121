//! A configuration file of the Python library, as its parser reads it.

use crate::exit::CommandFailure;
use hearthgate_settings::read_text_file;
use std::path::{Path, PathBuf};

/// One file: what stands in which section.
#[derive(Debug)]
pub(super) struct LibraryFile {
    /// Where it is.
    pub(super) path: PathBuf,
    entries: Vec<LibraryEntry>,
}

#[derive(Debug)]
struct LibraryEntry {
    section: String,
    /// In small letters, as the library sees it.
    option: String,
    value: String,
}

impl LibraryFile {
    /// Reads the file.
    ///
    /// # Errors
    /// [`CommandFailure::Config`] with its line: it can't be read, or a line is none of a configuration.
    pub(super) fn read(path: &Path) -> Result<Self, CommandFailure> {
        let text = read_text(path)?;
        let entries = parse(&text)
            .map_err(|(line, problem)| CommandFailure::Config(format!("{}:{line}: {problem}", path.display())))?;
        Ok(LibraryFile { path: path.to_owned(), entries })
    }

    /// The value of an option; an empty one is none.
    pub(super) fn get(&self, section: &str, option: &str) -> Option<&str> {
        let of = |section: &str| self.entries.iter().rfind(|entry| entry.section == section && entry.option == option);
        of(section).or_else(|| of("DEFAULT")).map(|entry| entry.value.as_str()).filter(|value| !value.is_empty())
    }

    /// Options and values of a section, in their order.
    pub(super) fn section<'a>(&'a self, section: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let entries = self.entries.iter().filter(move |entry| entry.section == section);
        entries.map(|entry| (entry.option.as_str(), entry.value.as_str()))
    }

    /// The folder that its relative paths start at.
    pub(super) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// The name of the file without its ending: the application's name, and so the sender of its messages.
    pub(super) fn name(&self) -> String {
        let stem = self.path.file_stem().unwrap_or_default().to_string_lossy();
        stem.chars().map(|c| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' }).collect()
    }
}

/// The text of a file.
pub(super) fn read_text(path: &Path) -> Result<String, CommandFailure> {
    let failed = |problem: String| CommandFailure::Config(format!("can't read {}: {problem}", path.display()));
    read_text_file(path).map_err(|error| failed(error.to_string()))
}

fn parse(text: &str) -> Result<Vec<LibraryEntry>, (usize, String)> {
    let mut section = None;
    let mut entries: Vec<LibraryEntry> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        // An indented line goes on with the value above it.
        if line.starts_with(char::is_whitespace)
            && let Some(last) = entries.last_mut()
        {
            last.value += &format!("\n{trimmed}");
            continue;
        }
        if let Some(name) = trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = Some(name.to_owned());
            continue;
        }
        let at = index + 1;
        let Some(section) = &section else { return Err((at, "it stands before the first [SECTION]".into())) };
        let Some((option, value)) = trimmed.split_once([':', '=']) else {
            return Err((at, format!("expected `option: value`, found {trimmed:?}")));
        };
        let (option, value) = (option.trim().to_lowercase(), value.trim().to_owned());
        entries.push(LibraryEntry { section: section.clone(), option, value });
    }
    Ok(entries)
}
