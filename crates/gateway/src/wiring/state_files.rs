//! The files in which the MQTT session's identity, and what is retained of us at the broker, outlive the process.

use hearthgate_actors::mqtt::SessionMemory;
use hearthgate_actors::operation::announced::AnnouncedMemory;
use hearthgate_files::{replace_file, set_aside};
use hearthgate_mqtt::session::{KnownBroker, is_same_owner};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use tracing::error;

/// Brokers that are remembered.
const BROKERS: usize = 8;

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptState {
    /// Our session with each broker, the last one first.
    pub(crate) brokers: Vec<KnownBroker>,
}

/// A file that holds [`KeptState`], replaced as a whole and synced.
pub(crate) struct SessionFile {
    path: PathBuf,
    kept: KeptState,
}

impl SessionFile {
    /// Reads the file; an absent one is empty, and so is one that is damaged, which is set aside.
    ///
    /// # Errors
    /// It is there and can not be read.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let kept = load(path, "messages that the broker sends again are taken for new ones")?;
        Ok(SessionFile { path: path.to_owned(), kept })
    }

    fn store(&self) -> Result<(), StateFileError> {
        replace(&self.path, &self.kept).map_err(|source| StateFileError { path: self.path.clone(), source })
    }
}

/// Why what is kept could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
struct StateFileError {
    path: PathBuf,
    source: io::Error,
}

/// What a file holds as JSON. One that is damaged keeps nobody down: it is set aside, and the log says what is forgotten.
fn load<T: DeserializeOwned + Default>(path: &Path, forgotten: &str) -> io::Result<T> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(T::default()),
        Err(error) => return Err(error),
    };
    serde_json::from_slice(&text).or_else(|reason| {
        let aside = set_aside(path)?;
        error!(path = %path.display(), %reason, kept = %aside.display(), "a state file is damaged: {forgotten}");
        Ok(T::default())
    })
}

/// Replaces a file by this as JSON.
fn replace(path: &Path, content: &impl Serialize) -> io::Result<()> {
    replace_file(path, &serde_json::to_vec(content)?)
}

/// A file of topics on which something of ours is retained. There is none where nothing ever was.
pub(crate) struct AnnouncedFile {
    path: PathBuf,
    topics: Vec<String>,
}

impl AnnouncedFile {
    /// Reads the file; an absent one is empty, and so is one that is damaged, which is set aside.
    ///
    /// # Errors
    /// It is there and can not be read.
    pub(crate) fn open(path: PathBuf) -> io::Result<Self> {
        let topics = load(&path, "what was announced to the broker and is no longer wanted stays there")?;
        Ok(AnnouncedFile { path, topics })
    }
}

impl AnnouncedMemory for AnnouncedFile {
    fn topics(&self) -> &[String] {
        &self.topics
    }

    fn announced(&mut self, topics: &[Arc<str>]) -> Result<(), String> {
        let mut topics: Vec<String> = topics.iter().map(|topic| topic.to_string()).collect();
        topics.sort();
        if topics == self.topics {
            return Ok(());
        }
        let stored = if topics.is_empty() { fs::remove_file(&self.path) } else { replace(&self.path, &topics) };
        stored.map_err(|source| StateFileError { path: self.path.clone(), source }.to_string())?;
        self.topics = topics;
        Ok(())
    }
}

/// Shared with whoever starts a session again: it must be told what the one before learned.
#[derive(Clone)]
pub(crate) struct SharedSessionFile(Rc<RefCell<SessionFile>>);

impl SharedSessionFile {
    pub(crate) fn new(file: SessionFile) -> Self {
        SharedSessionFile(Rc::new(RefCell::new(file)))
    }

    pub(crate) fn kept(&self) -> KeptState {
        self.0.borrow().kept.clone()
    }
}

impl SessionMemory for SharedSessionFile {
    fn session(&mut self, session: u64) -> Result<(), String> {
        let mut file = self.0.borrow_mut();
        let brokers = &mut file.kept.brokers;
        if brokers.first().is_some_and(|known| known.session == session) {
            return Ok(());
        }
        let known = brokers.iter().position(|known| is_same_owner(known.session, session));
        let filters = known.map(|index| brokers.remove(index).filters).unwrap_or_default();
        brokers.insert(0, KnownBroker { session, filters });
        brokers.truncate(BROKERS);
        file.store().map_err(|error| error.to_string())
    }

    fn subscribed(&mut self, filters: &[String]) -> Result<(), String> {
        let mut file = self.0.borrow_mut();
        match file.kept.brokers.first_mut() {
            Some(known) if known.filters != filters => known.filters = filters.to_vec(),
            _ => return Ok(()),
        }
        file.store().map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session.json");
        let mut file = SharedSessionFile::new(SessionFile::open(&path).unwrap());
        file.session(u64::MAX).unwrap();
        file.subscribed(&["a/#".into()]).unwrap();
        let first = KnownBroker { session: u64::MAX, filters: vec!["a/#".into()] };
        assert_eq!(SessionFile::open(&path).unwrap().kept.brokers, std::slice::from_ref(&first));
        file.session(1).unwrap();
        file.subscribed(&["b".into()]).unwrap();
        let second = KnownBroker { session: 1, filters: vec!["b".into()] };
        assert_eq!(SessionFile::open(&path).unwrap().kept.brokers, [second.clone(), first.clone()]);
        file.session(u64::MAX).unwrap();
        assert_eq!(SessionFile::open(&path).unwrap().kept.brokers, [first, second]);
    }

    #[test]
    fn announced_topics_are_remembered_until_none_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("announced.json");
        let mut file = AnnouncedFile::open(path.clone()).unwrap();
        assert!(file.topics().is_empty());
        file.announced(&["b".into(), "a".into()]).unwrap();
        let mut file = AnnouncedFile::open(path.clone()).unwrap();
        assert_eq!(file.topics(), ["a", "b"]);
        file.announced(&[]).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_damaged_file_is_an_error_and_not_a_new_session() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session.json");
        fs::write(&path, "{").unwrap();
        assert!(SessionFile::open(&path).unwrap().kept.brokers.is_empty());
        assert_eq!(fs::read_to_string(path.with_extension("json.damaged")).unwrap(), "{");
        assert!(!path.exists());
    }
}
