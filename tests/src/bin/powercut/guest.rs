//! The virtual machine: a kernel of Debian's, a system that is no more than the gateway, and a disk that outlives it.

use anyhow::{Context, bail, ensure};
use hearthgate_tests::gateway::binary;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Size of the disk, in bytes.
const DISK: u64 = 1 << 30;
/// A connection to this port of the machine shuts it down in order.
const SHUTDOWN_PORT: u16 = 9_999;
/// An orderly end of the machine takes no longer.
const SHUTDOWN: Duration = Duration::from_secs(120);
/// In the order in which they need each other.
const MODULES: [&str; 9] = [
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "virtio_blk",
    "failover",
    "net_failover",
    "virtio_net",
];
/// The broker takes clients without a name on the machine's own addresses alone; a relay stands before it.
const CONFIGURATION: &str = "[broker]\nlisten = \"127.0.0.1:1884\"\n[http]\nenabled = false\n";

/// What a machine boots from, and its disk.
pub(crate) struct GuestImage {
    folder: TempDir,
    kernel: PathBuf,
}

impl GuestImage {
    /// Makes a fresh one. In a control nothing that the gateway syncs is synced.
    pub(crate) fn make(is_control: bool) -> anyhow::Result<Self> {
        let folder = TempDir::new().context("a temporary folder")?;
        let package = folder.path().join("kernel");
        unpack(folder.path(), &kernel_package()?, &package)?;
        let kernel = only_file(&package.join("boot"), "vmlinuz-")?;
        let root = folder.path().join("root");
        fill_root(&root, &package)?;
        let preload = match is_control {
            true => add_control(folder.path(), &root)?,
            false => String::new(),
        };
        fs::write(root.join("init"), init(&preload))?;
        run(Command::new("chmod").arg("755").arg(root.join("init")))?;
        let archive = format!("cd {} && find . | cpio --quiet -o -H newc > ../initrd", root.display());
        run(Command::new("sh").arg("-c").arg(archive))?;
        let disk = folder.path().join("disk");
        fs::File::create(&disk)?.set_len(DISK)?;
        run(Command::new("mkfs.ext4").arg("-q").arg(&disk))?;
        Ok(GuestImage { folder, kernel })
    }

    /// What the machine has said since it booted last.
    pub(crate) fn console(&self) -> String {
        fs::read_to_string(self.folder.path().join("console")).unwrap_or_default()
    }

    /// Takes a file off the disk of a machine that was shut down.
    pub(crate) fn take_file(&self, path: &str) -> anyhow::Result<PathBuf> {
        let taken = self.folder.path().join("taken");
        let order = format!("dump /{path} {}", taken.display());
        run(Command::new("debugfs").stderr(Stdio::null()).args(["-R", &order]).arg(self.folder.path().join("disk")))?;
        ensure!(taken.exists(), "the disk holds no {path}");
        Ok(taken)
    }
}

/// The name of the package with the newest kernel for virtual machines.
fn kernel_package() -> anyhow::Result<String> {
    let depends = output(Command::new("apt-cache").args(["depends", "linux-image-cloud-amd64"]))?;
    let name = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: linux-image-"));
    name.map(|name| format!("linux-image-{name}")).context("apt knows no kernel: `apt-get update` first")
}

/// Unpacks a Debian package without installing it.
fn unpack(work: &Path, package: &str, to: &Path) -> anyhow::Result<()> {
    run(Command::new("apt-get").args(["download", "-q", package]).current_dir(work).stdout(Stdio::null()))?;
    run(Command::new("dpkg").arg("-x").arg(only_file(work, &format!("{package}_"))?).arg(to))
}

/// The programs, libraries and modules that the machine needs.
fn fill_root(root: &Path, package: &Path) -> anyhow::Result<()> {
    for folder in ["bin", "dev", "proc", "sys", "state", "modules"] {
        fs::create_dir_all(root.join(folder))?;
    }
    for module in MODULES {
        let found = output(Command::new("find").arg(package).args(["-name", &format!("{module}.ko")]))?;
        let path = found.lines().next().with_context(|| format!("the kernel has no module {module}"))?;
        fs::copy(path, root.join("modules").join(format!("{module}.ko")))?;
    }
    let busybox =
        output(Command::new("which").arg("busybox")).context("busybox is missing: apt-get install busybox-static")?;
    fs::copy(busybox.trim(), root.join("bin/busybox"))?;
    let gateway = root.join("bin/hearthgate");
    fs::copy(binary(), &gateway)?;
    run(Command::new("strip").arg(&gateway))?;
    for library in output(Command::new("ldd").arg(&gateway))?.split_whitespace().filter(|word| word.starts_with('/')) {
        let to = root.join(&library[1..]);
        fs::create_dir_all(to.parent().context("a file in a folder")?)?;
        fs::copy(library, to).with_context(|| format!("copying {library}"))?;
    }
    fs::write(root.join("hearthgate.toml"), CONFIGURATION)?;
    Ok(())
}

/// A library in whose programs a sync does nothing.
fn add_control(work: &Path, root: &Path) -> anyhow::Result<String> {
    let package = work.join("control");
    unpack(work, "libeatmydata1", &package)?;
    let found = output(Command::new("find").arg(&package).args(["-name", "libeatmydata.so*", "-type", "f"]))?;
    fs::copy(found.lines().next().context("a library in the package")?, root.join("libeatmydata.so"))?;
    Ok("LD_PRELOAD=/libeatmydata.so ".to_owned())
}

fn init(preload: &str) -> String {
    let modules = MODULES.map(|module| format!("insmod /modules/{module}.ko\n")).concat();
    format!(
        "#!/bin/busybox sh\nexport PATH=/bin\n/bin/busybox --install -s /bin\n\
         mount -t devtmpfs dev /dev\nmount -t proc proc /proc\nmount -t sysfs sys /sys\n{modules}\
         mount -t ext4 /dev/vda /state\nip link set lo up\nip addr add 10.0.2.15/24 dev eth0\nip link set eth0 up\ncd /state\n\
         nc -ll -p 1883 -e /bin/nc 127.0.0.1 1884 &\nrelay=$!\n\
         cp /hearthgate.toml /state\n{preload}hearthgate run --config /state/hearthgate.toml &\ngateway=$!\n\
         (nc -l -p {SHUTDOWN_PORT} > /dev/null; kill -TERM $gateway) &\nwait $gateway\nkill $relay\ncd /\nsleep 1\numount /state\nsync\npoweroff -f\n"
    )
}

/// A running machine.
pub(crate) struct Guest {
    machine: Child,
    shutdown_port: u16,
}

impl Guest {
    /// Boots; the broker will be at this port of 127.0.0.1.
    pub(crate) fn boot(image: &GuestImage, port: u16) -> anyhow::Result<Self> {
        let shutdown_port = hearthgate_tests::free_port();
        let folder = image.folder.path();
        let ports = format!(
            "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:1883,hostfwd=tcp:127.0.0.1:{shutdown_port}-:{SHUTDOWN_PORT}"
        );
        // Emulated, since a machine in a machine is slow, or not to be had.
        let machine = Command::new("qemu-system-x86_64")
            .args(["-accel", "tcg,thread=multi", "-machine", "pc", "-m", "512", "-no-reboot", "-display", "none"])
            .args(["-monitor", "none", "-nodefaults", "-netdev", &ports])
            .args(["-device", "virtio-net-pci,netdev=net,romfile="])
            .arg("-serial")
            .arg(format!("file:{}", folder.join("console").display()))
            .arg("-drive")
            .arg(format!("file={},format=raw,if=virtio,cache=writeback", folder.join("disk").display()))
            .arg("-kernel")
            .arg(&image.kernel)
            .arg("-initrd")
            .arg(folder.join("initrd"))
            .args(["-append", "console=ttyS0 quiet panic=-1 rdinit=/init"])
            .stdin(Stdio::null())
            .spawn()
            .context("qemu-system-x86_64 is missing: apt-get install qemu-system-x86")?;
        Ok(Guest { machine, shutdown_port })
    }

    /// The power goes.
    pub(crate) fn kill(mut self) {
        drop(self.machine.kill());
        drop(self.machine.wait());
    }

    /// Stops the gateway and the machine in order.
    pub(crate) async fn shut_down(mut self) -> anyhow::Result<()> {
        drop(TcpStream::connect(("127.0.0.1", self.shutdown_port)).context("asking the machine to shut down")?);
        let since = Instant::now();
        while self.machine.try_wait()?.is_none() {
            if since.elapsed() > SHUTDOWN {
                bail!("the machine does not shut down");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        drop(self.machine.kill());
        drop(self.machine.wait());
    }
}

fn only_file(folder: &Path, beginning: &str) -> anyhow::Result<PathBuf> {
    let files = fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))?;
    let mut names = files.filter_map(Result::ok).map(|entry| entry.path());
    let is_it = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(beginning));
    names.find(is_it).with_context(|| format!("{} holds no {beginning}…", folder.display()))
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("running {command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stderr(Stdio::null()).output().with_context(|| format!("running {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
