//! Installs the Debian packages that are missing.

use super::{is_root, postgres};
use crate::command::{find, quiet};
use anyhow::{Context, bail};
use std::path::Path;
use std::process::Command;

/// While packages are installed, keeps them from starting their own services on the usual ports.
const POLICY: &str = "/usr/sbin/policy-rc.d";

pub(super) fn missing() -> anyhow::Result<()> {
    let present = |program: &str| find(program).is_some();
    let wanted = [
        (present("mosquitto"), "mosquitto"),
        (present("mosquitto_pub"), "mosquitto-clients"),
        (present("mariadbd") && present("mariadb-install-db"), "mariadb-server"),
        (present("mariadb"), "mariadb-client"),
        (postgres::programs().is_some(), "postgresql"),
        (present("python3"), "python3"),
        (present("chromium"), "chromium"),
        (present("chromedriver"), "chromium-driver"),
        (present("nginx"), "nginx-light"),
        (present("promtool"), "prometheus"),
    ];
    let packages: Vec<&str> = wanted.iter().filter(|(present, _)| !present).map(|(_, package)| *package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    let command = format!("apt-get update && apt-get install -y --no-install-recommends {}", packages.join(" "));
    if find("apt-get").is_none() {
        bail!("missing: {}; install them (this is not Debian, so by hand)", packages.join(", "));
    }
    if !is_root() {
        bail!("missing: {}; as root: {command}", packages.join(", "));
    }
    eprintln!("xtask: installing {}", packages.join(", "));
    let _policy = no_services()?;
    quiet(Command::new("apt-get").arg("update")).context("updating the package lists")?;
    quiet(
        Command::new("apt-get")
            .args(["install", "-y", "--no-install-recommends"])
            .args(&packages)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
    .with_context(|| format!("installing {}", packages.join(", ")))?;
    Ok(())
}

/// Removes the policy again when it is dropped.
struct Policy {
    written: bool,
}

impl Drop for Policy {
    fn drop(&mut self) {
        if self.written
            && let Err(error) = std::fs::remove_file(POLICY)
        {
            eprintln!("xtask: {POLICY} can't be removed: {error}");
        }
    }
}

fn no_services() -> anyhow::Result<Policy> {
    if Path::new(POLICY).exists() {
        return Ok(Policy { written: false });
    }
    std::fs::write(POLICY, "#!/bin/sh\nexit 101\n").with_context(|| format!("writing {POLICY}"))?;
    let policy = Policy { written: true };
    quiet(Command::new("chmod").args(["+x", POLICY]))?;
    Ok(policy)
}
