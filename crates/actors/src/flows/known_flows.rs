//! The flows as they were known last, in a file: for a start without the database, and for the codes of flows that are gone.

use hearthgate_domain::flow::FlowRow;
use hearthgate_files::replace_file;
use std::collections::BTreeSet;
use std::path::PathBuf;
use tracing::warn;

/// Flows that are no longer in the database are remembered up to this number.
const REMOVED_AT_MOST: usize = 1_000;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct KnownFlows {
    path: PathBuf,
    rows: Vec<FlowRow>,
}

impl KnownFlows {
    /// Reads the file, if there is one.
    pub(crate) fn read(path: PathBuf) -> Self {
        let rows = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|reason| {
                warn!(%reason, path = %path.display(), "the kept flows can not be read");
                Vec::new()
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(reason) => {
                warn!(%reason, path = %path.display(), "the kept flows can not be read");
                Vec::new()
            }
        };
        KnownFlows { path, rows }
    }

    /// All of them, those that are gone among the disabled ones.
    pub(crate) fn rows(&self) -> &[FlowRow] {
        &self.rows
    }

    /// The row of this number and code as it was known last.
    pub(crate) fn row(&self, id: i64, code: &str) -> Option<&FlowRow> {
        self.rows.iter().find(|row| row.id == id && row.code == code)
    }

    /// These rows and, disabled, those that were there and are gone, unless their numbers were given to others.
    pub(crate) fn with_removed(&self, rows: Vec<FlowRow>) -> Vec<FlowRow> {
        let there: BTreeSet<i64> = rows.iter().map(|row| row.id).collect();
        let gone = self.rows.iter().filter(|row| !there.contains(&row.id));
        // Those with the greatest numbers are the newest.
        let gone = gone.rev().take(REMOVED_AT_MOST).map(|row| FlowRow { enabled: false, ..row.clone() });
        let mut all: Vec<FlowRow> = gone.collect();
        all.extend(rows);
        all.sort_by_key(|row| row.id);
        all
    }

    /// Keeps these instead.
    pub(crate) fn keep(&mut self, rows: Vec<FlowRow>) {
        self.rows = rows;
        if let Err(reason) = self.write() {
            warn!(%reason, "the flows could not be kept for a start without the database");
        }
    }

    fn write(&self) -> std::io::Result<()> {
        replace_file(&self.path, &serde_json::to_vec(&self.rows)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: i64, code: &str) -> FlowRow {
        FlowRow { id, code: code.into(), enabled: true, ..FlowRow::default() }
    }

    #[test]
    fn a_removed_flow_is_remembered_until_its_number_is_given_to_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flows.json");
        let mut known = KnownFlows::read(path.clone());
        known.keep(known.with_removed(vec![row(1, "A"), row(2, "B")]));
        known.keep(known.with_removed(vec![row(1, "A")]));
        let known = KnownFlows::read(path);
        assert_eq!(known.rows(), [row(1, "A"), FlowRow { enabled: false, ..row(2, "B") }]);
        assert_eq!(known.with_removed(vec![row(2, "C")])[1], row(2, "C"));
        assert!(known.row(2, "B").is_some() && known.row(2, "C").is_none());
    }
}
