//! The log's level, which can be another one for some time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use std::{io, thread};
use tracing::{info, warn};
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// Why the log keeps its level.
#[derive(Debug, thiserror::Error)]
pub enum LogLevelError {
    /// A word is no level. As a directive it would be for a module of that name, and silence all others.
    #[error("\"{word}\" is no level; use error, warn, info, debug, trace or off")]
    Unknown {
        /// The word.
        word: String,
    },
    /// A directive for a module has another form.
    #[error("\"{level}\": {source}")]
    Directive {
        /// The whole level.
        level: String,
        /// What the log's filter says.
        source: ParseError,
    },
    /// The log's filter is gone.
    #[error(transparent)]
    Reload(#[from] reload::Error),
    /// Nobody could wait for its end.
    #[error("the level would never end: no thread for it: {0}")]
    NoThread(io::Error),
}

/// Clones are the same level.
#[derive(Clone)]
pub struct LevelControl(Arc<Inner>);

struct Inner {
    filter: reload::Handle<EnvFilter, Registry>,
    configured: String,
    state: Mutex<State>,
}

struct State {
    level: String,
    until: Option<SystemTime>,
    /// Rises with each change, so that the end of an earlier one is not taken for the end of this one.
    generation: u64,
    waiting: Option<thread::Thread>,
}

impl LevelControl {
    pub(super) fn new(filter: reload::Handle<EnvFilter, Registry>, configured: String) -> Self {
        let state = State { level: configured.clone(), until: None, generation: 0, waiting: None };
        LevelControl(Arc::new(Inner { filter, configured, state: Mutex::new(state) }))
    }

    /// What is configured.
    #[must_use]
    pub fn configured(&self) -> &str {
        &self.0.configured
    }

    /// What is in force, and until when if it is not what is configured.
    #[must_use]
    pub fn now(&self) -> (String, Option<SystemTime>) {
        let state = self.0.lock();
        (state.level.clone(), state.until)
    }

    /// Another level for this time; without any, what is configured again.
    ///
    /// # Errors
    /// It is no level, or would never end.
    pub fn set(&self, level: &str, time: Duration) -> Result<(), LogLevelError> {
        let wanted = if time.is_zero() { &self.0.configured } else { level };
        check_level(wanted)?;
        let mut state = self.0.lock();
        self.0.apply(wanted)?;
        wanted.clone_into(&mut state.level);
        state.generation += 1;
        state.until = (!time.is_zero()).then(|| SystemTime::now() + time);
        if let Some(earlier) = state.waiting.take() {
            earlier.unpark();
        }
        if !time.is_zero() {
            let (inner, generation) = (Arc::clone(&self.0), state.generation);
            let end = move || inner.end(generation, Instant::now() + time);
            let spawned = thread::Builder::new().name("log-level".into()).spawn(end);
            let spawned = spawned.map_err(LogLevelError::NoThread)?;
            state.waiting = Some(spawned.thread().clone());
        }
        Ok(())
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, level: &str) -> Result<(), LogLevelError> {
        let text = format!("{level},{}", super::QUIET);
        let filter = EnvFilter::builder().parse(&text);
        let filter = filter.map_err(|source| LogLevelError::Directive { level: level.to_owned(), source })?;
        Ok(self.filter.reload(filter)?)
    }

    /// Waits for the end of a change, unless there is another one before.
    fn end(&self, generation: u64, at: Instant) {
        loop {
            let mut state = self.lock();
            if state.generation != generation {
                return;
            }
            let left = at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.level.clone_from(&self.configured);
                (state.until, state.waiting) = (None, None);
                drop(state);
                return match self.apply(&self.configured) {
                    Ok(()) => info!(level = %self.configured, "the log's level is as configured again"),
                    Err(reason) => warn!(%reason, "the log's level stays as it is"),
                };
            }
            drop(state);
            thread::park_timeout(left);
        }
    }
}

/// Checks the words of a level.
///
/// # Errors
/// [`LogLevelError::Unknown`].
pub fn check_level(level: &str) -> Result<(), LogLevelError> {
    for directive in level.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
        let is_word = !directive.contains(['=', '[', ':']);
        if is_word && directive.parse::<tracing_subscriber::filter::LevelFilter>().is_err() {
            return Err(LogLevelError::Unknown { word: directive.to_owned() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn a_level_ends_by_itself_and_a_wrong_one_changes_nothing() {
        let (filter, handle) = reload::Layer::new(EnvFilter::new("info"));
        let _registry = tracing_subscriber::registry().with(filter);
        let level = LevelControl::new(handle, "info".into());
        assert!(level.set("verbose", Duration::from_secs(60)).is_err());
        assert_eq!(level.now(), ("info".into(), None));
        level.set("debug", Duration::from_secs(600)).unwrap();
        assert!(level.now().0 == "debug" && level.now().1.is_some());
        level.set("trace", Duration::from_millis(1)).unwrap();
        while level.now().1.is_some() {
            thread::yield_now();
        }
        assert_eq!(level.now().0, "info");
        level.set("debug", Duration::from_secs(600)).unwrap();
        level.set("", Duration::ZERO).unwrap();
        assert_eq!(level.now(), ("info".into(), None));
    }
}
