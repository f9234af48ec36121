//! The rules of the house that a program can check: crate edges, circles of imports, names, module form, keys and links
//! that exist, crate docs, file length, nothing of the machine that a file was written on.

mod documents;
mod keys;
mod source;
mod structure;

use crate::command::quiet;
use crate::workspace::Workspace;
use anyhow::Context;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// A crate, the crates of ours that it may use, and the foreign ones that it must not.
struct Edges {
    package: &'static str,
    ours: &'static [&'static str],
    never: &'static [&'static str],
}

/// The table of the architecture.
const EDGES: [Edges; 13] = [
    Edges {
        package: "domain",
        ours: &[],
        never: &["tokio", "actix", "actix-web", "sqlx", "rumqttc", "reqwest", "chrono", "config", "tracing-subscriber"],
    },
    Edges { package: "files", ours: &[], never: &["tokio", "actix", "sqlx", "serde"] },
    Edges {
        package: "storage",
        ours: &["domain", "files"],
        never: &["actix", "actix-web", "rumqttc", "reqwest", "config"],
    },
    Edges { package: "mqtt", ours: &["domain", "files"], never: &["actix", "actix-web", "reqwest", "config"] },
    Edges { package: "endpoints", ours: &["domain"], never: &["actix", "actix-web", "rumqttc", "sqlx", "config"] },
    Edges {
        package: "interfaces",
        ours: &["domain"],
        never: &["actix", "actix-web", "rumqttc", "sqlx", "reqwest", "config"],
    },
    Edges { package: "supervision", ours: &[], never: &["actix-web", "rumqttc", "sqlx", "reqwest", "config"] },
    Edges {
        package: "actors",
        ours: &["domain", "files", "storage", "mqtt", "endpoints", "interfaces", "supervision"],
        never: &["config", "clap", "actix-web"],
    },
    Edges { package: "api", ours: &["domain", "files", "supervision"], never: &["config", "clap", "rumqttc"] },
    Edges {
        package: "settings",
        ours: &["domain", "interfaces", "supervision"],
        never: &["actix", "actix-web", "rumqttc", "sqlx", "reqwest", "clap"],
    },
    Edges {
        package: "gateway",
        ours: &[
            "domain",
            "files",
            "storage",
            "mqtt",
            "endpoints",
            "interfaces",
            "supervision",
            "actors",
            "api",
            "settings",
        ],
        never: &[],
    },
    Edges { package: "tests", ours: &["actors", "api"], never: &[] },
    Edges { package: "xtask", ours: &[], never: &["tokio", "actix"] },
];

const PREFIX: &str = "hearthgate-";

/// Lines that a Rust file should not exceed, and those that it must not.
const LONG: usize = 300;
const TOO_LONG: usize = 700;

/// Where every key has its default, and its explanation.
const DEFAULTS: &str = "config/hearthgate.default.toml";

pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<bool> {
    let root = workspace.root();
    let mut findings = edges(workspace);
    let files = tracked(root)?;
    let crates: Vec<String> =
        files.iter().filter(|file| file.starts_with("crates/") && file.ends_with("/src/lib.rs")).cloned().collect();
    let defaults = std::fs::read_to_string(root.join(DEFAULTS)).context(DEFAULTS)?;
    let keys = keys::KnownKeys::read(&defaults);
    findings.extend(structure::check(root, &crates, &keys)?);
    findings.extend(structure::module_forms(&files));
    let mut documents = Vec::new();
    let mut tests = BTreeSet::new();
    let mut long = Vec::new();
    for file in &files {
        // Binary files have no lines to look at.
        let Ok(text) = std::fs::read_to_string(workspace.root().join(file)) else { continue };
        findings.extend(crate_docs(file, &text));
        findings.extend(traces(file, &text));
        if file.ends_with(".md") {
            documents.push((file, text.clone()));
        }
        if file.ends_with(".rs") {
            tests.extend(documents::tests_of(&text));
            let lines = text.lines().count();
            if lines > TOO_LONG {
                findings.push(format!("{file}: {lines} lines; at most {TOO_LONG}: split it"));
            } else if lines > LONG {
                long.push((lines, file));
            }
        }
    }
    let known: BTreeSet<String> = files.iter().cloned().collect();
    for (document, text) in documents {
        findings.extend(documents::check(document, &text, &known, &tests, &keys));
    }
    long.sort_unstable_by(|a, b| b.cmp(a));
    if !long.is_empty() {
        eprintln!("tidy: files over {LONG} lines (is each one thing?):");
        for (lines, file) in long {
            eprintln!("  {lines:4}  {file}");
        }
    }
    for finding in &findings {
        eprintln!("tidy: {finding}");
    }
    eprintln!("tidy: {} files, {} findings", files.len(), findings.len());
    Ok(findings.is_empty())
}

fn edges(workspace: &Workspace) -> Vec<String> {
    let mut findings = Vec::new();
    for package in workspace.packages() {
        let name = package.name.as_str();
        let short = name.strip_prefix(PREFIX).unwrap_or(name);
        let Some(rule) = EDGES.iter().find(|rule| rule.package == short) else {
            findings.push(format!("{name}: not in the architecture's table (xtask/src/tidy.rs)"));
            continue;
        };
        let mut used = BTreeSet::new();
        for dependency in &package.dependencies {
            if let Some(other) = dependency.name.strip_prefix(PREFIX)
                && other != short
                && !rule.ours.contains(&other)
            {
                findings.push(format!("{name}: must not depend on {}", dependency.name));
            }
            used.insert(dependency.name.as_str());
            let in_the_product = dependency.kind != cargo_metadata::DependencyKind::Development;
            if in_the_product && rule.never.contains(&dependency.name.as_str()) {
                findings.push(format!("{name}: must not depend on {}", dependency.name));
            }
        }
        for ours in rule.ours {
            if !used.contains(format!("{PREFIX}{ours}").as_str()) {
                findings.push(format!("{name}: may depend on {ours}, and does not: take it out of the table"));
            }
        }
    }
    findings
}

fn tracked(root: &Path) -> anyhow::Result<Vec<String>> {
    let list = quiet(Command::new("git").args(["ls-files"]).current_dir(root)).context("listing the tracked files")?;
    Ok(list.lines().map(str::to_owned).collect())
}

fn crate_docs(file: &str, text: &str) -> Option<String> {
    let is_crate = file.ends_with("src/lib.rs") || file.ends_with("src/main.rs");
    (is_crate && !text.starts_with("//!"))
        .then(|| format!("{file}: opens with `//!`: what it is for, and what it never does"))
}

/// Paths and hosts that mean nothing on another machine.
fn traces(file: &str, text: &str) -> Vec<String> {
    // Written in parts, so that this file does not find itself.
    let paths = [["/", "work/"], ["/", "farm/"], ["/", "root/"], ["/tmp/", "bash_jobs"]].map(|parts| parts.concat());
    let hosts = [
        ["index.crates", ".io"],
        ["static.crates", ".io"],
        ["pypi", ".org"],
        ["files.python", "hosted.org"],
        ["registry.npm", "js.org"],
        ["deb.deb", "ian.org"],
        ["proxy.go", "lang.org"],
    ]
    .map(|parts| parts.concat());
    if file == "Cargo.lock" {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let starts_path =
            |at: usize| at == 0 || line.as_bytes().get(at - 1).is_some_and(|before| b" \"'`(=:<".contains(before));
        for path in &paths {
            if line.match_indices(path.as_str()).any(|(at, _)| starts_path(at)) {
                findings.push(format!("{file}:{}: a path of one machine ({path}…)", number + 1));
            }
        }
        for host in hosts.iter().filter(|host| line.contains(host.as_str())) {
            findings.push(format!("{file}:{}: the host of a registry ({host})", number + 1));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_this_machine_is_found_and_a_part_of_a_longer_one_is_not() {
        let machine = ["see /", "work/x"].concat();
        assert_eq!(traces("a.md", &machine).len(), 1);
        assert!(traces("a.md", "home/work/x and 4/work/shift").is_empty());
    }

    #[test]
    fn a_crate_without_its_opening_words_is_found() {
        assert!(crate_docs("crates/a/src/lib.rs", "mod b;").is_some());
        assert!(crate_docs("crates/a/src/lib.rs", "//! A.\nmod b;").is_none());
        assert!(crate_docs("crates/a/src/b.rs", "mod b;").is_none());
    }
}
