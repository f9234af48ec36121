//! What the kernel tells of a process.

use anyhow::Context;

/// A process that is measured.
#[derive(Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    /// Processor time so far, in seconds; the kernel counts it in hundredths.
    pub(crate) fn cpu_seconds(self) -> anyhow::Result<f64> {
        let stat = self.read("stat")?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).context("/proc/PID/stat");
        Ok((ticks(11)? + ticks(12)?) as f64 / 100.0)
    }

    /// The most it ever had in memory, in MB (a million bytes).
    pub(crate) fn peak_mb(self) -> anyhow::Result<f64> {
        self.kib("VmHWM:")
    }

    /// What it has in memory, in MB.
    pub(crate) fn resident_mb(self) -> anyhow::Result<f64> {
        self.kib("VmRSS:")
    }

    /// How often its threads have gone to sleep and were woken up again.
    pub(crate) fn wake_ups(self) -> anyhow::Result<u64> {
        let mut count = 0;
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.0))? {
            let status = std::fs::read_to_string(thread?.path().join("status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            count += line.context("voluntary_ctxt_switches")?.trim().parse::<u64>()?;
        }
        Ok(count)
    }

    fn kib(self, name: &str) -> anyhow::Result<f64> {
        let status = self.read("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| name.to_owned())?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0 / 1e6)
    }

    fn read(self, what: &str) -> anyhow::Result<String> {
        let path = format!("/proc/{}/{what}", self.0);
        std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))
    }
}
