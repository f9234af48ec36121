//! `init`: a configuration file of one's own, with the keys that most people set.

use crate::cli::InitArgs;
use crate::commands::new_files::{prepare_secret, write_configuration};
use crate::exit::ExitStatus;
use std::fmt::Write as _;
use std::io::Write;
use toml_edit::Value;

/// Writes the file, once it is known that the program can read it.
///
/// # Errors
/// [`crate::exit::CommandFailure::Usage`] when the file is there or a value can't be used; the folder can't be written.
pub fn run(arguments: &InitArgs, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    let has_secret = arguments.username.is_some();
    if has_secret {
        prepare_secret(&arguments.folder.join("secrets/mqtt"))?;
    }
    let file = write_configuration(&arguments.folder, &text(arguments))?;
    writeln!(out, "written: {}", file.display())?;
    if has_secret {
        writeln!(out, "put the password of the broker into {}", arguments.folder.join("secrets/mqtt").display())?;
    }
    writeln!(out, "next:    hearthgate -c {0} check, then hearthgate -c {0} run", file.display())?;
    Ok(ExitStatus::Ok)
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
