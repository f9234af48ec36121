//! Pauses between attempts: from a quarter of a second, doubling up to half a minute, with jitter.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(30);

/// How long to wait before the next attempt.
#[derive(Debug)]
pub(crate) struct RestartDelay(Duration);

impl RestartDelay {
    /// Starts with the shortest pause.
    #[must_use]
    pub(crate) fn new() -> Self {
        RestartDelay(FIRST)
    }

    /// It worked: the next trouble starts with the shortest pause again.
    pub(crate) fn reset(&mut self) {
        self.0 = FIRST;
    }

    /// Waits, longer each time.
    pub(crate) async fn pause(&mut self) {
        tokio::time::sleep(self.next(fastrand::f64())).await;
    }

    fn next(&mut self, chance: f64) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST);
        pause.mul_f64(0.75 + chance / 2.0)
    }
}

impl Default for RestartDelay {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_half_a_minute_and_start_over_after_a_success() {
        let mut pace = RestartDelay::new();
        let pauses: Vec<Duration> = (0..9).map(|_| pace.next(0.5)).collect();
        assert_eq!(pauses[0], FIRST);
        assert_eq!(pauses[1], FIRST * 2);
        assert_eq!(pauses[8], LONGEST);
        pace.reset();
        assert_eq!(pace.next(0.5), FIRST);
    }
}
