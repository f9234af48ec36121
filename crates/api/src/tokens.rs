//! Tokens beside that of the configuration: the command line makes and revokes them, the server obeys them.
//!
//! They are in one file of the state folder, as hashes. The server looks at the file's stamp with each request that shows a
//! token, so that a revoked one is refused at once, and both sides work without each other.

use crate::scope::AccessScope;
use crate::secrets::{hash, new_secret};
use chrono::{DateTime, Utc};
use hearthgate_files::replace_file;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tracing::warn;

const FILE: &str = "access-tokens.json";
/// So that a forgotten script does not fill the file.
const MOST_TOKENS: usize = 100;
/// Characters of a token's name.
const LONGEST_NAME: usize = 64;

/// A token, as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccessToken {
    /// Names it in lists, unique.
    pub name: String,
    /// What its bearer may do.
    pub scope: AccessScope,
    /// When it was made.
    pub since: DateTime<Utc>,
    /// SHA-256 of the token.
    hash: String,
}

/// A token could not be made, listed or revoked.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// The name cannot be used.
    #[error("a token's name has 1 to {LONGEST_NAME} characters, and no control characters")]
    BadName,
    /// The name is taken.
    #[error("there is a token {0:?} already; revoke it, or choose another name")]
    NameTaken(String),
    /// There is none of this name.
    #[error("there is no token {0:?}; `hearthgate token list` shows them")]
    Unknown(String),
    /// Too many.
    #[error("there are {MOST_TOKENS} tokens, and no more may be; revoke some")]
    TooMany,
    /// The file is there and is not one of ours.
    #[error("{0} is damaged; remove it, and make the tokens again")]
    Damaged(PathBuf, #[source] serde_json::Error),
    /// The file system failed.
    #[error("{action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The file of all tokens.
#[derive(Clone, Debug)]
pub struct TokenFile(PathBuf);

impl TokenFile {
    /// That of a state folder; it need not be there.
    #[must_use]
    pub fn in_folder(state_dir: &Path) -> Self {
        TokenFile(state_dir.join(FILE))
    }

    /// All tokens, the oldest first.
    ///
    /// # Errors
    /// See [`TokenFileError`].
    pub fn list(&self) -> Result<Vec<AccessToken>, TokenFileError> {
        match fs::read(&self.0) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| TokenFileError::Damaged(self.0.clone(), error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(self.failed("reading", error)),
        }
    }

    /// A new token; nobody can read it from the file again.
    ///
    /// # Errors
    /// See [`TokenFileError`].
    pub fn add(&self, name: &str, scope: AccessScope) -> Result<SecretString, TokenFileError> {
        if name.is_empty() || name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
            return Err(TokenFileError::BadName);
        }
        let _lock = self.lock()?;
        let mut tokens = self.list()?;
        if tokens.iter().any(|token| token.name == name) {
            return Err(TokenFileError::NameTaken(name.to_owned()));
        }
        if tokens.len() >= MOST_TOKENS {
            return Err(TokenFileError::TooMany);
        }
        let secret = new_secret().map_err(|error| self.failed("making a token for", error))?;
        tokens.push(AccessToken { name: name.to_owned(), scope, since: Utc::now(), hash: hash(secret.as_bytes()) });
        self.write(&tokens)?;
        Ok(secret.into())
    }

    /// Refuses a token from now on, and ends all logins with it.
    ///
    /// # Errors
    /// See [`TokenFileError`].
    pub fn revoke(&self, name: &str) -> Result<(), TokenFileError> {
        let _lock = self.lock()?;
        let mut tokens = self.list()?;
        let before = tokens.len();
        tokens.retain(|token| token.name != name);
        if tokens.len() == before {
            return Err(TokenFileError::Unknown(name.to_owned()));
        }
        self.write(&tokens)
    }

    fn write(&self, tokens: &[AccessToken]) -> Result<(), TokenFileError> {
        let bytes = serde_json::to_vec(tokens).map_err(|error| self.failed("writing", error.into()))?;
        replace_file(&self.0, &bytes).map_err(|error| self.failed("writing", error))
    }

    /// Two commands at once would lose what one of them wrote. Held until it is dropped.
    fn lock(&self) -> Result<File, TokenFileError> {
        let path = self.0.with_extension("lock");
        let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let locked = opened.and_then(|file| file.lock().map(|()| file));
        locked.map_err(|source| TokenFileError::Io { action: "locking", path, source })
    }

    fn failed(&self, action: &'static str, source: io::Error) -> TokenFileError {
        TokenFileError::Io { action, path: self.0.clone(), source }
    }

    /// Another one means another content.
    fn stamp(&self) -> Option<FileStamp> {
        let found = fs::metadata(&self.0).ok()?;
        Some((found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
    }
}

/// Inode, size, and time of the last change in seconds and nanoseconds.
type FileStamp = (u64, u64, i64, i64);

/// The tokens as the server knows them.
#[derive(Debug, Default)]
pub(crate) struct KnownTokens {
    file: Option<TokenFile>,
    read: Mutex<(Option<FileStamp>, Vec<AccessToken>)>,
}

impl KnownTokens {
    pub(crate) fn of(file: Option<TokenFile>) -> Self {
        KnownTokens { file, read: Mutex::default() }
    }

    /// What the bearer of the token with this hash may do. A file that cannot be read lets nobody in.
    pub(crate) fn scope_of(&self, hashed: &str) -> Option<AccessScope> {
        let file = self.file.as_ref()?;
        let stamp = file.stamp();
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.0 != stamp {
            let tokens = file.list().inspect_err(|error| warn!(%error, "no token of the list is obeyed"));
            *read = (stamp, tokens.unwrap_or_default());
        }
        read.1.iter().find(|token| token.hash == hashed).map(|token| token.scope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn a_token_is_obeyed_until_it_is_revoked_and_only_its_hash_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::in_folder(folder.path());
        let known = KnownTokens::of(Some(file.clone()));
        let scope = |token: &SecretString| known.scope_of(&hash(token.expose_secret().as_bytes()));
        let (reader, other) =
            (file.add("wall", AccessScope::Read).unwrap(), file.add("me", AccessScope::Admin).unwrap());
        assert_eq!((scope(&reader), scope(&other)), (Some(AccessScope::Read), Some(AccessScope::Admin)));
        assert!(!fs::read_to_string(&file.0).unwrap().contains(reader.expose_secret()));
        file.revoke("wall").unwrap();
        assert_eq!((scope(&reader), scope(&other)), (None, Some(AccessScope::Admin)));
        assert!(matches!(file.revoke("wall"), Err(TokenFileError::Unknown(_))));
        assert!(matches!(file.add("me", AccessScope::Read), Err(TokenFileError::NameTaken(_))));
        assert!(matches!(file.add("a\nb", AccessScope::Read), Err(TokenFileError::BadName)));
    }

    #[test]
    fn a_damaged_file_lets_nobody_in_and_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::in_folder(folder.path());
        let known = KnownTokens::of(Some(file.clone()));
        let token = file.add("me", AccessScope::Admin).unwrap();
        fs::write(&file.0, "[{").unwrap();
        assert_eq!(known.scope_of(&hash(token.expose_secret().as_bytes())), None);
        assert!(matches!(file.add("another", AccessScope::Read), Err(TokenFileError::Damaged(..))));
        assert_eq!(fs::read_to_string(&file.0).unwrap(), "[{");
    }
}
