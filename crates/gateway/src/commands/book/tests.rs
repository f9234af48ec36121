use super::*;
use crate::cli::CommandLine;
use crate::commands::flow::file::read_flows;
use clap::Parser;
use clap::error::ErrorKind;
use hearthgate_actors::flows::catalog;
use hearthgate_settings::{EnvironmentVariables, SettingsSources};
use std::fs;
use std::path::Path;

const README: &str = include_str!("../../../../../README.md");

/// A block of code: where it begins, its language, its text.
struct CodeBlock {
    place: String,
    language: String,
    text: String,
}

fn blocks() -> Vec<CodeBlock> {
    let mut blocks = Vec::new();
    for (name, text) in CHAPTERS.into_iter().chain([("README", README)]) {
        let mut open: Option<CodeBlock> = None;
        for (index, line) in text.lines().enumerate() {
            match (line.trim_start().strip_prefix("```"), &mut open) {
                (Some(language), None) => {
                    let place = format!("{name}.md:{}", index + 1);
                    open = Some(CodeBlock { place, language: language.trim().to_owned(), text: String::new() });
                }
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (None, Some(block)) => block.text.extend([line, "\n"]),
                (None, None) => {}
            }
        }
    }
    blocks
}

/// The words of each command that begins with `hearthgate`, as a shell makes them.
fn commands(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let line = rest.trim_start_matches([' ', '$']);
        if line.starts_with("hearthgate ") || line.starts_with("hearthgate\n") {
            let (words, after) = words(line);
            found.push(words);
            rest = after;
        } else {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
        }
    }
    found
}

/// The words up to the end of a command, without redirections, and what is behind it.
fn words(text: &str) -> (Vec<String>, &str) {
    let (mut words, mut word, mut quote, mut is_open) = (Vec::new(), String::new(), None, false);
    let mut letters = text.char_indices().peekable();
    let end = loop {
        let Some((at, letter)) = letters.next() else { break text.len() };
        match (letter, quote) {
            (letter, Some(closing)) if letter == closing => quote = None,
            (letter, Some(_)) => word.push(letter),
            // What a command prints is one word.
            ('$', None) if letters.next_if(|(_, next)| *next == '(').is_some() => {
                word.push_str("$()");
                while letters.next().is_some_and(|(_, letter)| letter != ')') {}
            }
            ('\'' | '"', None) => (quote, is_open) = (Some(letter), true),
            ('\\', None) => drop(letters.next_if(|(_, next)| *next == '\n')),
            ('\n' | '|' | ';' | '&', None) => break at,
            ('#', None) if word.is_empty() => break at,
            ('>' | '<', None) => {
                let is_space = |next: &(usize, char)| " >".contains(next.1);
                while letters.next_if(is_space).is_some() {}
                while letters.next_if(|(_, next)| !next.is_whitespace()).is_some() {}
            }
            (letter, None) if letter.is_whitespace() => {
                if is_open || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                is_open = false;
            }
            (letter, None) => word.push(letter),
        }
    };
    if is_open || !word.is_empty() {
        words.push(word);
    }
    let rest = text[end..].split_once('\n').map_or("", |(_, after)| after);
    (words, rest)
}

/// What is wrong with a block as a configuration; files that it names hold something.
fn fault_of_configuration(block: &CodeBlock) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let mut text = block.text.clone();
    for path in block.text.split('"').filter(|word| word.starts_with("secrets/")) {
        let file = folder.path().join(path);
        fs::create_dir_all(file.parent().unwrap_or(Path::new(""))).unwrap();
        fs::write(file, "0123456789abcdef0123456789abcdef").unwrap();
    }
    if text.contains("allow_anonymous = false") && !text.contains("broker.users") {
        text.push_str("[broker.users.reader]\npassword = \"$argon2id$\"\n");
    }
    let file = folder.path().join("hearthgate.toml");
    fs::write(&file, text).unwrap();
    let loaded = hearthgate_settings::load(SettingsSources {
        file: Some(file),
        environment: EnvironmentVariables::of([]),
        flags: Vec::new(),
        working_dir: folder.path().to_owned(),
    });
    loaded.err().map(|error| error.to_string())
}

fn fault_of_flows(block: &CodeBlock) -> Option<String> {
    match read_flows(&block.text) {
        Ok(flows) => flows.into_iter().find_map(|flow| catalog::compile(flow.row).err().map(|error| error.to_string())),
        Err(error) => Some(error.to_string()),
    }
}

#[test]
fn every_configuration_and_every_flow_of_the_book_can_be_used() {
    let blocks: Vec<CodeBlock> = blocks().into_iter().filter(|block| block.language == "toml").collect();
    assert!(blocks.len() >= 10, "{}", blocks.len());
    let faults = blocks.iter().filter_map(|block| {
        let is_flow = block.text.contains("[[flow]]");
        let fault = if is_flow { fault_of_flows(block) } else { fault_of_configuration(block) };
        fault.map(|fault| format!("{}: {fault}", block.place))
    });
    let faults: Vec<String> = faults.collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn every_command_of_the_book_is_one() {
    let (mut faults, mut count) = (Vec::new(), 0);
    for block in blocks().iter().filter(|block| ["", "sh", "console"].contains(&block.language.as_str())) {
        for words in commands(&block.text) {
            count += 1;
            match CommandLine::try_parse_from(&words) {
                Err(error) if !matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
                    faults.push(format!("{}: {words:?}: {error}", block.place));
                }
                Ok(_) | Err(_) => {}
            }
        }
    }
    assert!(count >= 30, "{count}");
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_command_is_cut_into_words_as_a_shell_does() {
    let text = "hearthgate backup x-$(date +%F).tar\n$ hearthgate flow add A --schema '{\"t\":\n \"float\"}' \\\n  --topic \"a b\" > x.toml  # why\nout\nhearthgate status | jq\n";
    let expected: [&[&str]; 3] = [
        &["hearthgate", "backup", "x-$().tar"],
        &["hearthgate", "flow", "add", "A", "--schema", "{\"t\":\n \"float\"}", "--topic", "a b"],
        &["hearthgate", "status"],
    ];
    assert_eq!(commands(text), expected);
}

#[test]
fn every_chapter_of_the_table_of_contents_is_there_and_has_a_title() {
    let contents = include_str!("../../../../../docs/README.md");
    let users = contents.split("## For developers").next().unwrap();
    for link in users.split("](").skip(1).filter_map(|rest| rest.split(".md)").next()) {
        assert!(CHAPTERS.iter().any(|(name, _)| *name == link), "{link}");
    }
    assert!(CHAPTERS.iter().all(|(_, text)| !title(text).is_empty()));
}

#[test]
fn a_misspelt_chapter_is_named_with_the_right_one() {
    let mut out = Vec::new();
    run(Some("flows"), &mut out).unwrap();
    assert!(out.starts_with(b"# "));
    let error = run(Some("flow"), &mut out).unwrap_err().to_string();
    assert!(error.contains("did you mean flows?"), "{error}");
}
