//! Folds repeats: a warning or an error that comes again is told the 1st, the 10th, the 100th time, and so on, once an hour
//! besides, and summed up when it has stopped.

use super::repeated_line::{LineText, RepeatCounts, RepeatedLine};
use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Target of the counts themselves, which are never folded.
pub(super) const TARGET: &str = "hearthgate::repeats";

/// Causes watched at once; beyond it they are logged unfolded.
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
    /// A cause that has not come for so long has ended.
    quiet: Duration,
    state: Mutex<State>,
    /// Wakes the reporter when there is something to tell or to wait for, and at the end.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    causes: HashMap<u64, RepeatCounts>,
    /// To be logged now.
    lines: Vec<RepeatedLine>,
    /// When the causes are to be looked at again; `None`: nothing is held back.
    due: Option<Instant>,
    ended: bool,
}

impl FoldLayer {
    /// A layer, and the thread that goes with it. With zero for `quiet` nothing is folded.
    pub(super) fn new(quiet: Duration) -> (Self, Option<FoldReporter>) {
        if quiet.is_zero() {
            return (Self { shared: None }, None);
        }
        let shared = Arc::new(Shared { quiet, state: Mutex::default(), changed: Condvar::new() });
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
        let text = LineText::of(event);
        let mut hasher = DefaultHasher::new();
        (metadata.callsite(), text.cause()).hash(&mut hasher);
        shared.is_first(hasher.finish(), *metadata.level(), text, Instant::now())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_first(&self, key: u64, level: Level, text: LineText, now: Instant) -> bool {
        let mut state = self.lock();
        let State { causes, lines, due, .. } = &mut *state;
        if let Some(counts) = causes.get_mut(&key)
            && !counts.has_ended(now, self.quiet)
        {
            let line = counts.repeat(now);
            let has_news = line.is_some() || due.is_none();
            lines.extend(line);
            due.get_or_insert(now + self.quiet);
            if has_news {
                self.changed.notify_one();
            }
            return false;
        }
        if let Some(ended) = causes.remove(&key) {
            lines.extend(ended.summary());
        }
        if causes.len() >= WATCHED {
            causes.retain(|_, counts| counts.is_held_back() || !counts.has_ended(now, self.quiet));
        }
        if causes.len() < WATCHED {
            causes.insert(key, RepeatCounts::begin(level, text.into_line(), now));
        }
        true
    }

    /// Logs what is to be told, until the end.
    fn report(&self) {
        let mut state = self.lock();
        loop {
            let lines = self.take_lines(&mut state, Instant::now());
            if !lines.is_empty() {
                drop(state);
                lines.iter().for_each(log_line);
                state = self.lock();
                continue;
            }
            if state.ended {
                return;
            }
            state = match state.due {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(due) => {
                    let left = due.saturating_duration_since(Instant::now());
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// What is to be told now: the counts that were reached, and those of causes that have ended or gone on for an hour.
    fn take_lines(&self, state: &mut State, now: Instant) -> Vec<RepeatedLine> {
        let mut lines = std::mem::take(&mut state.lines);
        let is_due = state.due.is_some_and(|due| due <= now);
        if !is_due && !state.ended {
            return lines;
        }
        let all = state.ended;
        let ended = state.causes.extract_if(|_, counts| all || counts.has_ended(now, self.quiet));
        lines.extend(ended.filter_map(|(_, counts)| counts.summary()));
        lines.extend(state.causes.values_mut().filter_map(|counts| counts.hourly(now)));
        state.due = state.causes.values().filter_map(|counts| counts.due(self.quiet)).min();
        lines
    }
}

fn log_line(line: &RepeatedLine) {
    if line.level == Level::ERROR {
        tracing::error!(target: TARGET, "{line}");
    } else {
        tracing::warn!(target: TARGET, "{line}");
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

    /// What `work` logs; what the reporter would is logged at its end.
    fn logged(quiet: Duration, work: impl FnOnce()) -> Vec<String> {
        let captured = Captured::default();
        let shared = Arc::new(Shared { quiet, state: Mutex::default(), changed: Condvar::new() });
        let fold = FoldLayer { shared: (!quiet.is_zero()).then(|| Arc::clone(&shared)) };
        let layer = tracing_subscriber::fmt::layer().with_ansi(false).without_time().with_writer(captured.clone());
        let subscriber = tracing_subscriber::registry().with(fold).with(layer);
        tracing::dispatcher::with_default(&tracing::Dispatch::new(subscriber), || {
            work();
            let mut state = shared.lock();
            state.ended = true;
            let lines = shared.take_lines(&mut state, Instant::now());
            drop(state);
            lines.iter().for_each(log_line);
        });
        let text = captured.0.lock().unwrap().clone();
        String::from_utf8(text).unwrap().lines().map(|line| line.trim().to_owned()).collect()
    }

    #[test]
    fn the_same_error_is_told_the_tenth_and_hundredth_time_and_at_its_end() {
        let lines = logged(Duration::from_secs(60), || {
            for _ in 0..313 {
                tracing::error!(endpoint = "x", "no route");
            }
            tracing::error!(endpoint = "y", "no route");
        });
        assert_eq!(lines.len(), 5, "{lines:?}");
        assert!(lines[0].ends_with("no route endpoint=\"x\""), "{lines:?}");
        for (line, count) in lines[2..].iter().zip([10, 100, 313]) {
            assert!(line.contains(&format!("no route endpoint=\"x\" … {count} times in")), "{lines:?}");
        }
    }

    #[test]
    fn attempts_and_topics_are_no_causes_of_their_own() {
        let lines = logged(Duration::from_secs(60), || {
            for attempt in 0..9 {
                tracing::warn!(attempt, topic = format!("in/{attempt}"), reason = "refused", "not delivered");
            }
        });
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(
            lines[1].contains("not delivered attempt=0 topic=\"in/0\" reason=\"refused\" … 9 times in"),
            "{lines:?}"
        );
    }

    #[test]
    fn what_flows_log_is_told_for_each_topic() {
        let lines = logged(Duration::from_secs(60), || {
            for place in 0..3 {
                tracing::warn!(topic = format!("in/{place}"), payload = "on", "message");
            }
        });
        assert_eq!(lines.len(), 3, "{lines:?}");
    }

    #[test]
    fn what_has_stopped_for_the_quiet_time_is_summed_up_and_begins_anew() {
        let quiet = Duration::from_secs(60);
        let shared = Shared { quiet, state: Mutex::default(), changed: Condvar::new() };
        let start = Instant::now();
        let is_first =
            |after: u64| shared.is_first(1, Level::ERROR, LineText::default(), start + Duration::from_secs(after));
        assert!(is_first(0) && !is_first(50) && !is_first(100));
        let told = |after: u64| {
            let lines = shared.take_lines(&mut shared.lock(), start + Duration::from_secs(after));
            lines.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(told(159), Vec::<String>::new());
        assert_eq!(told(160), [" … 3 times in 1 min 40 s"]);
        assert!(is_first(161));
    }

    #[test]
    fn what_goes_on_is_told_once_an_hour() {
        let shared = Shared { quiet: Duration::from_secs(60), state: Mutex::default(), changed: Condvar::new() };
        let start = Instant::now();
        let mut told = Vec::new();
        for minute in 0..=61 {
            let now = start + Duration::from_secs(50 * minute);
            shared.is_first(1, Level::WARN, LineText::default(), now);
            told.extend(shared.take_lines(&mut shared.lock(), now).iter().map(ToString::to_string));
        }
        assert_eq!(told, [" … 10 times in 7 min 30 s"]);
        for minute in 62..=85 {
            let now = start + Duration::from_secs(50 * minute);
            shared.is_first(1, Level::WARN, LineText::default(), now);
            told.extend(shared.take_lines(&mut shared.lock(), now).iter().map(ToString::to_string));
        }
        assert_eq!(told.len(), 2, "{told:?}");
    }

    #[test]
    fn what_is_no_error_is_never_folded() {
        let lines = logged(Duration::from_secs(60), || (0..3).for_each(|_| tracing::info!("started")));
        assert_eq!(lines.len(), 3, "{lines:?}");
    }

    #[test]
    fn without_a_quiet_time_nothing_is_folded() {
        let lines = logged(Duration::ZERO, || (0..3).for_each(|_| tracing::error!("no route")));
        assert_eq!(lines.len(), 3, "{lines:?}");
    }
}
