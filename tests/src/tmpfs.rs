//! A small disk of its own, which can be full.

use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Much more than a run writes; memory is taken only for what is there.
const SIZE: &str = "size=2g";

/// A mounted tmpfs; it is unmounted with this value.
pub struct Tmpfs(PathBuf);

impl Tmpfs {
    /// Mounts one on this folder, which is made. Only root may.
    ///
    /// # Errors
    /// It can't be mounted.
    pub fn mount(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(folder).status();
        ensure!(mounted.context("running mount")?.success(), "mounting a tmpfs");
        Ok(Tmpfs(folder.to_owned()))
    }

    /// From now on nothing more can be written.
    ///
    /// # Errors
    /// It can't be made smaller.
    pub fn fill(&self) -> anyhow::Result<()> {
        let output = Command::new("df").args(["--output=used", "-k"]).arg(&self.0).output().context("running df")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let used: u64 = text.lines().nth(1).context("the second line of df")?.trim().parse()?;
        // Shrunk to what is there; somebody may write in between, then there is nothing to shrink to: a little more.
        let full = (0..8).any(|try_| self.remount(&format!("size={}k", used + 4 + (64 << try_))).is_ok());
        ensure!(full, "shrinking the tmpfs");
        Ok(())
    }

    /// There is room again.
    ///
    /// # Errors
    /// It can't be made larger.
    pub fn free(&self) -> anyhow::Result<()> {
        self.remount(SIZE)
    }

    fn remount(&self, size: &str) -> anyhow::Result<()> {
        let output = Command::new("mount").args(["-o", &format!("remount,{size}")]).arg(&self.0).output();
        ensure!(output.context("running mount")?.status.success(), "remounting the tmpfs");
        Ok(())
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: whoever still has a file open there is about to end.
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}
