//! The figures, as a table and as JSON.

use crate::{Plan, machine};
use serde_json::{Value, json};

/// One line of the table.
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) target: Option<Target>,
    pub(crate) rounds: Vec<Round>,
}

/// What is to be reached.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// This part of the limit of the same round.
    OfLimit(f64),
    /// No more than this.
    AtMost(f64),
}

/// What one round gave.
#[derive(Clone, Copy, Default)]
pub(crate) struct Round {
    pub(crate) value: f64,
    /// What a bare program made in the same round.
    pub(crate) limit: Option<f64>,
    /// Processor time of the gateway for 100,000 messages, in seconds.
    pub(crate) cpu_seconds: Option<f64>,
    pub(crate) peak_mb: Option<f64>,
}

impl Round {
    pub(crate) fn of(value: f64) -> Self {
        Round { value, ..Round::default() }
    }
}

/// Least, median, most.
struct Spread(f64, f64, f64);

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        Some(Spread(*values.first()?, values[values.len() / 2], *values.last()?))
    }

    fn shown(&self, digits: usize) -> String {
        format!("{:.digits$} ({:.digits$} to {:.digits$})", self.1, self.0, self.2)
    }
}

impl Figure {
    pub(crate) fn new(name: impl Into<String>, unit: &'static str, target: Option<Target>) -> Self {
        Figure { name: name.into(), unit, target, rounds: Vec::new() }
    }

    fn values(&self) -> Option<Spread> {
        Spread::of(self.rounds.iter().map(|round| round.value))
    }

    /// Each round against the limit of the same round.
    fn ratios(&self) -> Option<Spread> {
        Spread::of(self.rounds.iter().filter_map(|round| Some(round.value / round.limit?)))
    }

    fn holds(&self) -> Option<bool> {
        match self.target? {
            Target::OfLimit(part) => Some(self.ratios()?.1 >= part),
            Target::AtMost(most) => Some(self.values()?.1 <= most),
        }
    }

    /// For the terminal.
    pub(crate) fn line(&self) -> String {
        let digits = if self.values().is_some_and(|values| values.1 < 1_000.0) { 2 } else { 0 };
        let values = self.values().map_or(String::new(), |values| values.shown(digits));
        let ratios = self.ratios().map_or(String::new(), |ratios| ratios.shown(2));
        let target = match self.target {
            Some(Target::OfLimit(part)) => format!("≥ {part} of it"),
            Some(Target::AtMost(most)) => format!("≤ {most}"),
            None => String::new(),
        };
        let holds = match self.holds() {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "",
        };
        let median = |of: fn(&Round) -> Option<f64>, digits: usize| {
            Spread::of(self.rounds.iter().filter_map(of))
                .map_or(String::new(), |spread| format!("{:.digits$}", spread.1))
        };
        let (cpu, peak) = (median(|round| round.cpu_seconds, 2), median(|round| round.peak_mb, 1));
        let unit = self.unit;
        format!("{:<52} {values:>30} {unit:<5} {ratios:>21} {target:>12} {holds:<3} {cpu:>6} {peak:>6}", self.name)
    }

    fn to_json(&self) -> Value {
        let round = |round: &Round| {
            json!({ "value": round.value, "limit": round.limit,
                "cpu_seconds_100000": round.cpu_seconds, "peak_mb": round.peak_mb })
        };
        let target = match self.target {
            Some(Target::OfLimit(part)) => json!({ "of_limit": part }),
            Some(Target::AtMost(most)) => json!({ "at_most": most }),
            None => Value::Null,
        };
        json!({
            "name": self.name, "unit": self.unit, "target": target, "holds": self.holds(),
            "median": self.values().map(|values| values.1), "ratio": self.ratios().map(|ratios| ratios.1),
            "rounds": self.rounds.iter().map(round).collect::<Vec<_>>(),
        })
    }
}

/// All figures of a run of the benchmark.
pub(crate) struct Report {
    pub(crate) figures: Vec<Figure>,
    messages: u64,
    rounds: usize,
    payload: usize,
    /// Load averages and the others' share of the machine, noted before each round.
    busy: Vec<(f64, f64)>,
}

impl Report {
    pub(crate) fn new(plan: &Plan) -> Self {
        let (messages, rounds, payload) = (plan.messages, plan.rounds, plan.payload);
        Report { figures: Vec::new(), messages, rounds, payload, busy: Vec::new() }
    }

    /// Notes how busy the machine is while we do nothing.
    pub(crate) async fn note_machine(&mut self) {
        self.busy.push((machine::load(), machine::others().await));
    }

    #[expect(clippy::print_stdout, reason = "the table is this program's answer")]
    pub(crate) fn print(&self) {
        println!("{}", machine::describe());
        let Report { messages, rounds, payload, .. } = self;
        println!(
            "{messages} messages of {payload} bytes a run; median of {rounds} rounds (least to most); 1 MB = 1,000,000 bytes"
        );
        println!("before the rounds: {}", self.machine());
        println!(
            "{:<52} {:>30} {:<5} {:>21} {:>12} {:<3} {:>6} {:>6}",
            "", "", "", "of the limit", "to reach", "", "CPU s", "MB"
        );
        println!("{:<52} {:>30} {:<5} {:>21} {:>12} {:<3} {:>6} {:>6}", "", "", "", "", "", "", "/100k", "peak");
        for figure in &self.figures {
            println!("{}", figure.line());
        }
    }

    fn machine(&self) -> String {
        let loads = Spread::of(self.busy.iter().map(|(load, _)| *load));
        let others = Spread::of(self.busy.iter().map(|(_, others)| *others * 100.0));
        match (loads, others) {
            (Some(loads), Some(others)) => {
                format!("load average {}, others used {} % of the machine", loads.shown(1), others.shown(0))
            }
            _ => "nothing was measured".into(),
        }
    }

    pub(crate) fn to_json(&self) -> String {
        let busy: Vec<Value> =
            self.busy.iter().map(|(load, others)| json!({ "load": load, "others": others })).collect();
        let report = json!({
            "machine": machine::describe(), "messages": self.messages, "rounds": self.rounds,
            "payload_bytes": self.payload, "before_rounds": busy,
            "figures": self.figures.iter().map(Figure::to_json).collect::<Vec<_>>(),
        });
        format!("{report:#}\n")
    }
}
