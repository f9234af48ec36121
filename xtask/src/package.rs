//! `cargo xtask package`: a Debian package, an archive, and the folder of the Home Assistant app, under `target/package`.
//!
//! Needs `dpkg-deb`, `tar`, `gzip` and `sha256sum`, and no network.

use crate::command::{cargo, passes, quiet};
use crate::workspace::Workspace;
use anyhow::{Context, bail};
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

const PROFILE: &str = "dist";
const MAINTAINER: &str = "Hearthgate developers <hearthgate@localhost>";

/// Builds the program, or takes the one given, and packs it. Answers `false` when it does not build.
pub(crate) fn run(workspace: &Workspace, binary: Option<PathBuf>) -> anyhow::Result<bool> {
    let root = workspace.root();
    let binary = match binary {
        Some(binary) => binary,
        None => {
            let mut build = cargo(root);
            build.args(["build", "--profile", PROFILE, "--locked", "--workspace", "--bin", "hearthgate"]);
            if !passes(&mut build)? {
                return Ok(false);
            }
            workspace.target().join(PROFILE).join("hearthgate")
        }
    };
    let out = workspace.target().join("package");
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| format!("removing {}", out.display()))?;
    }
    fs::create_dir_all(&out)?;
    let version = version_of(&binary)?;
    let architecture = quiet(Command::new("dpkg").arg("--print-architecture"))?.trim().to_owned();
    let tree = out.join("tree");
    stage(root, &binary, &tree)?;
    archive(&tree, &out, &format!("hearthgate-{version}-{architecture}"))?;
    debian(root, &tree, &out, &version, &architecture)?;
    home_assistant(root, &binary, &out.join("homeassistant"), &version)?;
    fs::remove_dir_all(&tree)?;
    checksums(&out)?;
    Ok(true)
}

/// The program's own word, so that a package never bears another version than what is in it.
fn version_of(binary: &Path) -> anyhow::Result<String> {
    let text = quiet(Command::new(binary).arg("--version"))?;
    text.split_whitespace().nth(1).map(str::to_owned).with_context(|| format!("no version in {text:?}"))
}

/// The files as they are on the machine.
fn stage(root: &Path, binary: &Path, tree: &Path) -> anyhow::Result<()> {
    put(binary, &tree.join("usr/bin/hearthgate"), 0o755)?;
    let files = [
        ("packaging/hearthgate.service", "usr/lib/systemd/system/hearthgate.service"),
        ("packaging/debian/hearthgate.toml", "etc/hearthgate/hearthgate.toml"),
        ("config/hearthgate.default.toml", "usr/share/doc/hearthgate/hearthgate.default.toml"),
        ("LICENSE", "usr/share/doc/hearthgate/copyright"),
        ("CHANGELOG.md", "usr/share/doc/hearthgate/CHANGELOG.md"),
        ("README.md", "usr/share/doc/hearthgate/README.md"),
    ];
    for (from, to) in files {
        put(&root.join(from), &tree.join(to), 0o644)?;
    }
    for (from, to) in [
        ("docs", "docs"),
        ("config/examples", "examples"),
        ("config/maps", "examples/maps"),
        ("config/grafana", "examples/grafana"),
        ("config/prometheus", "examples/prometheus"),
    ] {
        copy_folder(&root.join(from), &tree.join("usr/share/doc/hearthgate").join(to))?;
    }
    folder(&tree.join("etc/hearthgate/secrets"))?;
    let completions = [
        ("bash", "usr/share/bash-completion/completions/hearthgate"),
        ("zsh", "usr/share/zsh/vendor-completions/_hearthgate"),
        ("fish", "usr/share/fish/vendor_completions.d/hearthgate.fish"),
    ];
    for (shell, to) in completions {
        write(&tree.join(to), &quiet(Command::new(binary).args(["completions", shell]))?)?;
    }
    let manual = tree.join("usr/share/man/man1");
    folder(&manual)?;
    quiet(Command::new(binary).arg("man").arg(&manual))?;
    for page in fs::read_dir(&manual)? {
        let page = page?.path();
        fs::set_permissions(&page, fs::Permissions::from_mode(0o644))?;
        quiet(Command::new("gzip").args(["--no-name", "-9"]).arg(page))?;
    }
    Ok(())
}

fn debian(root: &Path, tree: &Path, out: &Path, version: &str, architecture: &str) -> anyhow::Result<()> {
    let control = tree.join("DEBIAN");
    let kib = size(tree)?.div_ceil(1024);
    let libc = libc_version(&tree.join("usr/bin/hearthgate"))?;
    write(
        &control.join("control"),
        &format!(
            "Package: hearthgate\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: {MAINTAINER}\n\
             Installed-Size: {kib}\nDepends: libc6 (>= {libc}), libgcc-s1, adduser, ca-certificates\nSection: net\n\
             Priority: optional\nDescription: unified MQTT gateway\n Device interfaces, flows to SQL databases and HTTP \
             endpoints, and an embedded\n MQTT broker in one program that loses nothing.\n"
        ),
    )?;
    write(&control.join("conffiles"), "/etc/hearthgate/hearthgate.toml\n")?;
    for script in ["postinst", "prerm", "postrm"] {
        put(&root.join("packaging/debian").join(script), &control.join(script), 0o755)?;
    }
    let package = out.join(format!("hearthgate_{version}_{architecture}.deb"));
    quiet(Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).arg(tree).arg(&package))?;
    eprintln!("{}", package.display());
    Ok(())
}

/// The newest symbol version of the C library that the program wants; it stands in it as text.
fn libc_version(binary: &Path) -> anyhow::Result<String> {
    const MARK: &[u8] = b"GLIBC_2.";
    let bytes = fs::read(binary).with_context(|| format!("reading {}", binary.display()))?;
    let minor = bytes.windows(MARK.len()).enumerate().filter(|(_, window)| *window == MARK).filter_map(|(at, _)| {
        let digits = bytes[at + MARK.len()..].iter().take(3).take_while(|byte| byte.is_ascii_digit());
        digits.map(|byte| char::from(*byte)).collect::<String>().parse::<u32>().ok()
    });
    let Some(minor) = minor.max() else { bail!("{} names no version of the C library", binary.display()) };
    // Relocations in their compact form need 2.36, see crates/gateway/build.rs.
    Ok(format!("2.{}", minor.max(36)))
}

fn archive(tree: &Path, out: &Path, name: &str) -> anyhow::Result<()> {
    let file = out.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.args(["--create", "--gzip", "--owner=0", "--group=0", "--numeric-owner", "--sort=name"]);
    tar.arg(format!("--transform=s,^\\.,{name},")).arg("--file").arg(&file).arg("--directory").arg(tree).arg(".");
    quiet(&mut tar)?;
    eprintln!("{}", file.display());
    Ok(())
}

fn home_assistant(root: &Path, binary: &Path, out: &Path, version: &str) -> anyhow::Result<()> {
    copy_folder(&root.join("packaging/homeassistant"), out)?;
    let app = out.join("hearthgate");
    let config = app.join("config.yaml");
    let text = fs::read_to_string(&config)?.replace("@VERSION@", version);
    write(&config, &text)?;
    put(binary, &app.join("hearthgate"), 0o755)?;
    eprintln!("{}", app.display());
    Ok(())
}

fn checksums(out: &Path) -> anyhow::Result<()> {
    let mut names = Vec::new();
    for item in fs::read_dir(out)? {
        let item = item?;
        if item.file_type()?.is_file() {
            names.push(item.file_name());
        }
    }
    names.sort();
    let text = quiet(Command::new("sha256sum").args(names).current_dir(out))?;
    write(&out.join("SHA256SUMS"), &text)
}

fn folder(path: &Path) -> anyhow::Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.with_context(|| format!("making {}", path.display()))
}

fn put(from: &Path, to: &Path, mode: u32) -> anyhow::Result<()> {
    folder(to.parent().context("a file in a folder")?)?;
    fs::copy(from, to).with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).with_context(|| format!("setting {}", to.display()))
}

fn write(to: &Path, text: &str) -> anyhow::Result<()> {
    folder(to.parent().context("a file in a folder")?)?;
    fs::write(to, text).with_context(|| format!("writing {}", to.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o644)).with_context(|| format!("setting {}", to.display()))
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    folder(to)?;
    for item in fs::read_dir(from).with_context(|| format!("listing {}", from.display()))? {
        let item = item?;
        let target = to.join(item.file_name());
        if item.file_type()?.is_dir() {
            copy_folder(&item.path(), &target)?
        } else {
            put(&item.path(), &target, 0o644)?
        }
    }
    Ok(())
}

fn size(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for item in fs::read_dir(folder)? {
        let item = item?;
        bytes += if item.file_type()?.is_dir() { size(&item.path())? } else { item.metadata()?.len() };
    }
    Ok(bytes)
}
