//! Rows of old messages, written in transactions of their own beside the writer of live ones.

use super::session::{OpenTransaction, WriterLink};
use super::{FlowRecord, typed_rows};
use crate::sql::error::{DatabaseError, ErrorContext as _};
use crate::sql::history::{HistoryStatement, StatementTarget, WindowCell};
use crate::sql::records::rows::TypedRowPlan;
use crate::sql::{Database, SqlDialect, TypedRow};
use hearthgate_domain::delivery::UnixMicros;
use hearthgate_domain::flow::Flow;

/// Where its transactions come from.
pub(crate) struct BackfillLink(WriterLink);

/// A transaction. Dropped, it is rolled back.
pub(crate) struct BackfillSession(OpenTransaction);

/// A row to be written.
pub(crate) struct BackfillRow {
    pub(crate) row: TypedRow,
    pub(crate) number: i64,
    pub(crate) received_at: UnixMicros,
}

impl BackfillLink {
    pub(crate) fn new(database: &Database) -> Self {
        BackfillLink(WriterLink::new(database))
    }

    pub(crate) async fn begin(&mut self) -> Result<BackfillSession, DatabaseError> {
        self.0.begin().await.map(BackfillSession).attempted("begin a transaction of a backfill")
    }

    pub(crate) async fn commit(&mut self, session: BackfillSession) -> Result<(), DatabaseError> {
        let idle = session.0.commit().await.attempted("commit a page of a backfill")?;
        self.0.give_back(idle);
        Ok(())
    }

    pub(crate) async fn roll_back(&mut self, session: BackfillSession) -> Result<(), DatabaseError> {
        let idle = session.0.rollback().await.attempted("end a transaction of a backfill")?;
        self.0.give_back(idle);
        Ok(())
    }
}

impl BackfillSession {
    pub(crate) fn dialect(&self) -> SqlDialect {
        self.0.dialect()
    }

    pub(crate) fn target(&mut self) -> StatementTarget<'_> {
        match &mut self.0 {
            OpenTransaction::Sqlite(transaction) => StatementTarget::Sqlite(transaction),
            OpenTransaction::MySql(connection) => StatementTarget::MySql(&mut connection.wire),
            OpenTransaction::Postgres(connection) => StatementTarget::Postgres(connection),
        }
    }

    pub(crate) async fn execute(&mut self, statement: HistoryStatement) -> Result<u64, DatabaseError> {
        self.target().execute(statement).await
    }

    pub(crate) async fn fetch(&mut self, statement: HistoryStatement) -> Result<Vec<Vec<WindowCell>>, DatabaseError> {
        self.target().fetch(statement).await
    }

    /// Keeps live messages of the flow from being written until the transaction ends.
    pub(crate) async fn lock_flow(&mut self, id: i64) -> Result<(), DatabaseError> {
        match self.0.lock_flows(&[id]).await.attempted("lock the flow of a backfill")?.is_empty() {
            true => Err(DatabaseError::Unavailable("the flow was removed meanwhile".to_owned())),
            false => Ok(()),
        }
    }

    pub(crate) async fn remove_rows(&mut self, table: &str, ids: &[i64]) -> Result<(), DatabaseError> {
        if ids.is_empty() {
            return Ok(());
        }
        let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
        let remove = HistoryStatement::new(self.dialect(), "DELETE FROM ").name(table);
        self.execute(remove.push(format!(" WHERE id IN ({})", ids.join(",")))).await.map(drop)
    }

    pub(crate) async fn insert_rows(&mut self, flow: &Flow, rows: &[BackfillRow]) -> Result<(), DatabaseError> {
        let record = |row: &BackfillRow| FlowRecord {
            seq: 0,
            flow_id: flow.id,
            flow_code: flow.code.clone(),
            received_at: row.received_at,
            store: false,
            fields: Vec::new(),
            typed: None,
        };
        let records: Vec<FlowRecord> = rows.iter().map(record).collect();
        let plans = rows.iter().zip(&records).map(|(one, record)| TypedRowPlan {
            record,
            row: &one.row,
            code: &flow.code,
            number: one.number,
        });
        let plans: Vec<TypedRowPlan<'_>> = plans.collect();
        typed_rows::insert(&mut self.0, &plans).await.attempted("write rows of a backfill")
    }
}
