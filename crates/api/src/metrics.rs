//! Keeps what was counted through the `metrics` facade, and renders it in the Prometheus text form.
//!
//! Any crate counts with the facade alone: `metrics::counter!("hearthgate_…", "flow" => code)` once, at start, and then
//! `handle.increment(1)`, one atomic addition. A handle that was made before [`MetricStore::install`] counts nothing, for ever.

use metrics::atomics::AtomicU64;
use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tracing::error;

/// What every name begins with.
const PREFIX: &str = "hearthgate_";
/// The only labels there are: their values come from the configuration, so their number is bounded.
const LABELS: [&str; 4] = ["actor", "flow", "interface", "outcome"];
/// Upper bounds for names that end in `_seconds`: half a millisecond, a broker's round trip, to a minute.
const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Upper bounds for all others: sizes of batches, queues and messages.
const SIZES: &[f64] = &[1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0];

/// All series of the process. Clones are the same store.
#[derive(Clone, Debug, Default)]
pub struct MetricStore(Arc<RwLock<BTreeMap<String, Family>>>);

/// Something else records already.
#[derive(Debug, thiserror::Error)]
#[error("installing the metrics store: the process has one already")]
pub struct InstallError;

impl MetricStore {
    /// A store of its own, for tests: `metrics::with_local_recorder(&store, || …)`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a store and records everything in it from now on. First thing in `main`, before any handle is made.
    ///
    /// # Errors
    /// [`InstallError`] when called twice.
    pub fn install() -> Result<Self, InstallError> {
        let store = MetricStore::new();
        metrics::set_global_recorder(store.clone()).map_err(|_| InstallError)?;
        Ok(store)
    }

    /// The Prometheus text exposition format, version 0.0.4, sorted by name.
    pub fn render(&self) -> String {
        let mut text = String::with_capacity(4096);
        for (name, family) in self.read().iter() {
            family.render(&mut text, name);
        }
        text
    }

    /// The sum of a counter's series whose labels include all of these.
    pub fn total(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let families = self.read();
        let Some(Family { series: Series::Counters(cells), .. }) = families.get(name) else { return 0 };
        let wanted: Vec<String> = labels.iter().map(|(name, value)| label(name, value)).collect();
        let is_wanted = |text: &str| wanted.iter().all(|label| has_label(text, label));
        cells.iter().filter(|(text, _)| is_wanted(text)).map(|(_, cell)| cell.load(Ordering::Relaxed)).sum()
    }

    fn describe(&self, name: &KeyName, help: &SharedString) {
        self.write().entry(name.as_str().to_owned()).or_default().help = help.to_string();
    }

    /// The cell for `key`, made by `new` when it is not there yet; `None`, with a log line, when the key breaks the rules.
    fn cell<T>(
        &self,
        key: &Key,
        pick: impl FnOnce(&mut Series) -> Option<&mut BTreeMap<String, Arc<T>>>,
        new: impl FnOnce() -> T,
    ) -> Option<Arc<T>> {
        if let Some(complaint) = complaint(key) {
            error!(metric = key.name(), complaint, "metric is not recorded");
            return None;
        }
        let mut families = self.write();
        let family = families.entry(key.name().to_owned()).or_default();
        let Some(cells) = pick(&mut family.series) else {
            error!(metric = key.name(), "metric is not recorded: its name is in use for another type");
            return None;
        };
        Some(Arc::clone(cells.entry(labels(key)).or_insert_with(|| Arc::new(new()))))
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Family>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Family>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recorder for MetricStore {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&name, &help);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&name, &help);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&name, &help);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.cell(key, Series::counters, || AtomicU64::new(0)).map_or_else(Counter::noop, Counter::from_arc)
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.cell(key, Series::gauges, || AtomicU64::new(0)).map_or_else(Gauge::noop, Gauge::from_arc)
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let bounds = if key.name().ends_with("_seconds") { SECONDS } else { SIZES };
        self.cell(key, Series::histograms, || Buckets::new(bounds)).map_or_else(Histogram::noop, Histogram::from_arc)
    }
}

fn complaint(key: &Key) -> Option<String> {
    if !key.name().starts_with(PREFIX) {
        return Some(format!("names begin with {PREFIX}"));
    }
    let stranger = key.labels().find(|label| !LABELS.contains(&label.key()))?;
    Some(format!("{:?} is none of the labels {LABELS:?}", stranger.key()))
}

/// `flow="a",outcome="stored"`, in the order of the names, escaped as the format wants it.
fn labels(key: &Key) -> String {
    let mut labels: Vec<_> = key.labels().map(|label| (label.key(), label.value())).collect();
    labels.sort_unstable();
    labels.iter().map(|(name, value)| label(name, value)).collect::<Vec<_>>().join(",")
}

fn label(name: &str, value: &str) -> String {
    let escaped = value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
    format!("{name}=\"{escaped}\"")
}

/// Whether one of the labels is this one. A `"` within a value is escaped, so that none can look like a label's end.
fn has_label(text: &str, label: &str) -> bool {
    text.match_indices(label).any(|(at, _)| {
        let is_begin = at == 0 || text[..at].ends_with("\",");
        let rest = &text[at + label.len()..];
        is_begin && (rest.is_empty() || rest.starts_with(','))
    })
}

#[derive(Debug, Default)]
struct Family {
    help: String,
    series: Series,
}

#[derive(Debug, Default)]
enum Series {
    /// Described, and not counted yet.
    #[default]
    None,
    Counters(BTreeMap<String, Arc<AtomicU64>>),
    /// Bits of an `f64`.
    Gauges(BTreeMap<String, Arc<AtomicU64>>),
    Histograms(BTreeMap<String, Arc<Buckets>>),
}

impl Series {
    fn counters(&mut self) -> Option<&mut BTreeMap<String, Arc<AtomicU64>>> {
        if let Series::None = self {
            *self = Series::Counters(BTreeMap::new());
        }
        if let Series::Counters(cells) = self { Some(cells) } else { None }
    }

    fn gauges(&mut self) -> Option<&mut BTreeMap<String, Arc<AtomicU64>>> {
        if let Series::None = self {
            *self = Series::Gauges(BTreeMap::new());
        }
        if let Series::Gauges(cells) = self { Some(cells) } else { None }
    }

    fn histograms(&mut self) -> Option<&mut BTreeMap<String, Arc<Buckets>>> {
        if let Series::None = self {
            *self = Series::Histograms(BTreeMap::new());
        }
        if let Series::Histograms(cells) = self { Some(cells) } else { None }
    }
}

impl Family {
    fn render(&self, text: &mut String, name: &str) {
        let kind = match &self.series {
            Series::None => return,
            Series::Counters(_) => "counter",
            Series::Gauges(_) => "gauge",
            Series::Histograms(_) => "histogram",
        };
        head(text, name, kind, &self.help);
        match &self.series {
            Series::None => {}
            Series::Counters(cells) => {
                cells.iter().for_each(|(labels, cell)| sample(text, name, labels, cell.load(Ordering::Relaxed)));
            }
            Series::Gauges(cells) => {
                cells.iter().for_each(|(labels, cell)| {
                    sample(text, name, labels, f64::from_bits(cell.load(Ordering::Relaxed)))
                });
            }
            Series::Histograms(cells) => cells.iter().for_each(|(labels, cell)| cell.render(text, name, labels)),
        }
    }
}

pub(crate) fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    if !help.is_empty() {
        let help = help.replace('\\', r"\\").replace('\n', r"\n");
        let _ = writeln!(text, "# HELP {name} {help}");
    }
    let _ = writeln!(text, "# TYPE {name} {kind}");
}

pub(crate) fn sample(text: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = match labels {
        "" => writeln!(text, "{name} {value}"),
        _ => writeln!(text, "{name}{{{labels}}} {value}"),
    };
}

/// A histogram with fixed upper bounds; recording is two atomic additions.
#[derive(Debug)]
struct Buckets {
    bounds: &'static [f64],
    /// One for each bound, and one above them all; not cumulative.
    counts: Box<[AtomicU64]>,
    /// Bits of an `f64`.
    sum: AtomicU64,
}

impl Buckets {
    fn new(bounds: &'static [f64]) -> Self {
        Buckets { bounds, counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(), sum: AtomicU64::new(0) }
    }

    fn render(&self, text: &mut String, name: &str, labels: &str) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut below = 0;
        let bounds = self.bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (count, bound) in self.counts.iter().zip(bounds) {
            below += count.load(Ordering::Relaxed);
            sample(text, &format!("{name}_bucket"), &format!("{labels}{comma}le=\"{bound}\""), below);
        }
        sample(text, &format!("{name}_sum"), labels, f64::from_bits(self.sum.load(Ordering::Relaxed)));
        sample(text, &format!("{name}_count"), labels, below);
    }
}

impl HistogramFn for Buckets {
    fn record(&self, value: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        metrics::GaugeFn::increment(&self.sum, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics::{counter, describe_counter, gauge, histogram, with_local_recorder};

    #[test]
    fn counters_and_gauges_are_rendered_with_their_help_and_sorted_labels() {
        let store = MetricStore::new();
        with_local_recorder(&store, || {
            describe_counter!("hearthgate_stored_total", "messages stored,\nper flow");
            counter!("hearthgate_stored_total", "outcome" => "stored", "flow" => "AHT10").increment(2);
            counter!("hearthgate_stored_total", "flow" => "AHT10", "outcome" => "stored").increment(3);
            counter!("hearthgate_stored_total", "flow" => "odd \"\\\n", "outcome" => "refused").increment(1);
            gauge!("hearthgate_journal_bytes").set(4096.5);
            describe_counter!("hearthgate_never_total", "not counted yet");
        });
        let expected = r#"# TYPE hearthgate_journal_bytes gauge
hearthgate_journal_bytes 4096.5
# HELP hearthgate_stored_total messages stored,\nper flow
# TYPE hearthgate_stored_total counter
hearthgate_stored_total{flow="AHT10",outcome="stored"} 5
hearthgate_stored_total{flow="odd \"\\\n",outcome="refused"} 1
"#;
        assert_eq!(store.render(), expected);
    }

    #[test]
    fn a_histogram_counts_a_value_at_its_bound_and_everything_below_it() {
        let store = MetricStore::new();
        with_local_recorder(&store, || {
            let latency = histogram!("hearthgate_commit_seconds", "flow" => "a");
            [0.001, 0.002, 70.0].into_iter().for_each(|seconds| latency.record(seconds));
        });
        let text = store.render();
        for line in [
            "# TYPE hearthgate_commit_seconds histogram",
            "hearthgate_commit_seconds_bucket{flow=\"a\",le=\"0.0005\"} 0",
            "hearthgate_commit_seconds_bucket{flow=\"a\",le=\"0.001\"} 1",
            "hearthgate_commit_seconds_bucket{flow=\"a\",le=\"0.0025\"} 2",
            "hearthgate_commit_seconds_bucket{flow=\"a\",le=\"60\"} 2",
            "hearthgate_commit_seconds_bucket{flow=\"a\",le=\"+Inf\"} 3",
            "hearthgate_commit_seconds_sum{flow=\"a\"} 70.003",
            "hearthgate_commit_seconds_count{flow=\"a\"} 3",
        ] {
            assert!(text.lines().any(|shown| shown == line), "no {line} in\n{text}");
        }
    }

    #[test]
    fn a_foreign_name_a_topic_as_label_and_a_second_type_are_not_recorded() {
        let store = MetricStore::new();
        with_local_recorder(&store, || {
            counter!("stored_total").increment(1);
            counter!("hearthgate_seen_total", "topic" => "a/b").increment(1);
            counter!("hearthgate_one").increment(1);
            gauge!("hearthgate_one").set(7.0);
        });
        assert_eq!(store.render(), "# TYPE hearthgate_one counter\nhearthgate_one 1\n");
    }
}
