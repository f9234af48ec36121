//! Which database this is, also after it was moved or renamed.

use super::Database;
use super::error::{DatabaseError, ErrorContext as _};
use super::pools::{ConnectionPools, on_pool};
use uuid::Uuid;

const READ: &str = "SELECT value FROM hearthgate_meta WHERE name = 'database_id'";

impl Database {
    /// Its identity, made when it is asked for the first time; a backup that is put back has the same. `None` where there
    /// is no table of ours to keep it in.
    ///
    /// # Errors
    /// The database fails.
    pub async fn identity(&self) -> Result<Option<String>, DatabaseError> {
        if self.layout.is_guest() {
            return Ok(None);
        }
        let attempted = || format!("read the identity of {}", self.label());
        if let Some(known) = self.read_identity().await.attempted(attempted())? {
            return Ok(Some(known));
        }
        let new = Uuid::now_v7().to_string();
        let insert = match &self.inner.pools {
            ConnectionPools::Sqlite { .. } => {
                "INSERT OR IGNORE INTO hearthgate_meta (name, value) VALUES ('database_id', ?)"
            }
            ConnectionPools::MySql(_) => "INSERT IGNORE INTO hearthgate_meta (name, value) VALUES ('database_id', ?)",
            ConnectionPools::Postgres(_) => {
                "INSERT INTO hearthgate_meta (name, value) VALUES ('database_id', $1) ON CONFLICT DO NOTHING"
            }
        };
        on_pool!(&self.inner.pools, pool => sqlx::query(insert).bind(&new).execute(pool).await.map(drop))
            .attempted(format!("give {} an identity", self.label()))?;
        // Another gateway may have been first.
        self.read_identity().await.attempted(attempted())
    }

    async fn read_identity(&self) -> Result<Option<String>, sqlx::Error> {
        let found: Option<(String,)> =
            on_pool!(&self.inner.pools, pool => sqlx::query_as(READ).fetch_optional(pool).await)?;
        Ok(found.map(|(value,)| value))
    }
}
