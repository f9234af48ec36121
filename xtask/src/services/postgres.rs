//! PostgreSQL with its defaults for durability; the superuser `gw`, on loopback only.

use super::is_root;
use super::running::{Service, free_port, give_to};
use crate::command::quiet;
use anyhow::Context;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const SYSTEM_USER: &str = "postgres";
const USER: &str = "gw";
/// Protects nothing: the data is a test's, and the port is on loopback.
const PASSWORD: &str = "gw";

/// The folder of the newest version's programs; Debian does not put them into PATH.
pub(super) fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    versions
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            let folder = entry.path().join("bin");
            folder.join("initdb").is_file().then_some((version, folder))
        })
        .max()
        .map(|(_, folder)| folder)
}

fn service(folder: &Path) -> Service<'_> {
    Service { folder, process: "postgres" }
}

/// Starts it, and tells the administrator's URL.
pub(super) fn up(folder: &Path) -> anyhow::Result<String> {
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    let service = service(folder);
    let port = match service.port() {
        Some(port) => port,
        None => {
            let programs = programs().context("postgresql is not installed")?;
            let data = folder.join("data");
            if !data.join("PG_VERSION").is_file() {
                initialise(&programs, folder, &data)?;
            }
            let port = free_port()?;
            let options =
                format!("-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=300");
            let log = service.log_file();
            let mut command = as_owner(&programs.join("pg_ctl"));
            command.arg("-D").arg(&data).arg("-l").arg(&log).args(["-w", "-t", "90", "-o", &options, "start"]);
            quiet(&mut command).with_context(|| format!("its log ends:\n{}", service.log_tail()))?;
            fs::copy(data.join("postmaster.pid"), service.pid_file()).context("reading its process id")?;
            service.remember_port(port)?;
            port
        }
    };
    Ok(format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{port}/postgres"))
}

fn initialise(programs: &Path, folder: &Path, data: &Path) -> anyhow::Result<()> {
    let password = folder.join("password");
    fs::write(&password, PASSWORD).context("writing the password's file")?;
    if is_root() {
        give_to(SYSTEM_USER, folder)?;
    }
    let mut command = as_owner(&programs.join("initdb"));
    command
        .arg("-D")
        .arg(data)
        .args(["-A", "scram-sha-256", "-U", USER, "-E", "UTF8", "--locale=C.UTF-8"])
        .arg(format!("--pwfile={}", password.display()));
    quiet(&mut command)?;
    Ok(())
}

/// PostgreSQL refuses to run as root.
fn as_owner(program: &Path) -> Command {
    let mut command;
    if is_root() {
        command = Command::new("runuser");
        command.args(["-u", SYSTEM_USER, "--"]).arg(program);
    } else {
        command = Command::new(program);
    }
    // A folder that its user may enter.
    command.current_dir("/");
    command
}

pub(super) fn down(folder: &Path) -> anyhow::Result<()> {
    // Fast: does not wait for clients to leave.
    service(folder).stop("INT")
}
