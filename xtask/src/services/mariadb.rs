//! MariaDB with its defaults for durability; `root` without a password, on loopback only.

use super::is_root;
use super::running::{Service, free_port, give_to};
use crate::command::{find, quiet};
use anyhow::Context;
use std::fs;
use std::path::Path;
use std::process::Command;

const USER: &str = "mysql";

fn service(folder: &Path) -> Service<'_> {
    Service { folder, process: "mariadbd" }
}

/// Starts it, and tells the administrator's URL.
pub(super) fn up(folder: &Path) -> anyhow::Result<String> {
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    let service = service(folder);
    let port = match service.port() {
        Some(port) => port,
        None => {
            let data = folder.join("data");
            if !data.join("mysql").is_dir() {
                initialise(folder, &data)?;
            }
            let port = free_port()?;
            let program = find("mariadbd").context("mariadbd is not installed")?;
            // The paths of sockets are short; this folder's may not be.
            let socket = std::env::temp_dir().join(format!("hearthgate-{port}.sock"));
            let mut command = Command::new(program);
            command
                .arg("--no-defaults")
                .arg(format!("--datadir={}", data.display()))
                .arg(format!("--port={port}"))
                .arg("--bind-address=127.0.0.1")
                .arg(format!("--socket={}", socket.display()))
                .args(["--skip-log-bin", "--max-connections=500"]);
            if is_root() {
                command.arg(format!("--user={USER}"));
            }
            service.start(&mut command, port)?;
            port
        }
    };
    Ok(format!("mysql://root@127.0.0.1:{port}/mysql"))
}

fn initialise(folder: &Path, data: &Path) -> anyhow::Result<()> {
    let program = find("mariadb-install-db").context("mariadb-install-db is not installed")?;
    let mut command = Command::new(program);
    command
        .arg("--no-defaults")
        .arg(format!("--datadir={}", data.display()))
        .args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
    if is_root() {
        give_to(USER, folder)?;
        command.arg(format!("--user={USER}"));
    }
    quiet(&mut command)?;
    Ok(())
}

pub(super) fn down(folder: &Path) -> anyhow::Result<()> {
    service(folder).stop("TERM")
}
