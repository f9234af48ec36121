//! The tables of the store, and how files of earlier versions get them.

use sqlx::{Connection, SqliteConnection};

const TABLES: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS sessions (number INTEGER PRIMARY KEY, id TEXT NOT NULL, user TEXT, \
     expiry INTEGER NOT NULL, left_at INTEGER)",
    "CREATE INDEX IF NOT EXISTS sessions_by_id ON sessions (id)",
    "CREATE TABLE IF NOT EXISTS subscriptions (session INTEGER NOT NULL, filter TEXT NOT NULL, \
     options INTEGER NOT NULL, identifier INTEGER, PRIMARY KEY (session, filter)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS pulls (session INTEGER NOT NULL, filter TEXT NOT NULL, \
     PRIMARY KEY (session, filter)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS received (session INTEGER NOT NULL, packet_id INTEGER NOT NULL, \
     PRIMARY KEY (session, packet_id)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS messages (number INTEGER PRIMARY KEY, session INTEGER NOT NULL, topic TEXT NOT NULL, \
     payload BLOB NOT NULL, published_qos INTEGER NOT NULL, qos INTEGER NOT NULL, published_retain INTEGER NOT NULL, \
     retain INTEGER NOT NULL, properties BLOB NOT NULL, expires_at INTEGER, identifiers BLOB NOT NULL, share TEXT, \
     packet_id INTEGER, released INTEGER NOT NULL)",
    "CREATE INDEX IF NOT EXISTS messages_of_session ON messages (session)",
    "CREATE TABLE IF NOT EXISTS retained (topic TEXT PRIMARY KEY, payload BLOB NOT NULL, qos INTEGER NOT NULL, \
     properties BLOB NOT NULL, expires_at INTEGER) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS wills (session INTEGER PRIMARY KEY, client_id TEXT NOT NULL, user TEXT, \
     topic TEXT NOT NULL, payload BLOB NOT NULL, qos INTEGER NOT NULL, retain INTEGER NOT NULL, \
     properties BLOB NOT NULL, delay INTEGER NOT NULL, expiry INTEGER, keep_alive INTEGER NOT NULL, due_at INTEGER)",
    "CREATE TABLE IF NOT EXISTS clock (id INTEGER PRIMARY KEY, boot TEXT NOT NULL, uptime INTEGER NOT NULL, \
     lived INTEGER NOT NULL)",
];

/// Makes what is not there yet.
pub(super) async fn prepare(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    free_client_ids(connection).await?;
    for statement in TABLES {
        sqlx::query(*statement).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Files of earlier versions allow one session for a client id; each user has client ids of its own now.
async fn free_client_ids(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let unique = "SELECT count(*) FROM pragma_index_list('sessions') WHERE origin = 'u'";
    let unique: i64 = sqlx::query_scalar(unique).fetch_one(&mut *connection).await?;
    if unique == 0 {
        return Ok(());
    }
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    for statement in [
        "CREATE TABLE sessions_of_users (number INTEGER PRIMARY KEY, id TEXT NOT NULL, user TEXT, \
         expiry INTEGER NOT NULL, left_at INTEGER)",
        "INSERT INTO sessions_of_users SELECT number, id, user, expiry, left_at FROM sessions",
        "DROP TABLE sessions",
        "ALTER TABLE sessions_of_users RENAME TO sessions",
    ] {
        sqlx::query(statement).execute(&mut *transaction).await?;
    }
    transaction.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sessions_of_a_file_that_allows_one_for_a_client_id_are_kept() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        for statement in [
            "CREATE TABLE sessions (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, user TEXT, \
             expiry INTEGER NOT NULL, left_at INTEGER)",
            "INSERT INTO sessions VALUES (7, 'device', 'bob', 60, 5)",
        ] {
            sqlx::query(statement).execute(&mut connection).await.unwrap();
        }
        prepare(&mut connection).await.unwrap();
        prepare(&mut connection).await.unwrap();
        let another = "INSERT INTO sessions VALUES (8, 'device', 'ann', 60, 5)";
        sqlx::query(another).execute(&mut connection).await.unwrap();
        let kept = "SELECT count(*) FROM sessions WHERE number = 7 AND user = 'bob' AND expiry = 60 AND left_at = 5";
        assert_eq!(sqlx::query_scalar::<_, i64>(kept).fetch_one(&mut connection).await.unwrap(), 1);
    }
}
