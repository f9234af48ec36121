//! `broker passwd`: a user's section with the hash of a password that is never shown.

use crate::exit::{CommandFailure, ExitStatus};
use anyhow::Context;
use argon2::Argon2;
use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::PasswordHash;
use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::fd::AsFd;

/// Asks for a password, and prints the section that goes into the configuration.
///
/// # Errors
/// The password is empty or was not repeated; reading or writing fails.
pub fn run(name: &str, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(CommandFailure::Usage("a user's name is a text without control characters".into()).into());
    }
    let password = ask(name)?;
    let hash: PasswordHash =
        Argon2::default().hash_password(password.as_bytes()).map_err(|error| anyhow::anyhow!("hashing: {error}"))?;
    let section = toml_edit::Key::new(name).to_string();
    writeln!(out, "[broker.users.{section}]\npassword = \"{hash}\"")?;
    Ok(ExitStatus::Ok)
}

fn ask(name: &str) -> anyhow::Result<String> {
    let input = io::stdin();
    let password = if input.is_terminal() {
        let first = without_echo(&input, &format!("Password of {name}: "))?;
        if without_echo(&input, "Once more: ")? != first {
            return Err(CommandFailure::Usage("the two differ; nothing was printed".into()).into());
        }
        first
    } else {
        line(&input)?
    };
    if password.is_empty() {
        return Err(CommandFailure::Usage("an empty password protects nothing".into()).into());
    }
    Ok(password)
}

fn line(input: &io::Stdin) -> anyhow::Result<String> {
    let mut line = String::new();
    input.lock().read_line(&mut line).context("reading the password")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Puts the terminal back as it was, also after an error.
struct Echo<'a> {
    terminal: &'a io::Stdin,
    before: Termios,
}

impl Drop for Echo<'_> {
    fn drop(&mut self) {
        if let Err(error) = termios::tcsetattr(self.terminal.as_fd(), OptionalActions::Now, &self.before) {
            eprintln!("hearthgate: the terminal's echo can't be switched on again: {error}");
        }
        eprintln!();
    }
}

fn without_echo(input: &io::Stdin, prompt: &str) -> anyhow::Result<String> {
    eprint!("{prompt}");
    let before = termios::tcgetattr(input.as_fd()).context("asking the terminal for its mode")?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    let _echo = Echo { terminal: input, before };
    termios::tcsetattr(input.as_fd(), OptionalActions::Now, &silent).context("switching the terminal's echo off")?;
    line(input)
}
