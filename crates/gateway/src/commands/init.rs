//! `init`: a configuration file of one's own, with the keys that most people set.

use crate::cli::InitArgs;
use crate::exit::{CommandFailure, ExitStatus};
use anyhow::Context;
use hearthgate_settings::{EnvironmentVariables, SettingsSources};
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use toml_edit::Value;

const NAME: &str = "hearthgate.toml";

/// Writes the file, once it is known that the program can read it.
///
/// # Errors
/// [`CommandFailure::Usage`] when the file is there or a value can't be used; the folder can't be written.
pub fn run(arguments: &InitArgs, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    let file = arguments.folder.join(NAME);
    fs::create_dir_all(&arguments.folder).with_context(|| format!("making {}", arguments.folder.display()))?;
    let has_secret = arguments.username.is_some();
    if has_secret {
        let secrets = arguments.folder.join("secrets");
        fs::create_dir_all(&secrets).with_context(|| format!("making {}", secrets.display()))?;
        // Empty; the person puts the password there. One that is there is left alone.
        match create(&secrets.join("mqtt")) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("writing into {}", secrets.display()));
            }
            Ok(_) | Err(_) => {}
        }
    }
    let mut written = match create(&file) {
        Ok(written) => written,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let problem = format!("{} is there already, and is left as it is; edit it, or remove it", file.display());
            return Err(CommandFailure::Usage(problem).into());
        }
        Err(error) => return Err(error).with_context(|| format!("writing {}", file.display())),
    };
    written.write_all(text(arguments).as_bytes()).with_context(|| format!("writing {}", file.display()))?;
    let read = hearthgate_settings::load(SettingsSources {
        file: Some(file.clone()),
        environment: EnvironmentVariables::of_process(),
        flags: Vec::new(),
        working_dir: std::env::current_dir().context("finding the working directory")?,
    });
    if let Err(problem) = read {
        fs::remove_file(&file).with_context(|| format!("removing {}", file.display()))?;
        return Err(problem.into());
    }
    writeln!(out, "written: {}", file.display())?;
    if has_secret {
        writeln!(out, "put the password of the broker into {}", arguments.folder.join("secrets/mqtt").display())?;
    }
    writeln!(out, "next:    hearthgate -c {0} check, then hearthgate -c {0} run", file.display())?;
    Ok(ExitStatus::Ok)
}

/// A new file that only its owner can read: passwords end up in it.
fn create(path: &Path) -> std::io::Result<fs::File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn text(arguments: &InitArgs) -> String {
    let InitArgs { server, username, database, name, .. } = arguments;
    let value = |text: &str| Value::from(text).to_string();
    let mut text = format!(
        "# Only what differs from the defaults; `hearthgate config default` prints and explains every key.\n\
         # Relative paths start at the folder of this file. Try changes with `hearthgate check`.\n\n\
         [gateway]\n# Part of the client id at the broker and of the status topics: one name for each gateway.\n\
         name = {}\n\n",
        value(name)
    );
    // Writing to a String does not fail.
    let _ = write!(
        text,
        "[mqtt]\n# embedded, mqtt://HOST, mqtts://HOST, ws://HOST/PATH or wss://HOST/PATH\nserver = {}\n",
        value(server)
    );
    match username {
        Some(username) => {
            let _ = write!(text, "username = {}\npassword_file = \"secrets/mqtt\"\n\n", value(username));
        }
        None => text += "# username = \"gateway\"\n# password_file = \"secrets/mqtt\"\n\n",
    }
    if server == "embedded" {
        text += "[broker]\n# For devices of the network, say \"0.0.0.0:1883\", set allow_anonymous = false, and add users with\n\
                 # `hearthgate broker passwd NAME >> hearthgate.toml`.\nlisten = \"127.0.0.1:1883\"\n\n";
    }
    let _ = write!(
        text,
        "[database]\n# sqlite:PATH, mysql://USER@HOST/NAME or postgres://USER@HOST/NAME\nurl = {}\n\
         # password_file = \"secrets/database\"\n\n",
        value(database)
    );
    text += "# A device interface; `hearthgate interface new NAME` writes one to start from.\n\
             # [interfaces.radio]\n# kind = \"exec\"\n# map = \"maps/radio.json\"\n# command = [\"python3\", \"radio.py\"]\n";
    text
}
