//! The structure of the crates: no circle of imports, no public type name twice, one form of modules.

use super::keys::KnownKeys;
use super::source::{CrateSource, Imports};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The crates that know how the configuration is written; the others return limits and values that these put into words.
const KNOW_KEYS: [&str; 2] = ["crates/settings/", "crates/gateway/"];

/// Names that each crate may have once for itself.
const COMMON: [&str; 2] = ["Error", "Options"];

/// Reads each crate of ours and says what is wrong with its structure.
pub(crate) fn check(workspace: &Path, root_files: &[String], keys: &KnownKeys) -> anyhow::Result<Vec<String>> {
    let mut findings = Vec::new();
    let mut defined: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for root_file in root_files {
        let source = CrateSource::read(workspace, Path::new(root_file))?;
        let imports = source.imports();
        findings.extend(circles(&imports).iter().map(|circle| describe(circle, &imports)));
        let may_name_keys = KNOW_KEYS.iter().any(|known| root_file.starts_with(known));
        for module in source.modules.values() {
            for text in &module.texts {
                findings.extend(key_findings(&module.file.display().to_string(), text, keys, may_name_keys));
            }
            for name in &module.public_types {
                if !COMMON.contains(&name.as_str()) {
                    defined.entry(name.clone()).or_default().insert(module.file.display().to_string());
                }
            }
        }
    }
    for (name, files) in defined.into_iter().filter(|(_, files)| files.len() > 1) {
        let files: Vec<String> = files.into_iter().collect();
        findings.push(format!("the type name {name} is public twice: {}", files.join(", ")));
    }
    Ok(findings)
}

/// The files of a circle, and what ties them.
fn describe(circle: &[&Path], imports: &Imports) -> String {
    let mut text = String::from("files that import each other in a circle:");
    for file in circle {
        for (other, names) in imports.get(file).into_iter().flatten().filter(|(other, _)| circle.contains(other)) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            text.push_str(&format!("\n    {} takes {} from {}", file.display(), names.join(", "), other.display()));
        }
    }
    text
}

fn key_findings(file: &str, text: &str, keys: &KnownKeys, may_name_keys: bool) -> Vec<String> {
    let found = keys.named(text);
    let mut findings: Vec<String> =
        found.unknown.iter().map(|key| format!("{file}: {key} is no key of the default file")).collect();
    if !may_name_keys {
        findings.extend(
            found
                .known
                .iter()
                .map(|key| format!("{file}: names the key {key}; only the settings and the gateway know keys")),
        );
    }
    findings
}

/// A module with children is `name/mod.rs`, never `name.rs` beside a folder.
pub(crate) fn module_forms(files: &[String]) -> Vec<String> {
    let sources: BTreeSet<&str> = files.iter().map(String::as_str).filter(|file| file.contains("/src/")).collect();
    let mut findings = Vec::new();
    for file in &sources {
        let Some(stem) = file.strip_suffix(".rs") else { continue };
        let folder = format!("{stem}/");
        if !file.contains("/src/bin/") && sources.iter().any(|other| other.starts_with(&folder)) {
            findings.push(format!("{file}: has children, so it is {folder}mod.rs"));
        }
    }
    findings
}

/// Groups of more than one file in which each reaches each other (Tarjan's strongly connected components).
fn circles<'a>(imports: &Imports<'a>) -> Vec<Vec<&'a Path>> {
    let mut search =
        Search { imports, order: BTreeMap::new(), low: BTreeMap::new(), stack: Vec::new(), found: Vec::new() };
    for file in imports.keys() {
        if !search.order.contains_key(file) {
            search.visit(file);
        }
    }
    search.found
}

struct Search<'a, 'b> {
    imports: &'b Imports<'a>,
    order: BTreeMap<&'a Path, usize>,
    low: BTreeMap<&'a Path, usize>,
    stack: Vec<&'a Path>,
    found: Vec<Vec<&'a Path>>,
}

impl<'a> Search<'a, '_> {
    fn visit(&mut self, file: &'a Path) -> usize {
        let number = self.order.len();
        self.order.insert(file, number);
        self.low.insert(file, number);
        self.stack.push(file);
        let mut low = number;
        for next in self.imports.get(file).into_iter().flat_map(BTreeMap::keys) {
            if !self.order.contains_key(next) {
                low = low.min(self.visit(next));
            } else if self.stack.contains(next) {
                low = low.min(self.order[next]);
            }
        }
        self.low.insert(file, low);
        if low == number {
            let at = self.stack.iter().position(|one| *one == file).unwrap_or(0);
            let mut members = self.stack.split_off(at);
            if members.len() > 1 {
                members.sort_unstable();
                self.found.push(members);
            }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_is_found_and_a_diamond_is_none() {
        let [a, b, c, d] = ["a", "b", "c", "d"].map(Path::new);
        let takes = |files: &[&'static Path]| files.iter().map(|file| (*file, BTreeSet::new())).collect();
        let diamond = BTreeMap::from([(a, takes(&[b, c])), (b, takes(&[d])), (c, takes(&[d])), (d, takes(&[]))]);
        assert!(circles(&diamond).is_empty());
        let mut closed = diamond;
        closed.insert(d, takes(&[b]));
        assert_eq!(circles(&closed), vec![vec![b, d]]);
    }

    #[test]
    fn a_module_file_beside_its_folder_is_found() {
        let files = |names: [&str; 2]| names.map(str::to_owned);
        assert_eq!(module_forms(&files(["crates/a/src/b.rs", "crates/a/src/b/c.rs"])).len(), 1);
        assert!(module_forms(&files(["crates/a/src/b/mod.rs", "crates/a/src/b/c.rs"])).is_empty());
    }
}
