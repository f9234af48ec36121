//! How long what a flow stores stays, and what outlives it.

use super::StoreTarget;
use super::options::{FlowOptions, RollupOption};
use crate::duration::BoundedDuration;
use crate::flow::problem::RowProblem;
use std::time::Duration;

/// Rollups of one flow.
const MOST_ROLLUPS: usize = 8;
/// The shortest window, and the shortest time that rows are kept.
const SHORTEST: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// How long what a flow stores stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryOptions {
    /// Rows that are older go; none: they stay for ever.
    pub retention: Option<Duration>,
    /// Windows that sum the rows up, the shortest first.
    pub rollups: Vec<RollupOption>,
}

impl HistoryOptions {
    pub(super) fn of(options: &FlowOptions, store: Option<&StoreTarget>) -> Result<Self, RowProblem> {
        let FlowOptions { retention, rollups, .. } = options;
        let given = [("options.retention", retention.is_some()), ("options.rollups", !rollups.is_empty())];
        if store.is_none()
            && let Some((field, _)) = given.into_iter().find(|(_, is_given)| *is_given)
        {
            return Err((field, "has no effect without the action STORE_DB".to_string()));
        }
        let retention = retention.map(BoundedDuration::duration);
        if retention.is_some_and(|retention| retention < SHORTEST) {
            return Err(("options.retention", "is at least 1m".to_string()));
        }
        if rollups.is_empty() {
            return Ok(HistoryOptions { retention, rollups: Vec::new() });
        }
        let refuse = |problem: String| Err(("options.rollups", problem));
        if store.is_none_or(|store| store.table.is_none()) {
            return refuse("sum up the flow's own table; name that with options.table".to_string());
        }
        if rollups.len() > MOST_ROLLUPS {
            return refuse(format!("there are {}; at most {MOST_ROLLUPS}", rollups.len()));
        }
        let mut sorted = rollups.clone();
        sorted.sort_by_key(|rollup| rollup.every);
        for (at, RollupOption { every, keep }) in sorted.iter().enumerate() {
            let length = every.duration();
            let whole = |long: Duration, short: Duration| long.as_millis().is_multiple_of(short.as_millis().max(1));
            if length < SHORTEST || !whole(length, SHORTEST) || !(whole(DAY, length) || whole(length, DAY)) {
                return refuse(format!(
                    "every {every}: a window is whole minutes that divide a day, such as 15m or 1h, or whole days"
                ));
            }
            if sorted[..at].iter().any(|other| other.every == *every) {
                return refuse(format!("every {every} stands there twice"));
            }
            if keep.is_some_and(|keep| keep < *every) {
                return refuse(format!("every {every}: keep must not be shorter than the window"));
            }
            if retention.is_some_and(|retention| retention < length) {
                return refuse(format!("every {every}: rows must be kept (options.retention) at least as long"));
            }
        }
        Ok(HistoryOptions { retention, rollups: sorted })
    }
}

#[cfg(test)]
mod tests {
    use crate::flow::{Flow, FlowRow};

    fn flow(options: &str) -> Result<Flow, String> {
        let row = FlowRow {
            code: "A".into(),
            topic: "a/{room}".into(),
            action: "STORE_DB".into(),
            payload_schema: r#"{"t": "float"}"#.into(),
            options: Some(options.into()),
            ..FlowRow::default()
        };
        Flow::compile(row).map_err(|error| error.to_string())
    }

    #[test]
    fn rollups_are_in_order_and_kept_for_years() {
        let flow =
            flow(r#"{"table": "a", "retention": "90d", "rollups": [{"every": "1d"}, {"every": "15m", "keep": "5y"}]}"#)
                .unwrap();
        let rollups: Vec<_> = flow.history.rollups.iter().map(|rollup| rollup.every.to_string()).collect();
        assert_eq!(rollups, ["15m", "1d"]);
        assert_eq!(flow.history.rollups[0].keep.unwrap().to_string(), "1825d");
        assert_eq!(flow.history.retention.unwrap().as_secs(), 90 * 86_400);
    }

    #[test]
    fn what_would_lose_readings_or_has_no_effect_is_refused() {
        for (options, word) in [
            (r#"{"retention": "5s"}"#, "at least 1m"),
            (r#"{"rollups": [{"every": "1h"}]}"#, "options.table"),
            (r#"{"table": "a", "rollups": [{"every": "7m"}]}"#, "divide a day"),
            (r#"{"table": "a", "rollups": [{"every": "36h"}]}"#, "divide a day"),
            (r#"{"table": "a", "rollups": [{"every": "1h"}, {"every": "60m"}]}"#, "twice"),
            (r#"{"table": "a", "retention": "1h", "rollups": [{"every": "1d"}]}"#, "at least as long"),
            (r#"{"table": "a", "rollups": [{"every": "1d", "keep": "1h"}]}"#, "shorter"),
        ] {
            let error = flow(options).unwrap_err();
            assert!(error.contains(word), "{options}: {error}");
        }
    }
}
