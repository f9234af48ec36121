//! Opening the store, also when what is there is damaged.

use super::{RestoredState, SessionStore};
use hearthgate_files::{is_damage_code, set_database_aside};
use std::path::Path;
use tracing::error;

/// Opens the store in this folder and reads what it holds. One that is damaged keeps nobody out: it is set aside.
pub(crate) async fn open(folder: &Path) -> Result<(SessionStore, RestoredState), sqlx::Error> {
    std::fs::create_dir_all(folder).map_err(sqlx::Error::Io)?;
    let file = folder.join("broker.sqlite");
    match read(&file).await {
        Err(reason) if is_damage(&reason) => {
            let aside = set_database_aside(&file).map_err(sqlx::Error::Io)?;
            let (path, kept) = (file.display(), aside.display());
            error!(%path, %reason, %kept, "the broker's store is damaged: sessions and retained messages are forgotten");
            read(&file).await
        }
        opened => opened,
    }
}

async fn read(file: &Path) -> Result<(SessionStore, RestoredState), sqlx::Error> {
    let mut store = SessionStore::open(file).await?;
    let restored = store.load().await?;
    Ok((store, restored))
}

fn is_damage(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| is_damage_code(&code))
}
