//! What is written, and what came of it.

use crate::sql::error::{DatabaseError, ErrorKind};
use crate::sql::typed::TypedRow;
use hearthgate_domain::delivery::UnixMicros;
use std::sync::Arc;

/// One message for one flow. A message that several flows want is several records with one `seq`.
#[derive(Clone, Debug)]
pub struct FlowRecord {
    /// Sequence number in the journal, from 1.
    pub seq: u64,
    /// `flows.id`.
    pub flow_id: i64,
    /// The flow's code when the message was routed; the row gets the code that the flow has when it is written.
    pub flow_code: Arc<str>,
    /// When the message came in, UTC.
    pub received_at: UnixMicros,
    /// Whether the fields become rows of `data`. Without, and without a typed row, the message is only counted.
    pub store: bool,
    /// Names and values of the payload's fields, in their order.
    pub fields: Vec<(Arc<str>, Arc<str>)>,
    /// The row for the flow's own table, where it has one.
    pub typed: Option<TypedRow>,
}

/// What is written in one transaction.
#[derive(Clone, Debug, Default)]
pub struct RecordBatch {
    /// In journal order.
    pub records: Vec<FlowRecord>,
    /// The position after the batch: every journal entry through this number is settled by it, also those that brought
    /// no record.
    pub through: u64,
}

/// Why a record can't be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RejectReason {
    /// The flow is not in the table any more.
    FlowGone,
    /// The database refused the values: its words.
    Values(String),
}

impl std::fmt::Display for RejectReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::FlowGone => f.write_str("the flow was removed before the message could be written"),
            Self::Values(reason) => write!(f, "the database refused the values: {reason}"),
        }
    }
}

/// A record that can't be written, now or later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedRecord {
    /// Its index in [`RecordBatch::records`].
    pub index: usize,
    /// Its journal sequence number.
    pub seq: u64,
    /// Its flow.
    pub flow_id: i64,
    /// Why.
    pub reason: RejectReason,
}

/// The numbers that a flow's messages got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowNumbers {
    /// The flow.
    pub flow_id: i64,
    /// `last_msg_id` before the batch: its messages have the numbers `base + 1` to `base + count`.
    pub base: i64,
    /// How many messages.
    pub count: i64,
}

/// What a committed batch did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitCounts {
    /// Position in the journal, now durable: everything through this number.
    pub position: u64,
    /// Messages that were counted, without those that an earlier, unanswered commit had written already.
    pub messages: usize,
    /// Rows in `data`.
    pub rows: usize,
    /// Rows in typed tables.
    pub typed_rows: usize,
    /// By flow id.
    pub numbers: Vec<FlowNumbers>,
    /// Records that were left out.
    pub rejected: Vec<RejectedRecord>,
}

/// Why a batch was not written. Nothing of it was, unless a commit got no answer; writing the same batch again is
/// always right, and stores nothing twice.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// [`RecordWriter::write`] found records that can't be written; nothing was.
    #[error("{} records can't be written", .0.len())]
    Rejected(Vec<RejectedRecord>),
    /// The batch is not in journal order, or reaches beyond its position: a defect of the caller.
    #[error("the batch is not in journal order at its record {0}")]
    Order(usize),
}

impl WriteError {
    /// What kind of trouble this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Database(error) => error.kind(),
            Self::Rejected(_) => ErrorKind::Row,
            Self::Order(_) => ErrorKind::Other,
        }
    }
}

impl RecordBatch {
    pub(crate) fn check_order(&self) -> Result<(), WriteError> {
        let mut last = 1;
        for (index, record) in self.records.iter().enumerate() {
            if record.seq < last || record.seq > self.through {
                return Err(WriteError::Order(index));
            }
            last = record.seq;
        }
        Ok(())
    }
}
