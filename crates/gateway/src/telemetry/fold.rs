//! Folds repeats: the same warning or error is logged once in a period, then counted.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt::{self, Write};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Target of the counts themselves, which are never folded.
const TARGET: &str = "hearthgate::repeats";

/// Different messages watched at once; beyond it they are logged unfolded.
const WATCHED: usize = 1000;

/// The layer that holds repeats back.
pub(super) struct FoldLayer {
    shared: Option<Arc<Shared>>,
}

/// The thread that logs the counts; dropping it logs what is left.
pub(super) struct FoldReporter {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    period: Duration,
    state: Mutex<State>,
    /// Wakes the reporter when there is a first repeat, and at the end.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    seen: HashMap<u64, Seen>,
    /// When the oldest repeat must be reported; `None`: nothing to report.
    due: Option<Instant>,
    ended: bool,
}

struct Seen {
    since: Instant,
    held_back: u64,
    level: Level,
    text: String,
}

impl FoldLayer {
    /// A layer, and the thread that goes with it. A zero `period` folds nothing.
    pub(super) fn new(period: Duration) -> (Self, Option<FoldReporter>) {
        if period.is_zero() {
            return (Self { shared: None }, None);
        }
        let shared = Arc::new(Shared { period, state: Mutex::default(), changed: Condvar::new() });
        let thread = std::thread::Builder::new().name("log-repeats".into()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.report()
        });
        match thread {
            Ok(thread) => {
                let reporter = FoldReporter { shared: Arc::clone(&shared), thread: Some(thread) };
                (Self { shared: Some(shared) }, Some(reporter))
            }
            // Without the thread nobody would tell the counts.
            Err(_) => (Self { shared: None }, None),
        }
    }
}

impl<S: Subscriber> Layer<S> for FoldLayer {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let Some(shared) = &self.shared else { return true };
        let metadata = event.metadata();
        if *metadata.level() > Level::WARN || metadata.target() == TARGET {
            return true;
        }
        let mut text = Text::default();
        event.record(&mut text);
        let mut hasher = DefaultHasher::new();
        (metadata.callsite(), &text.message, &text.fields).hash(&mut hasher);
        shared.is_first(hasher.finish(), *metadata.level(), text)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_first(&self, key: u64, level: Level, text: Text) -> bool {
        let now = Instant::now();
        let mut state = self.lock();
        if let Some(seen) = state.seen.get_mut(&key)
            && now.duration_since(seen.since) < self.period
        {
            seen.held_back += 1;
            let due = seen.since + self.period;
            if state.due.is_none() {
                state.due = Some(due);
                self.changed.notify_one();
            }
            return false;
        }
        if state.seen.len() >= WATCHED {
            let period = self.period;
            state.seen.retain(|_, seen| seen.held_back > 0 || now.duration_since(seen.since) < period);
        }
        let is_repeat_of_reported = state.seen.get(&key).is_some_and(|seen| seen.held_back > 0);
        if state.seen.len() < WATCHED && !is_repeat_of_reported {
            state.seen.insert(key, Seen { since: now, held_back: 0, level, text: text.into_line() });
        }
        true
    }

    /// Sleeps until something was held back for a whole period, then logs the counts.
    fn report(&self) {
        let mut state = self.lock();
        loop {
            let ended = state.ended;
            match state.due {
                None if ended => return,
                None => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
                Some(due) if !ended && due > Instant::now() => {
                    let left = due.saturating_duration_since(Instant::now());
                    state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
                    continue;
                }
                Some(_) => {}
            }
            let finished = self.take_finished(&mut state);
            drop(state);
            for seen in finished {
                log_count(&seen, self.period);
            }
            state = self.lock();
        }
    }

    fn take_finished(&self, state: &mut State) -> Vec<Seen> {
        let now = Instant::now();
        let all = state.ended;
        let finished: Vec<u64> = state
            .seen
            .iter()
            .filter(|(_, seen)| all || now.duration_since(seen.since) >= self.period)
            .map(|(key, _)| *key)
            .collect();
        let taken = finished.into_iter().filter_map(|key| state.seen.remove(&key)).filter(|seen| seen.held_back > 0);
        let taken = taken.collect();
        state.due = state.seen.values().filter(|seen| seen.held_back > 0).map(|seen| seen.since + self.period).min();
        taken
    }
}

fn log_count(seen: &Seen, period: Duration) {
    let took = seen.since.elapsed().min(period).as_secs_f64();
    let Seen { held_back, text, .. } = seen;
    if seen.level == Level::ERROR {
        tracing::error!(target: TARGET, "{text} … repeated {held_back} times in {took:.0} s");
    } else {
        tracing::warn!(target: TARGET, "{text} … repeated {held_back} times in {took:.0} s");
    }
}

impl Drop for FoldReporter {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic in there has nothing left to lose.
            drop(thread.join());
        }
    }
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn into_line(self) -> String {
        self.message + &self.fields
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String can't fail.
        let written = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
        debug_assert!(written.is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use tracing_subscriber::fmt::MakeWriter;
    use tracing_subscriber::layer::SubscriberExt;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Captured {
        type Writer = Self;
        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn logged(period: Duration, work: impl FnOnce()) -> Vec<String> {
        let captured = Captured::default();
        let (fold, reporter) = FoldLayer::new(period);
        let layer = tracing_subscriber::fmt::layer().with_ansi(false).without_time().with_writer(captured.clone());
        let subscriber = tracing_subscriber::registry().with(fold).with(layer);
        let dispatch = tracing::Dispatch::new(subscriber);
        tracing::dispatcher::with_default(&dispatch, work);
        // The reporter's thread logs to the process's subscriber; here its last report is made in this one.
        if let Some(reporter) = &reporter {
            let shared = Arc::clone(&reporter.shared);
            let finished = {
                let mut state = shared.lock();
                state.ended = true;
                shared.take_finished(&mut state)
            };
            tracing::dispatcher::with_default(&dispatch, || finished.iter().for_each(|seen| log_count(seen, period)));
        }
        let text = captured.0.lock().unwrap().clone();
        String::from_utf8(text).unwrap().lines().map(|line| line.trim().to_owned()).collect()
    }

    #[test]
    fn the_same_error_is_logged_once_and_then_counted() {
        let lines = logged(Duration::from_secs(60), || {
            for _ in 0..313 {
                tracing::error!(endpoint = "x", "no route");
            }
            tracing::error!(endpoint = "y", "no route");
        });
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0].contains("no route endpoint=\"x\""), "{lines:?}");
        assert!(lines[1].contains("endpoint=\"y\""), "{lines:?}");
        assert!(lines[2].contains("no route endpoint=\"x\" … repeated 312 times in"), "{lines:?}");
    }

    #[test]
    fn what_is_no_error_is_never_folded() {
        let lines = logged(Duration::from_secs(60), || (0..3).for_each(|_| tracing::info!("started")));
        assert_eq!(lines.len(), 3, "{lines:?}");
    }

    #[test]
    fn a_period_of_zero_folds_nothing() {
        let lines = logged(Duration::ZERO, || (0..3).for_each(|_| tracing::error!("no route")));
        assert_eq!(lines.len(), 3, "{lines:?}");
    }
}
