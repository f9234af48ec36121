//! What documents point to exists: files behind links, files and tests that are named.

use super::keys::KnownKeys;
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// Says which links, files and tests of the documents do not exist. `tests` are the names of all test functions.
pub(crate) fn check(
    document: &str,
    text: &str,
    files: &BTreeSet<String>,
    tests: &BTreeSet<String>,
    keys: &KnownKeys,
) -> Vec<String> {
    let mut findings = Vec::new();
    let mut is_code = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        if is_code {
            continue;
        }
        let place = format!("{document}:{}", number + 1);
        for target in links(line) {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let full = normal(&Path::new(document).parent().unwrap_or(Path::new("")).join(path));
            if !exists(&full, files) {
                findings.push(format!("{place}: the link leads nowhere: {target}"));
            }
        }
        for word in quoted(line) {
            if let Some(path) = word.strip_suffix(".rs").map(|_| word) {
                if !files.iter().any(|file| file == path || file.ends_with(&format!("/{path}"))) {
                    findings.push(format!("{place}: there is no file {path}"));
                }
            } else if is_test_name(word) && !tests.contains(word) {
                findings.push(format!("{place}: there is no test {word}"));
            }
            findings.extend(keys.named(word).unknown.iter().map(|key| format!("{place}: there is no key {key}")));
        }
    }
    findings
}

/// The names of the functions that are marked as tests.
pub(crate) fn tests_of(text: &str) -> Vec<String> {
    let mut is_marked = false;
    let mut names = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[") {
            is_marked |= line.contains("test]") || line.contains("test(") || line.contains("test::");
        } else if let Some(rest) = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn ")) {
            let name: String = rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
            // `proptest!` has its attribute above the function, too; helpers are named as sentences rarely.
            if is_marked {
                names.push(name);
            }
            is_marked = false;
        }
    }
    names
}

fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Tests are sentences: five words or more.
fn is_test_name(word: &str) -> bool {
    const WORDS: usize = 5;
    word.split('_').count() >= WORDS
        && !word.starts_with("hearthgate_")
        && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn exists(path: &Path, files: &BTreeSet<String>) -> bool {
    let text = path.to_string_lossy();
    let folder = format!("{}/", text.trim_end_matches('/'));
    files.contains(text.as_ref()) || files.iter().any(|file| file.starts_with(&folder))
}

fn normal(path: &Path) -> PathBuf {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(parts.pop()),
            Component::CurDir => {}
            other => parts.push(other),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_links_and_unknown_names_are_found() {
        let files = BTreeSet::from(["docs/a.md".to_owned(), "crates/x/src/b.rs".to_owned()]);
        let tests = BTreeSet::from(["what_is_told_here_is_true".to_owned()]);
        let keys = KnownKeys::read("[mqtt]\nserver = \"embedded\"\n");
        let good = "[a](a.md#part), [up](../crates/x/src/b.rs), [web](https://example.org), `b.rs`, `what_is_told_here_is_true`";
        assert!(check("docs/c.md", good, &files, &tests, &keys).is_empty());
        let bad = "[a](z.md) and `c.rs` and `what_is_told_there_is_not` and `mqtt.sever`";
        assert_eq!(check("docs/c.md", bad, &files, &tests, &keys).len(), 4);
    }
}
