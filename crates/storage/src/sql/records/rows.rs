//! The rows that a batch becomes.

use crate::sql::records::FlowRecord;
use crate::sql::typed::TypedRow;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, LazyLock};

/// A flow whose row is locked by the transaction.
#[derive(Clone, Debug)]
pub(crate) struct LockedFlow {
    pub(crate) id: i64,
    pub(crate) code: Arc<str>,
    pub(crate) last_msg_id: i64,
}

/// A row of `data` to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DataRow<'a> {
    pub(crate) record: &'a FlowRecord,
    pub(crate) field: usize,
    pub(crate) code: &'a Arc<str>,
    pub(crate) number: i64,
}

impl<'a> DataRow<'a> {
    pub(crate) fn name(&self) -> &'a Arc<str> {
        &self.record.fields[self.field].0
    }

    pub(crate) fn value(&self) -> &'a Arc<str> {
        &self.record.fields[self.field].1
    }

    /// About what it takes on the wire.
    pub(crate) fn size(&self) -> usize {
        64 + self.code.len() + self.name().len() + self.value().len()
    }
}

/// A row of a typed table to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TypedRowPlan<'a> {
    pub(crate) record: &'a FlowRecord,
    pub(crate) row: &'a TypedRow,
    pub(crate) code: &'a Arc<str>,
    pub(crate) number: i64,
}

/// A statement for each of these sizes, for databases whose placeholder is `?`.
pub(crate) static INSERTS: LazyLock<Vec<Arc<str>>> = LazyLock::new(|| {
    let insert = |rows| {
        let values = vec!["(?,?,?,?,?)"; rows].join(",");
        format!(
            "INSERT INTO data (received_at, flow_code, attribute_name, attribute_value, last_msg_id) VALUES {values}"
        )
    };
    SHAPES.into_iter().map(|rows| insert(rows).into()).collect()
});

/// The index in [`SHAPES`] of the next statement for `rows`, which are not empty.
pub(crate) fn next_shape(rows: &[DataRow<'_>]) -> usize {
    let mut bytes = 0;
    let fitting = rows
        .iter()
        .take(SHAPES[0])
        .take_while(|row| {
            bytes += row.size();
            bytes <= CHUNK_BYTES
        })
        .count()
        .max(1);
    SHAPES.iter().position(|&shape| shape <= fitting).unwrap_or(SHAPES.len() - 1)
}

/// One of the rows of the batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IntentAnchor {
    pub(crate) id: i64,
    pub(crate) flow_code: String,
    pub(crate) number: i64,
    pub(crate) second: i64,
    pub(crate) content: u32,
}

impl IntentAnchor {
    pub(crate) fn new(row: &DataRow<'_>, id: i64) -> Self {
        Self {
            id,
            flow_code: row.code.to_string(),
            number: row.number,
            second: row.record.received_at.div_euclid(1_000_000),
            content: content(row.name(), row.value()),
        }
    }

    pub(crate) fn is(&self, found: &FoundRow) -> bool {
        self.flow_code == found.flow_code
            && self.number == found.number
            && self.second == found.second
            && self.content == content(&found.name, &found.value)
    }
}

/// A row of `data` that was looked up.
#[derive(Debug)]
pub(crate) struct FoundRow {
    pub(crate) flow_code: String,
    pub(crate) number: i64,
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) second: i64,
}

pub(super) fn content(name: &str, value: &str) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(name.as_bytes()), value.as_bytes())
}

/// Sizes of multi-row statements. A statement of each size is prepared once; any number of rows is a few of them.
pub(crate) const SHAPES: [usize; 11] = [1536, 768, 384, 192, 96, 48, 24, 12, 6, 3, 1];

/// How many bytes of values one statement carries, unless a single row is larger.
const CHUNK_BYTES: usize = 1 << 20;
