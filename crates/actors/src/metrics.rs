//! The counters of the hot path, resolved once and then one atomic addition each. Labels are bounded: flow, interface,
//! outcome, never a topic or a device.

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountedOutcome {
    /// As it should.
    Ok,
    /// Bad data.
    Refused,
    /// Our own message came back.
    Echo,
    /// Without a payload: a retained message was removed.
    Empty,
    /// Recognised as delivered before.
    Redelivered,
    /// Kept back by the flows' `on_change`, `min_interval` or rule for retained messages.
    KeptBack,
    /// Passed over by the flows' options `when`, `each` and `unfit`.
    Skipped,
    /// Lost to a bound, by configuration.
    Dropped,
    /// To be tried again.
    Retried,
    /// Given up: a dead letter.
    Dead,
}

impl CountedOutcome {
    fn label(self) -> &'static str {
        match self {
            CountedOutcome::Ok => "ok",
            CountedOutcome::Refused => "refused",
            CountedOutcome::Echo => "echo",
            CountedOutcome::Empty => "empty",
            CountedOutcome::Redelivered => "redelivered",
            CountedOutcome::KeptBack => "kept_back",
            CountedOutcome::Skipped => "skipped",
            CountedOutcome::Dropped => "dropped",
            CountedOutcome::Retried => "retried",
            CountedOutcome::Dead => "dead",
        }
    }
}

/// How many devices of a flow are silent.
pub(crate) fn show_silent_devices(flow: &str, count: usize) {
    metrics::gauge!("hearthgate_flow_silent_devices", "flow" => flow.to_owned()).set(count as f64);
}

/// A counter that only rises.
#[derive(Clone)]
pub struct MetricCounter(metrics::Counter);

impl MetricCounter {
    /// Messages for an interface.
    #[must_use]
    pub fn received(interface: &str, outcome: CountedOutcome) -> Self {
        let labels = [("interface", interface.to_owned()), ("outcome", outcome.label().to_owned())];
        MetricCounter(metrics::counter!("hearthgate_interface_received_messages_total", &labels))
    }

    /// Messages from an interface.
    #[must_use]
    pub fn emitted(interface: &str, outcome: CountedOutcome) -> Self {
        let labels = [("interface", interface.to_owned()), ("outcome", outcome.label().to_owned())];
        MetricCounter(metrics::counter!("hearthgate_interface_emitted_messages_total", &labels))
    }

    /// What a driver counts.
    #[must_use]
    pub fn driver(interface: &str, what: &'static str) -> Self {
        let labels = [("interface", interface.to_owned()), ("outcome", what.to_owned())];
        MetricCounter(metrics::counter!("hearthgate_interface_events_total", &labels))
    }

    /// Messages at the journal.
    #[must_use]
    pub fn journal(outcome: CountedOutcome) -> Self {
        MetricCounter(metrics::counter!("hearthgate_journal_messages_total", "outcome" => outcome.label()))
    }

    /// Messages of a flow, written to the database.
    #[must_use]
    pub fn stored(flow: &str, outcome: CountedOutcome) -> Self {
        let labels = [("flow", flow.to_owned()), ("outcome", outcome.label().to_owned())];
        MetricCounter(metrics::counter!("hearthgate_flow_stored_messages_total", &labels))
    }

    /// Stored messages of a flow whose `event_time` could not be read.
    #[must_use]
    pub fn unreadable_times(flow: &str) -> Self {
        MetricCounter(metrics::counter!("hearthgate_flow_unreadable_event_times_total", "flow" => flow.to_owned()))
    }

    /// Messages of a flow, on their way to its endpoint.
    #[must_use]
    pub fn delivered(flow: &str, outcome: CountedOutcome) -> Self {
        let labels = [("flow", flow.to_owned()), ("outcome", outcome.label().to_owned())];
        MetricCounter(metrics::counter!("hearthgate_flow_delivered_messages_total", &labels))
    }

    /// What the embedded broker let go because of a bound.
    #[must_use]
    pub fn broker_losses(what: &'static str) -> Self {
        MetricCounter(metrics::counter!("hearthgate_broker_losses_total", "outcome" => what))
    }

    /// Counts `by` more.
    pub fn add(&self, by: u64) {
        if by > 0 {
            self.0.increment(by);
        }
    }
}
