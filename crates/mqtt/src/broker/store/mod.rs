//! What survives a restart: retained messages and persistent sessions, in an SQLite file of the broker's own.
//!
//! Changes are collected in a [`StoreDelta`] and written as one transaction.

mod clock;
pub(crate) mod delta;
pub(crate) mod kept_will;
pub(crate) mod opening;
mod schema;
pub(crate) mod wills;

use crate::broker::packets::incoming::SubscriptionOptions;
use crate::broker::state::message::BrokerMessage;
use crate::broker::state::queued::QueuedDelivery;
use crate::broker::state::received::{AckCondition, ReceivedMessage};
use crate::broker::state::session::{ClientIdentity, DeliveryPhase, InflightDelivery};
use crate::broker::store::wills::qos;
use crate::codec::ProtocolLevel;
use clock::LivedClock;
use delta::StoreDelta;
use futures_util::TryStreamExt;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{Connection, Row, SqliteConnection};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use wills::StoredWill;

/// Messages that one statement removes.
const SETTLED_AT_ONCE: usize = 1_000;

/// Filters of a subscription with its options and identifier.
pub(crate) type StoredSubscription = (Arc<str>, SubscriptionOptions, Option<u32>);

/// A session as it was kept.
#[derive(Debug)]
pub(crate) struct StoredSession {
    pub(crate) identity: ClientIdentity,
    pub(crate) number: u64,
    pub(crate) expiry: u32,
    /// How long its client is away; `None` when it was connected.
    pub(crate) absent: Option<Duration>,
    pub(crate) subscriptions: Vec<StoredSubscription>,
    pub(crate) received: HashMap<u16, ReceivedMessage>,
    /// Filters whose retained messages it still has to get.
    pub(crate) pulls: Vec<Arc<str>>,
    pub(crate) inflight: Vec<InflightDelivery>,
    pub(crate) queue: Vec<QueuedDelivery>,
}

/// Everything that was kept.
#[derive(Debug, Default)]
pub(crate) struct RestoredState {
    pub(crate) sessions: Vec<StoredSession>,
    pub(crate) retained: Vec<Arc<BrokerMessage>>,
    pub(crate) wills: Vec<StoredWill>,
    /// Higher than any number in the store.
    pub(crate) next_number: u64,
}

/// The open file.
#[derive(Debug)]
pub(crate) struct SessionStore {
    connection: SqliteConnection,
    options: SqliteConnectOptions,
    clock: LivedClock,
    /// The last write has.
    has_failed: bool,
}

impl SessionStore {
    /// Opens or makes the file.
    pub(crate) async fn open(file: &Path) -> Result<SessionStore, sqlx::Error> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5));
        let mut connection = SqliteConnection::connect_with(&options).await?;
        schema::prepare(&mut connection).await?;
        let clock = LivedClock::open(&mut connection).await?;
        Ok(SessionStore { connection, options, clock, has_failed: false })
    }

    /// Ends cleanly, so that no write-ahead log is left.
    pub(crate) async fn close(mut self) -> Result<(), sqlx::Error> {
        self.clock.keep(&mut self.connection).await?;
        self.connection.close().await
    }

    /// Writes a delta as one transaction.
    pub(crate) async fn write(&mut self, delta: &StoreDelta) -> Result<(), sqlx::Error> {
        if delta.is_empty() {
            return Ok(());
        }
        if self.has_failed {
            // After a commit that failed (a full disk), sqlx takes the connection for being in a transaction for ever.
            self.connection = SqliteConnection::connect_with(&self.options).await?;
        }
        self.has_failed = true;
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        let clock = self.clock.now();
        write_sessions(&mut transaction, delta, clock).await?;
        write_messages(&mut transaction, delta, clock).await?;
        write_retained(&mut transaction, delta, clock).await?;
        wills::write(&mut transaction, delta, clock).await?;
        clock.keep(&mut transaction).await?;
        transaction.commit().await?;
        self.has_failed = false;
        Ok(())
    }

    /// Reads everything.
    pub(crate) async fn load(&mut self) -> Result<RestoredState, sqlx::Error> {
        let clock = self.clock.now();
        let mut restored = RestoredState::default();
        let mut index = HashMap::new();
        for row in sqlx::query("SELECT number, id, user, expiry, left_at FROM sessions")
            .fetch_all(&mut self.connection)
            .await?
        {
            let session = stored_session(&row, clock)?;
            restored.next_number = restored.next_number.max(session.number);
            index.insert(session.number, restored.sessions.len());
            restored.sessions.push(session);
        }
        let rows = sqlx::query("SELECT session, filter, options, identifier FROM subscriptions");
        for row in rows.fetch_all(&mut self.connection).await? {
            let session = index.get(&(row.try_get::<i64, _>(0)? as u64)).copied();
            let options = SubscriptionOptions::from_byte(ProtocolLevel::V5, row.try_get::<i64, _>(2)? as u8);
            if let (Some(session), Ok(options)) = (session, options) {
                let identifier = row.try_get::<Option<i64>, _>(3)?.map(|identifier| identifier as u32);
                let filter: String = row.try_get(1)?;
                restored.sessions[session].subscriptions.push((filter.into(), options, identifier));
            }
        }
        for row in sqlx::query("SELECT session, packet_id FROM received").fetch_all(&mut self.connection).await? {
            if let Some(session) = index.get(&(row.try_get::<i64, _>(0)? as u64)) {
                let received = ReceivedMessage { wait: AckCondition::default(), restored: true };
                restored.sessions[*session].received.insert(row.try_get::<i64, _>(1)? as u16, received);
            }
        }
        for row in sqlx::query("SELECT session, filter FROM pulls").fetch_all(&mut self.connection).await? {
            if let Some(session) = index.get(&(row.try_get::<i64, _>(0)? as u64)) {
                restored.sessions[*session].pulls.push(row.try_get::<String, _>(1)?.into());
            }
        }
        // Row by row, and what was published once is one message again: its copies come one after the other.
        let mut rows = sqlx::query("SELECT * FROM messages ORDER BY number").fetch(&mut self.connection);
        let mut last: Option<Arc<BrokerMessage>> = None;
        while let Some(row) = rows.try_next().await? {
            let Some(&session) = index.get(&(row.try_get::<i64, _>("session")? as u64)) else { continue };
            let (mut owed, sent) = stored_message(&row, clock)?;
            match &last {
                Some(message) if **message == *owed.message => owed.message = message.clone(),
                _ => last = Some(owed.message.clone()),
            }
            restored.next_number = restored.next_number.max(owed.number);
            match sent {
                Some((packet_id, phase)) => {
                    restored.sessions[session].inflight.push(InflightDelivery {
                        packet_id,
                        phase,
                        owed,
                        stored: 0,
                        was_sent: true,
                    });
                }
                None => restored.sessions[session].queue.push(owed),
            }
        }
        drop(rows);
        let mut rows = sqlx::query("SELECT * FROM retained").fetch(&mut self.connection);
        while let Some(row) = rows.try_next().await? {
            restored.retained.push(Arc::new(stored_retained(&row, clock)?));
        }
        drop(rows);
        restored.wills = wills::load(&mut self.connection, clock).await?;
        let numbers = restored.wills.iter().map(|will| will.session);
        restored.next_number = numbers.fold(restored.next_number, u64::max);
        Ok(restored)
    }
}

async fn write_sessions(to: &mut SqliteConnection, delta: &StoreDelta, clock: LivedClock) -> Result<(), sqlx::Error> {
    for (number, kept) in &delta.sessions {
        let number = *number as i64;
        match kept {
            Some(kept) => {
                // The identity of a session that ended in this same delta may be taken again.
                sqlx::query("DELETE FROM sessions WHERE id = ? AND user IS ? AND number <> ?")
                    .bind(&*kept.identity.client_id)
                    .bind(kept.identity.user.as_deref())
                    .bind(number)
                    .execute(&mut *to)
                    .await?;
                sqlx::query("INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?)")
                    .bind(number)
                    .bind(&*kept.identity.client_id)
                    .bind(kept.identity.user.as_deref())
                    .bind(i64::from(kept.expiry))
                    .bind(kept.left.map(|left| clock.to_lived(left)))
                    .execute(&mut *to)
                    .await?;
            }
            None => {
                for statement in [
                    "DELETE FROM sessions WHERE number = ?",
                    "DELETE FROM subscriptions WHERE session = ?",
                    "DELETE FROM received WHERE session = ?",
                    "DELETE FROM pulls WHERE session = ?",
                    "DELETE FROM messages WHERE session = ?",
                ] {
                    sqlx::query(statement).bind(number).execute(&mut *to).await?;
                }
            }
        }
    }
    for ((session, filter), options) in &delta.subscriptions {
        let query = match options {
            Some((options, identifier)) => sqlx::query("INSERT OR REPLACE INTO subscriptions VALUES (?, ?, ?, ?)")
                .bind(*session as i64)
                .bind(&**filter)
                .bind(i64::from(options.to_byte()))
                .bind(identifier.map(i64::from)),
            None => sqlx::query("DELETE FROM subscriptions WHERE session = ? AND filter = ?")
                .bind(*session as i64)
                .bind(&**filter),
        };
        query.execute(&mut *to).await?;
    }
    for ((session, filter), open) in &delta.pulls {
        let statement = if *open {
            "INSERT OR IGNORE INTO pulls VALUES (?, ?)"
        } else {
            "DELETE FROM pulls WHERE session = ? AND filter = ?"
        };
        sqlx::query(statement).bind(*session as i64).bind(&**filter).execute(&mut *to).await?;
    }
    for ((session, packet_id), open) in &delta.received {
        let statement = if *open {
            "INSERT OR IGNORE INTO received VALUES (?, ?)"
        } else {
            "DELETE FROM received WHERE session = ? AND packet_id = ?"
        };
        sqlx::query(statement).bind(*session as i64).bind(i64::from(*packet_id)).execute(&mut *to).await?;
    }
    Ok(())
}

async fn write_messages(to: &mut SqliteConnection, delta: &StoreDelta, clock: LivedClock) -> Result<(), sqlx::Error> {
    for debt in delta.debts.values() {
        let owed = &debt.owed;
        let identifiers: Vec<u8> = owed.identifiers.iter().flat_map(|identifier| identifier.to_be_bytes()).collect();
        sqlx::query("INSERT OR REPLACE INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
            .bind(owed.number as i64)
            .bind(debt.session as i64)
            .bind(&*owed.message.topic)
            .bind(&*owed.message.payload)
            .bind(owed.message.qos as i64)
            .bind(owed.qos as i64)
            .bind(owed.message.retain)
            .bind(owed.retain)
            .bind(&*owed.message.properties)
            .bind(owed.message.expires.map(|expires| clock.to_lived(expires)))
            .bind(identifiers)
            .bind(owed.share.as_deref())
            .bind(debt.sent.map(|(packet_id, _)| i64::from(packet_id)))
            .bind(debt.sent.is_some_and(|(_, phase)| phase == DeliveryPhase::Released))
            .execute(&mut *to)
            .await?;
    }
    for (number, (packet_id, phase)) in &delta.progress {
        sqlx::query("UPDATE messages SET packet_id = ?, released = ? WHERE number = ?")
            .bind(i64::from(*packet_id))
            .bind(*phase == DeliveryPhase::Released)
            .bind(*number as i64)
            .execute(&mut *to)
            .await?;
    }
    // Under load most of what was written is settled by the next transaction: one statement does for many.
    for numbers in delta.settled.chunks(SETTLED_AT_ONCE) {
        let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        sqlx::query("DELETE FROM messages WHERE number IN (SELECT value FROM json_each(?))")
            .bind(format!("[{}]", numbers.join(",")))
            .execute(&mut *to)
            .await?;
    }
    Ok(())
}

async fn write_retained(to: &mut SqliteConnection, delta: &StoreDelta, clock: LivedClock) -> Result<(), sqlx::Error> {
    for (topic, message) in &delta.retained {
        let query = match message {
            Some(message) => sqlx::query("INSERT OR REPLACE INTO retained VALUES (?, ?, ?, ?, ?)")
                .bind(&**topic)
                .bind(&*message.payload)
                .bind(message.qos as i64)
                .bind(&*message.properties)
                .bind(message.expires.map(|expires| clock.to_lived(expires))),
            None => sqlx::query("DELETE FROM retained WHERE topic = ?").bind(&**topic),
        };
        query.execute(&mut *to).await?;
    }
    Ok(())
}

fn stored_session(row: &SqliteRow, clock: LivedClock) -> Result<StoredSession, sqlx::Error> {
    let (id, user): (String, Option<String>) = (row.try_get(1)?, row.try_get(2)?);
    let left: Option<i64> = row.try_get(4)?;
    Ok(StoredSession {
        identity: ClientIdentity { user: user.map(Into::into), client_id: id.into() },
        number: row.try_get::<i64, _>(0)? as u64,
        expiry: row.try_get::<i64, _>(3)? as u32,
        absent: left.map(|left| clock.time_since(left)),
        subscriptions: Vec::new(),
        received: HashMap::new(),
        pulls: Vec::new(),
        inflight: Vec::new(),
        queue: Vec::new(),
    })
}

fn stored_message(
    row: &SqliteRow,
    clock: LivedClock,
) -> Result<(QueuedDelivery, Option<(u16, DeliveryPhase)>), sqlx::Error> {
    let (topic, share): (String, Option<String>) = (row.try_get("topic")?, row.try_get("share")?);
    let (payload, properties): (Vec<u8>, Vec<u8>) = (row.try_get("payload")?, row.try_get("properties")?);
    let identifiers: Vec<u8> = row.try_get("identifiers")?;
    let message = BrokerMessage {
        topic: topic.into(),
        payload: payload.into(),
        qos: qos(row.try_get("published_qos")?),
        retain: row.try_get("published_retain")?,
        properties: properties.into(),
        expires: row.try_get::<Option<i64>, _>("expires_at")?.map(|at| clock.to_instant(at)),
    };
    let owed = QueuedDelivery {
        number: row.try_get::<i64, _>("number")? as u64,
        message: Arc::new(message),
        qos: qos(row.try_get("qos")?),
        retain: row.try_get("retain")?,
        identifiers: identifiers
            .chunks_exact(4)
            .map(|four| u32::from_be_bytes([four[0], four[1], four[2], four[3]]))
            .collect(),
        share: share.map(Into::into),
    };
    let phase = if row.try_get("released")? { DeliveryPhase::Released } else { DeliveryPhase::Sent };
    let packet_id: Option<i64> = row.try_get("packet_id")?;
    Ok((owed, packet_id.map(|packet_id| (packet_id as u16, phase))))
}

fn stored_retained(row: &SqliteRow, clock: LivedClock) -> Result<BrokerMessage, sqlx::Error> {
    let topic: String = row.try_get("topic")?;
    let (payload, properties): (Vec<u8>, Vec<u8>) = (row.try_get("payload")?, row.try_get("properties")?);
    Ok(BrokerMessage {
        topic: topic.into(),
        payload: payload.into(),
        qos: qos(row.try_get("qos")?),
        retain: true,
        properties: properties.into(),
        expires: row.try_get::<Option<i64>, _>("expires_at")?.map(|at| clock.to_instant(at)),
    })
}
