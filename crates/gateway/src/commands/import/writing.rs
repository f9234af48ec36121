//! What the importers write alike.

use std::io::Write;
use std::path::Path;
use toml_edit::Value;

/// The text as TOML writes it.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Says what was written, and how to go on.
pub(super) fn tell_next(file: &Path, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "written: {}", file.display())?;
    writeln!(out, "next:    read its comments, then hearthgate -c {0} check, and hearthgate -c {0} run", file.display())
}
