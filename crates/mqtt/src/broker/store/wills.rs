//! Wills that outlive the broker: a client whose connection ended with us gets its will published afterwards.

use super::clock::LivedClock;
use super::delta::StoreDelta;
use crate::broker::packets::connect::ConnectWill;
use crate::broker::state::session::ClientIdentity;
use crate::broker::store::kept_will::KeptWill;
use hearthgate_domain::delivery::QoS;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use std::time::Duration;

/// A will as it was kept.
#[derive(Debug)]
pub(crate) struct StoredWill {
    /// Number of its session.
    pub(crate) session: u64,
    pub(crate) identity: ClientIdentity,
    pub(crate) will: ConnectWill,
    pub(crate) keep_alive: u16,
    /// The time until it is to be published; `None` when its client was connected.
    pub(crate) remaining: Option<Duration>,
}

pub(super) async fn write(to: &mut SqliteConnection, delta: &StoreDelta, clock: LivedClock) -> Result<(), sqlx::Error> {
    for (session, kept) in &delta.wills {
        let query = match kept {
            Some(KeptWill { identity, will, keep_alive, due }) => {
                sqlx::query("INSERT OR REPLACE INTO wills VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
                    .bind(*session as i64)
                    .bind(&*identity.client_id)
                    .bind(identity.user.as_deref())
                    .bind(&*will.topic)
                    .bind(&*will.payload)
                    .bind(will.qos as i64)
                    .bind(will.retain)
                    .bind(&*will.properties)
                    .bind(i64::from(will.delay))
                    .bind(will.expiry.map(i64::from))
                    .bind(i64::from(*keep_alive))
                    .bind(due.map(|due| clock.to_lived(due)))
            }
            None => sqlx::query("DELETE FROM wills WHERE session = ?").bind(*session as i64),
        };
        query.execute(&mut *to).await?;
    }
    Ok(())
}

pub(super) async fn load(from: &mut SqliteConnection, clock: LivedClock) -> Result<Vec<StoredWill>, sqlx::Error> {
    let rows = sqlx::query("SELECT * FROM wills ORDER BY session").fetch_all(from).await?;
    rows.iter().map(|row| stored_will(row, clock)).collect()
}

fn stored_will(row: &SqliteRow, clock: LivedClock) -> Result<StoredWill, sqlx::Error> {
    let (client_id, user): (String, Option<String>) = (row.try_get("client_id")?, row.try_get("user")?);
    let will = ConnectWill {
        topic: row.try_get("topic")?,
        payload: row.try_get("payload")?,
        qos: crate::broker::store::wills::qos(row.try_get("qos")?),
        retain: row.try_get("retain")?,
        delay: row.try_get::<i64, _>("delay")? as u32,
        expiry: row.try_get::<Option<i64>, _>("expiry")?.map(|seconds| seconds as u32),
        properties: row.try_get("properties")?,
    };
    Ok(StoredWill {
        session: row.try_get::<i64, _>("session")? as u64,
        identity: ClientIdentity { user: user.map(Into::into), client_id: client_id.into() },
        will,
        keep_alive: row.try_get::<i64, _>("keep_alive")? as u16,
        remaining: row.try_get::<Option<i64>, _>("due_at")?.map(|due| clock.time_until(due)),
    })
}

pub(super) fn qos(stored: i64) -> QoS {
    u8::try_from(stored).ok().and_then(|level| QoS::try_from(level).ok()).unwrap_or_default()
}
