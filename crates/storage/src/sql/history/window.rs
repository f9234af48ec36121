//! What the readings of a window come to. Readings are taken in the order of their times, so that the same readings
//! always give the same bits.

use super::statement::WindowCell;
use hearthgate_domain::delivery::UnixMicros;

/// What is kept of a numeric column, in the order of its columns in a table of windows.
pub(crate) const NUMBER_COLUMNS: [&str; 7] = ["min", "max", "mean", "sum", "count", "first", "last"];
/// What is kept of a column with yes or no.
pub(crate) const TRUTH_COLUMN: &str = "share";

/// The numbers of one column in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NumberSummary {
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// All together.
    pub sum: f64,
    /// How many; zero: the rest means nothing.
    pub count: i64,
    /// The first in time.
    pub first: f64,
    /// The last in time.
    pub last: f64,
}

impl NumberSummary {
    pub(crate) fn add(&mut self, value: f64) {
        if self.count == 0 {
            *self = NumberSummary { min: value, max: value, sum: value, count: 1, first: value, last: value };
            return;
        }
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.sum += value;
        self.count += 1;
        self.last = value;
    }

    /// Takes in a window that lies behind this one.
    pub(crate) fn append(&mut self, later: &NumberSummary) {
        if self.count == 0 || later.count == 0 {
            if later.count > 0 {
                *self = *later;
            }
            return;
        }
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        self.sum += later.sum;
        self.count += later.count;
        self.last = later.last;
    }

    /// The mean.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }

    /// As the columns of a table of windows have it. What is no finite number can't be stored everywhere.
    pub(crate) fn values(&self) -> [Option<f64>; 7] {
        if self.count == 0 {
            return [None, None, None, None, Some(0.0), None, None];
        }
        let all = [self.min, self.max, self.mean(), self.sum, self.count as f64, self.first, self.last];
        all.map(|value| Some(value).filter(|value| value.is_finite()))
    }

    /// From the columns of a table of windows.
    pub(crate) fn read(cells: &[WindowCell]) -> Self {
        let value = |at: usize| cells.get(at).and_then(WindowCell::real);
        let count = value(4).unwrap_or(0.0) as i64;
        match (value(0), value(1)) {
            (Some(min), Some(max)) if count > 0 => NumberSummary {
                min,
                max,
                sum: value(3).unwrap_or(f64::INFINITY),
                count,
                first: value(5).unwrap_or(min),
                last: value(6).unwrap_or(max),
            },
            _ => NumberSummary::default(),
        }
    }
}

/// For how much of a window something was true: each reading holds until the next one, the last until the end.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BooleanSummary {
    /// Microseconds for which it was true.
    pub true_for: UnixMicros,
    /// Microseconds for which it is known.
    pub known_for: UnixMicros,
    open: Option<(UnixMicros, bool)>,
}

impl BooleanSummary {
    pub(crate) fn add(&mut self, at: UnixMicros, value: bool) {
        self.close(at);
        self.open = Some((at, value));
    }

    /// The last reading holds until here.
    pub(crate) fn close(&mut self, at: UnixMicros) {
        if let Some((since, value)) = self.open.take() {
            let held = at.saturating_sub(since).max(0);
            self.known_for += held;
            self.true_for += if value { held } else { 0 };
        }
    }

    /// A window whose share is known.
    pub(crate) fn of_share(share: Option<f64>, length: UnixMicros) -> Self {
        let Some(share) = share else { return BooleanSummary::default() };
        BooleanSummary { true_for: (share * length as f64).round() as UnixMicros, known_for: length, open: None }
    }

    pub(crate) fn append(&mut self, later: &BooleanSummary) {
        self.true_for += later.true_for;
        self.known_for += later.known_for;
    }

    /// The share of the known time; none when nothing is known.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        (self.known_for > 0).then(|| self.true_for as f64 / self.known_for as f64)
    }
}

/// What one column comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WindowSum {
    /// Of numbers.
    Numbers(NumberSummary),
    /// Of yes and no.
    Truth(BooleanSummary),
}

impl WindowSum {
    pub(crate) fn new(is_truth: bool) -> Self {
        if is_truth {
            WindowSum::Truth(BooleanSummary::default())
        } else {
            WindowSum::Numbers(NumberSummary::default())
        }
    }

    pub(crate) fn add(&mut self, at: UnixMicros, value: f64) {
        match self {
            WindowSum::Numbers(numbers) => numbers.add(value),
            WindowSum::Truth(truth) => truth.add(at, value != 0.0),
        }
    }

    pub(crate) fn close(&mut self, at: UnixMicros) {
        if let WindowSum::Truth(truth) = self {
            truth.close(at);
        }
    }

    pub(crate) fn append(&mut self, later: &WindowSum) {
        match (self, later) {
            (WindowSum::Numbers(numbers), WindowSum::Numbers(later)) => numbers.append(later),
            (WindowSum::Truth(truth), WindowSum::Truth(later)) => truth.append(later),
            (WindowSum::Numbers(_), WindowSum::Truth(_)) | (WindowSum::Truth(_), WindowSum::Numbers(_)) => {}
        }
    }

    pub(crate) fn values(&self) -> Vec<Option<f64>> {
        match self {
            WindowSum::Numbers(numbers) => numbers.values().to_vec(),
            WindowSum::Truth(truth) => vec![truth.share()],
        }
    }
}

/// The start of the window that a time lies in.
pub(crate) fn window_start(at: UnixMicros, length: UnixMicros) -> UnixMicros {
    at.div_euclid(length).saturating_mul(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_joined_are_as_if_they_were_taken_together() {
        let add = |values: &[f64]| {
            let mut numbers = NumberSummary::default();
            values.iter().for_each(|value| numbers.add(*value));
            numbers
        };
        let mut joined = add(&[3.0, 1.0]);
        joined.append(&add(&[]));
        joined.append(&add(&[8.0, 2.0]));
        assert_eq!(joined, add(&[3.0, 1.0, 8.0, 2.0]));
        assert_eq!((joined.first, joined.last, joined.mean()), (3.0, 2.0, 3.5));
        let cells: Vec<WindowCell> =
            joined.values().iter().map(|value| value.map_or(WindowCell::Null, WindowCell::Real)).collect();
        assert_eq!(NumberSummary::read(&cells), joined);
    }

    #[test]
    fn a_reading_of_yes_or_no_holds_until_the_next() {
        let mut truth = BooleanSummary::default();
        truth.add(100, true);
        truth.add(400, false);
        truth.close(500);
        assert_eq!(truth.share(), Some(0.75));
    }

    #[test]
    fn windows_begin_at_multiples_of_their_length_also_before_1970() {
        assert_eq!((window_start(1_799, 900), window_start(-1, 900)), (900, -900));
    }
}
