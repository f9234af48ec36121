//! What the program says, kept in files for review.

use std::fs;
use std::path::Path;

/// Compares a text with the file of that name under `tests/e2e/words`; `HEARTHGATE_BLESS=1` writes the file anew.
///
/// # Panics
/// They differ.
pub fn is_as_kept(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/words").join(name);
    if std::env::var_os("HEARTHGATE_BLESS").is_some() {
        fs::write(&file, text).expect("writing the snapshot");
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    let both = text.lines().zip(kept.lines()).enumerate();
    for (line, (told, kept)) in both {
        assert_eq!(told, kept, "{name}:{}; HEARTHGATE_BLESS=1 writes it anew, for review", line + 1);
    }
    assert_eq!(text.lines().count(), kept.lines().count(), "HEARTHGATE_BLESS=1 writes {name} anew, for review");
}
