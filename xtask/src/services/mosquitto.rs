//! Mosquitto, without limits on what is under way, so that tests meet ours and not its own.

use super::is_root;
use super::running::{Service, free_port};
use crate::command::find;
use anyhow::Context;
use std::fs;
use std::path::Path;
use std::process::Command;

pub(super) struct Mosquitto {
    pub(super) address: String,
    pub(super) program: String,
}

fn service(folder: &Path) -> Service<'_> {
    Service { folder, process: "mosquitto" }
}

pub(super) fn up(folder: &Path) -> anyhow::Result<Mosquitto> {
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    let program = find("mosquitto").context("mosquitto is not installed")?;
    let service = service(folder);
    let port = match service.port() {
        Some(port) => port,
        None => {
            let port = free_port()?;
            // As root it would change to a user of its own, who can't read our folder.
            let user = if is_root() { "user root\n" } else { "" };
            let text = format!(
                "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nmax_inflight_messages 0\n\
                 max_queued_messages 0\n{user}"
            );
            let file = folder.join("mosquitto.conf");
            fs::write(&file, text).context("writing its configuration")?;
            service.start(Command::new(&program).arg("-c").arg(&file), port)?;
            port
        }
    };
    Ok(Mosquitto { address: format!("127.0.0.1:{port}"), program: program.display().to_string() })
}

pub(super) fn down(folder: &Path) -> anyhow::Result<()> {
    service(folder).stop("TERM")
}
