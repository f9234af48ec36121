//! Who was heard and who is silent, in a file that outlives the process.

use hearthgate_domain::delivery::UnixMicros;
use hearthgate_files::replace_file;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use tracing::warn;

/// See the module.
#[derive(Debug)]
pub(super) struct SilenceFile {
    path: PathBuf,
    pub(super) kept: KeptSilence,
}

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeptSilence {
    /// Topics on which the broker may keep a state of ours.
    pub(super) topics: BTreeSet<String>,
    /// By number.
    pub(super) flows: BTreeMap<i64, KeptFlow>,
}

/// Of one flow: its devices, each with the time since which it is silent, if it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeptFlow {
    /// Another flow may have got the number.
    pub(super) code: String,
    pub(super) devices: BTreeMap<Box<str>, Option<UnixMicros>>,
}

impl SilenceFile {
    /// Reads the file. What can't be read is told and begun anew.
    pub(super) fn open(path: &Path) -> Self {
        let kept = match std::fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| error.to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(KeptSilence::default()),
            Err(error) => Err(error.to_string()),
        };
        let kept = kept.unwrap_or_else(|reason| {
            warn!(%reason, path = %path.display(), "which devices were silent is not known any more");
            KeptSilence::default()
        });
        SilenceFile { path: path.to_owned(), kept }
    }

    /// Writes it. There is none where nothing was ever kept.
    pub(super) fn store(&self) {
        if self.kept == KeptSilence::default() && !self.path.exists() {
            return;
        }
        let written = serde_json::to_vec(&self.kept).map_err(io::Error::from);
        if let Err(reason) = written.and_then(|text| replace_file(&self.path, &text)) {
            warn!(%reason, path = %self.path.display(), "which devices are silent could not be kept for a restart");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_there_after_a_restart_and_damage_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("silence.json");
        let mut file = SilenceFile::open(&path);
        file.store();
        assert!(!path.exists(), "nothing to keep");
        let devices = BTreeMap::from([("a".into(), None), ("b\u{1f}c".into(), Some(7))]);
        file.kept.flows.insert(3, KeptFlow { code: "F".into(), devices });
        file.kept.topics.insert("t".into());
        file.store();
        assert_eq!(SilenceFile::open(&path).kept, file.kept);
        std::fs::write(&path, "{").unwrap();
        assert_eq!(SilenceFile::open(&path).kept, KeptSilence::default());
    }
}
