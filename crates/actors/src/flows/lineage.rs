//! Whether a database is the one from last time: what waits in the journal is for the flows of that one.
//!
//! A disk that is not mounted, a wrong name, an empty copy: such a database lacks the flows that messages were taken for,
//! or has others under their numbers. It is named, and nothing is written to it.

use hearthgate_domain::flow::FlowRow;
use hearthgate_files::replace_file;
use hearthgate_storage::journal::{JournalError, JournalHandle, TargetVerdict};
use hearthgate_storage::sql::{Database, DatabaseError};
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use thiserror::Error;
use tracing::warn;

/// What the file says of a database that can't hold an identity.
const NONE: &str = "none";
/// Entries of the journal that are looked at in one turn.
const BATCH: usize = 1_000;
const BATCH_BYTES: usize = 1 << 20;
/// Flows that a message names.
const NAMED: usize = 5;

/// Nothing may be written to a database: why, and what to do.
#[derive(Debug, Error)]
pub(crate) enum DatabaseDoubt {
    /// Flows that there were are not in it.
    #[error(
        "{label} is not the database from last time: it lacks the flows {flows}. Nothing is written to it, messages wait \
         in the journal. Bring the other one back; or, to go on with this one, remove {} and restart: then what waits \
         for these flows becomes dead letters", .file.display()
    )]
    LacksFlows { label: String, flows: String, file: PathBuf },
    /// Messages wait for numbers that are other flows' in it.
    #[error(
        "{label} is not the database from last time: the flows {flows} have other numbers in it, and messages wait in the \
         journal under the old ones. Nothing is written to it. Start with the other one once more, until the journal is \
         written"
    )]
    Renumbered { label: String, flows: String },
    /// Its identity cannot be read.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// What waits cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A fault of ours.
    #[error("looking through the journal: {0}")]
    Panicked(String),
}

/// Knows the database from last time.
#[derive(Clone, Debug)]
pub(crate) struct DatabaseLineage {
    /// Holds its identity.
    path: PathBuf,
    journal: JournalHandle,
}

impl DatabaseLineage {
    /// The identity is kept in this file.
    pub(crate) fn new(path: PathBuf, journal: JournalHandle) -> Self {
        DatabaseLineage { path, journal }
    }

    /// Looks at a database that has these flows, where `known` are those from last time, and remembers it.
    ///
    /// # Errors
    /// Nothing may be written to it; why, and what to do.
    pub(crate) async fn examine(
        &self,
        database: &Database,
        rows: &[FlowRow],
        known: &[FlowRow],
    ) -> Result<(), DatabaseDoubt> {
        let identity = database.identity().await?;
        let identity = identity.unwrap_or_else(|| NONE.to_owned());
        let last = read(&self.path);
        let is_same = match last.as_deref() {
            Some(NONE) => shares_a_flow(rows, known),
            Some(last) => last == identity,
            None => false,
        };
        if is_same && last.as_deref() == Some(&identity) {
            return Ok(());
        }
        let label = database.label();
        if !is_same {
            if last.is_some() {
                let missing = missing(rows, known);
                if !missing.is_empty() {
                    let (flows, file) = (named(&missing), self.path.clone());
                    return Err(DatabaseDoubt::LacksFlows { label: label.to_owned(), flows, file });
                }
            }
            let renumbered = self.renumbered(rows, known).await?;
            if !renumbered.is_empty() {
                return Err(DatabaseDoubt::Renumbered { label: label.to_owned(), flows: named(&renumbered) });
            }
            if last.is_some() {
                warn!(
                    database = label,
                    "this is not the database from last time; it has the same flows, and is used from now on"
                );
            }
        }
        if let Err(reason) = write(&self.path, &identity) {
            warn!(%reason, path = %self.path.display(), "which database this is could not be kept for the next start");
        }
        Ok(())
    }

    /// The flows, by code, for whose old numbers messages wait, and which have another number now.
    async fn renumbered(&self, rows: &[FlowRow], known: &[FlowRow]) -> Result<BTreeSet<String>, DatabaseDoubt> {
        let numbers: HashMap<&str, i64> = rows.iter().map(|row| (&*row.code, row.id)).collect();
        let moved: HashMap<i64, &str> = known
            .iter()
            .filter(|row| numbers.get(&*row.code).is_some_and(|number| *number != row.id))
            .map(|row| (row.id, &*row.code))
            .collect();
        if moved.is_empty() {
            return Ok(BTreeSet::new());
        }
        let journal = self.journal.clone();
        let waiting = tokio::task::spawn_blocking(move || waiting(&journal)).await;
        let waiting = waiting.map_err(|panicked| DatabaseDoubt::Panicked(panicked.to_string()))??;
        Ok(moved.into_iter().filter(|(id, _)| waiting.contains(id)).map(|(_, code)| code.to_owned()).collect())
    }
}

/// The numbers of the flows that messages in the journal wait for.
fn waiting(journal: &JournalHandle) -> Result<BTreeSet<i64>, JournalError> {
    let usage = journal.usage();
    let from = usage.consumers.iter().map(|consumer| consumer.released).min().unwrap_or(0);
    let mut reader = journal.reader_after(from);
    let mut found = BTreeSet::new();
    loop {
        let read = reader.next_batch(BATCH, BATCH_BYTES)?;
        let targets = read.entries.iter().flat_map(|entry| entry.targets.iter());
        let due = targets.filter(|target| !matches!(target.verdict, TargetVerdict::Refused { .. }));
        found.extend(due.filter_map(|target| target.flow_id));
        if read.caught_up {
            return Ok(found);
        }
    }
}

fn shares_a_flow(rows: &[FlowRow], known: &[FlowRow]) -> bool {
    let mut known = known.iter().filter(|row| row.enabled).peekable();
    known.peek().is_none() || known.any(|one| rows.iter().any(|row| row.id == one.id && row.code == one.code))
}

fn missing(rows: &[FlowRow], known: &[FlowRow]) -> BTreeSet<String> {
    let there: BTreeSet<&str> = rows.iter().map(|row| &*row.code).collect();
    let lacking = known.iter().filter(|row| row.enabled && !there.contains(&*row.code));
    lacking.map(|row| row.code.clone()).collect()
}

fn named(codes: &BTreeSet<String>) -> String {
    let mut names: Vec<&str> = codes.iter().take(NAMED).map(String::as_str).collect();
    if codes.len() > NAMED {
        names.push("…");
    }
    names.join(", ")
}

fn read(path: &Path) -> Option<String> {
    match fs::read_to_string(path) {
        Ok(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(reason) => {
            warn!(%reason, path = %path.display(), "which database was used last time is not known");
            None
        }
    }
}

fn write(path: &Path, identity: &str) -> std::io::Result<()> {
    replace_file(path, format!("{identity}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearthgate_domain::delivery::QoS;
    use hearthgate_domain::flow::PromisedActions;
    use hearthgate_storage::journal::{ConsumerStart, EntryTarget, Journal, JournalEntry, JournalOptions};
    use hearthgate_storage::sql::DatabaseOptions;

    fn flow(id: i64, code: &str) -> FlowRow {
        FlowRow { id, code: code.into(), enabled: true, ..FlowRow::default() }
    }

    fn append(journal: &mut Journal, flow_id: i64) {
        let targets =
            [EntryTarget { flow_id: Some(flow_id), verdict: TargetVerdict::Accepted(PromisedActions::UNKNOWN) }];
        let entry = JournalEntry {
            topic: "t",
            payload: b"{}",
            received_at: 0,
            qos: QoS::AtLeastOnce,
            retain: false,
            is_restored: false,
            origin: None,
            targets: &targets,
        };
        journal.append(&[entry]).unwrap();
        journal.sync().unwrap();
    }

    async fn database(folder: &Path, name: &str) -> Database {
        let url = format!("sqlite://{}", folder.join(name).display());
        Database::open(&DatabaseOptions::new(url, folder)).await.unwrap()
    }

    #[tokio::test]
    async fn another_database_is_refused_while_it_lacks_flows_or_has_them_under_other_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(folder.path().join("journal"), JournalOptions::default()).unwrap();
        journal.handle().register("records", ConsumerStart::Oldest).unwrap();
        let lineage = DatabaseLineage::new(folder.path().join("database.id"), journal.handle());
        let (first, second) = (database(folder.path(), "a.db").await, database(folder.path(), "b.db").await);
        let known = [flow(1, "A"), flow(2, "B")];

        lineage.examine(&first, &known, &[]).await.unwrap();
        lineage.examine(&first, &known[..1], &known).await.expect("of the same one a flow may be removed");
        let refused = lineage.examine(&second, &known[..1], &known).await.unwrap_err().to_string();
        assert!(refused.contains("lacks the flows B"), "{refused}");
        lineage.examine(&first, &known, &known).await.expect("the first one is still the one from last time");

        append(&mut journal, 2);
        let exchanged = [flow(1, "B"), flow(2, "A")];
        let refused = lineage.examine(&second, &exchanged, &known).await.unwrap_err().to_string();
        assert!(refused.contains("the flows A, B have other numbers") || refused.contains("the flows B"), "{refused}");
        lineage.examine(&second, &known, &known).await.expect("a copy with the same flows");
        let refused = lineage.examine(&first, &known[..1], &known).await.unwrap_err().to_string();
        assert!(refused.contains("not the database from last time"), "{refused}");
        fs::remove_file(folder.path().join("database.id")).unwrap();
        lineage.examine(&first, &known[..1], &known).await.expect("the operator has said so");
    }
}
