//! Exactly once as a guest, where no table of ours can hold the journal's position.
//!
//! Before COMMIT, when all rows are in the transaction, an *intent* is written to a local file and fsynced: from which
//! position to which, each flow's `last_msg_id` before and the number of messages, and, of one inserted row, its `id`
//! and what is in it. After a crash, or a commit without an answer, the flows are locked (which waits for a commit
//! under way), and then:
//!
//! 1. a flow whose `last_msg_id` is below what the batch would have made it: the batch was rolled back, write it again;
//! 2. else, the row with that `id` has the content that we gave it: the batch was committed;
//! 3. else, the row's number is there with another content or id: another gateway has taken the numbers after a
//!    rollback, write the batch again;
//! 4. else (nobody has a row with this number): the rows were committed, and deleted since.
//!
//! **Promise:** a message is stored exactly once, and numbers have neither gap nor repeat, through crashes of the
//! gateway, of the server and of the connection, also with several gateways on the database.
//! **The one assumption:** nobody lowers `flows.last_msg_id`.
//! A batch that stored no rows (only `POST_ENDPOINT` flows) is decided by the numbers alone: when another gateway
//! counted as many messages of the same flows between our crash and our return, our own are not counted again. No
//! message depends on that.
//!
//! Two files are written in turn, each with a checksum: a torn write spoils only the intent of a batch that was not
//! committed yet, and the other file still tells of the one before.

use super::FlowNumbers;
use super::follow::FollowedPosition;
use super::numbering::NumberedBatch;
use super::session::{OpenTransaction, WriterLink};
use crate::sql::DatabaseError;
use crate::sql::records::rows::IntentAnchor;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// What is about to be committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CommitIntent {
    generation: u64,
    journal: String,
    from: u64,
    through: u64,
    /// The run of the journal that it is of.
    #[serde(default)]
    run: Option<String>,
    /// Flow, `last_msg_id` before, messages.
    flows: Vec<(i64, i64, i64)>,
    anchor: Option<IntentAnchor>,
}

impl CommitIntent {
    pub(crate) fn new(
        from: u64,
        through: u64,
        batch: &NumberedBatch<'_>,
        anchor: Option<IntentAnchor>,
        run: Option<Uuid>,
    ) -> Self {
        let flows = batch.numbers.iter().map(|&FlowNumbers { flow_id, base, count }| (flow_id, base, count)).collect();
        let run = run.map(|run| run.to_string());
        Self { generation: 0, journal: String::new(), from, through, run, flows, anchor }
    }

    /// Whether the batch was committed.
    async fn is_committed(&self, session: &mut OpenTransaction) -> Result<bool, sqlx::Error> {
        let ids: Vec<i64> = self.flows.iter().map(|&(id, ..)| id).collect();
        let now = session.lock_flows(&ids).await?;
        let raised = |id| now.iter().find(|flow| flow.id == id).map(|flow| flow.last_msg_id);
        let left: Vec<(i64, i64)> = self
            .flows
            .iter()
            .filter_map(|&(id, base, count)| Some((raised(id)?, base.saturating_add(count))))
            .collect();
        if left.iter().any(|&(now, then)| now < then) {
            return Ok(false);
        }
        let Some(anchor) = &self.anchor else {
            // Nothing but numbers. Of flows that are all gone nothing is known: write them again, to be refused.
            return Ok(!left.is_empty() || self.flows.is_empty());
        };
        if session.find_row(anchor.id).await?.is_some_and(|found| anchor.is(&found)) {
            return Ok(true);
        }
        Ok(!session.number_is_taken(&anchor.flow_code, anchor.number).await?)
    }
}

/// The two files.
pub(crate) struct IntentFiles {
    folder: PathBuf,
    journal: String,
    generation: u64,
}

impl IntentFiles {
    /// With `create`, makes the files where they are missing; without, they are only read.
    pub(crate) fn open(folder: &Path, journal: Uuid, create: bool) -> Result<Self, DatabaseError> {
        if create {
            create_files(folder).map_err(|source| DatabaseError::File {
                attempted: format!("create the record intents in {}", folder.display()),
                source,
            })?;
        }
        Ok(Self { folder: folder.to_owned(), journal: journal.to_string(), generation: 0 })
    }

    /// Makes an intent durable.
    pub(crate) async fn write(&mut self, mut intent: CommitIntent) -> Result<(), DatabaseError> {
        self.generation += 1;
        intent.generation = self.generation;
        intent.journal.clone_from(&self.journal);
        let path = slot(&self.folder, self.generation);
        let attempted = format!("write the record intent {}", path.display());
        let writing = tokio::task::spawn_blocking(move || write_slot(&path, &intent));
        let written = writing.await.map_err(std::io::Error::other).and_then(|written| written);
        written.map_err(|source| DatabaseError::File { attempted, source })
    }

    /// The position that the newest intent leads to, when that is beyond what is `known` without it.
    pub(crate) async fn resolve(
        &mut self,
        link: &mut WriterLink,
        known: u64,
        followed: Option<&FollowedPosition>,
    ) -> Result<u64, sqlx::Error> {
        let slots = [0, 1].map(|at| read_slot(&slot(&self.folder, at)));
        let [first, second] = slots;
        let newest = [first?, second?].into_iter().flatten().max_by_key(|intent| intent.generation);
        let Some(intent) = newest else { return Ok(known) };
        self.generation = intent.generation;
        if intent.journal != self.journal || intent.through <= known {
            return Ok(known);
        }
        let mut session = link.begin().await?;
        let committed = intent.is_committed(&mut session).await?;
        link.give_back(session.rollback().await?);
        tracing::debug!(from = intent.from, through = intent.through, committed, "resolved the newest record intent");
        let position = if committed { intent.through } else { intent.from };
        let holds = match followed {
            Some(followed) => {
                let left_by = intent.run.as_deref().and_then(|run| run.parse().ok());
                followed.bound(position, left_by, link.label())
            }
            None => position,
        };
        Ok(known.max(holds))
    }
}

fn slot(folder: &Path, generation: u64) -> PathBuf {
    folder.join(format!("records-intent-{}", generation % 2))
}

fn create_files(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for at in [0, 1] {
        OpenOptions::new().create(true).append(true).open(slot(folder, at))?.sync_all()?;
    }
    File::open(folder)?.sync_all()
}

/// A line with the checksum of what follows, then JSON.
fn write_slot(path: &Path, intent: &CommitIntent) -> std::io::Result<()> {
    let json = serde_json::to_string(intent).map_err(std::io::Error::other)?;
    let mut file = File::create(path)?;
    file.write_all(format!("{:08x}\n{json}", crc32c::crc32c(json.as_bytes())).as_bytes())?;
    file.sync_data()
}

/// `None` for a slot that is missing, empty or torn.
fn read_slot(path: &Path) -> std::io::Result<Option<CommitIntent>> {
    let mut text = Vec::new();
    match File::open(path) {
        Ok(mut file) => file.read_to_end(&mut text)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(std::io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
    };
    let Some((checksum, json)) = text.split_at_checked(9) else { return Ok(None) };
    if checksum != format!("{:08x}\n", crc32c::crc32c(json)).as_bytes() {
        return Ok(None);
    }
    Ok(serde_json::from_slice(json).ok())
}
