//! The time that the store counts in: milliseconds lived through.
//!
//! It begins with the wall clock's time and then goes on by itself, so no step of the wall clock lets anything expire.
//! Over a restart it goes on by the time since the machine started. Over a restart of the machine only what certainly
//! has passed counts: the time since that start. A session is then rather kept too long than not long enough.

use hearthgate_domain::delivery::unix_micros;
use sqlx::{Connection, Row, SqliteConnection};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// Names the time since the machine's last start.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Holds the time since then, that in which the machine slept included.
const UPTIME: &str = "/proc/uptime";

/// Time lived through, at a moment of this process.
#[derive(Clone, Copy, Debug)]
pub(super) struct LivedClock {
    instant: Instant,
    lived: i64,
}

/// The machine's own account of time.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Machine {
    /// Empty where it is not known.
    boot: String,
    /// Milliseconds since the start.
    uptime: i64,
}

impl Machine {
    fn read() -> Self {
        let boot = std::fs::read_to_string(BOOT_ID).map(|id| id.trim().to_owned()).unwrap_or_default();
        let uptime = std::fs::read_to_string(UPTIME).ok().and_then(|text| {
            let seconds: f64 = text.split_whitespace().next()?.parse().ok()?;
            i64::try_from(Duration::try_from_secs_f64(seconds).ok()?.as_millis()).ok()
        });
        Machine { boot, uptime: uptime.unwrap_or_default() }
    }

    /// What certainly has passed since another reading.
    fn passed_since(&self, then: &Machine) -> i64 {
        let is_same_start = !self.boot.is_empty() && self.boot == then.boot && self.uptime >= then.uptime;
        if is_same_start { self.uptime - then.uptime } else { self.uptime }
    }
}

impl LivedClock {
    /// Goes on where the file left off; a file without a clock has times of the wall clock.
    pub(super) async fn open(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let machine = Machine::read();
        let kept = sqlx::query("SELECT boot, uptime, lived FROM clock").fetch_optional(&mut *connection).await?;
        let is_new = kept.is_none();
        let lived = match kept {
            Some(row) => {
                let then = Machine { boot: row.try_get(0)?, uptime: row.try_get(1)? };
                row.try_get::<i64, _>(2)?.saturating_add(machine.passed_since(&then))
            }
            None => unix_micros(SystemTime::now()) / 1000,
        };
        let clock = LivedClock { instant: Instant::now(), lived };
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        if is_new {
            // Files of earlier versions have seconds there.
            sqlx::query("UPDATE sessions SET left_at = left_at * 1000").execute(&mut *transaction).await?;
        }
        clock.keep(&mut transaction).await?;
        transaction.commit().await?;
        Ok(clock)
    }

    /// The clock as it stands now.
    pub(super) fn now(self) -> Self {
        let instant = Instant::now();
        LivedClock { instant, lived: self.to_lived(instant) }
    }

    /// Notes how far it has come.
    pub(super) async fn keep(self, to: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let Machine { boot, uptime } = Machine::read();
        let lived = self.now().lived;
        let statement = "INSERT OR REPLACE INTO clock (id, boot, uptime, lived) VALUES (1, ?, ?, ?)";
        sqlx::query(statement).bind(boot).bind(uptime).bind(lived).execute(to).await?;
        Ok(())
    }

    pub(super) fn to_lived(self, at: Instant) -> i64 {
        let milliseconds = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let ahead = milliseconds(at.saturating_duration_since(self.instant));
        let behind = milliseconds(self.instant.saturating_duration_since(at));
        self.lived.saturating_add(ahead).saturating_sub(behind)
    }

    /// The moment of a time to come; now for one that has passed.
    pub(super) fn to_instant(self, lived: i64) -> Instant {
        self.instant + self.time_until(lived)
    }

    pub(super) fn time_until(self, lived: i64) -> Duration {
        // A limit that no timer overflows at.
        let most = Duration::from_secs(100 * 365 * 24 * 3600);
        Duration::from_millis(lived.saturating_sub(self.lived).max(0).unsigned_abs()).min(most)
    }

    pub(super) fn time_since(self, lived: i64) -> Duration {
        Duration::from_millis(self.lived.saturating_sub(lived).max(0).unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_certainly_has_passed_counts() {
        let at = |boot: &str, uptime| Machine { boot: boot.into(), uptime };
        assert_eq!(at("a", 900).passed_since(&at("a", 500)), 400);
        assert_eq!(at("b", 900).passed_since(&at("a", 500)), 900);
        assert_eq!(at("", 900).passed_since(&at("", 500)), 900);
        // A container whose uptime is its own.
        assert_eq!(at("a", 300).passed_since(&at("a", 500)), 300);
    }

    #[tokio::test]
    async fn a_step_of_the_wall_clock_over_a_restart_is_no_time_lived_through() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        super::super::schema::prepare(&mut connection).await.unwrap();
        let insert = "INSERT INTO sessions VALUES (7, 'device', NULL, 60, 1000)";
        sqlx::query(insert).execute(&mut connection).await.unwrap();
        let first = LivedClock::open(&mut connection).await.unwrap();
        let left: i64 = sqlx::query_scalar("SELECT left_at FROM sessions").fetch_one(&mut connection).await.unwrap();
        assert_eq!(left, 1_000_000, "seconds of an earlier version");
        // As if the wall clock had stood far ahead when the file was made.
        let ahead = 1_000_000_000_000;
        sqlx::query("UPDATE clock SET lived = lived + ?").bind(ahead).execute(&mut connection).await.unwrap();
        let second = LivedClock::open(&mut connection).await.unwrap();
        let passed = second.lived - first.lived - ahead;
        assert!((0..60_000).contains(&passed), "{passed}");
        assert_eq!(second.time_since(second.lived - 5_000), Duration::from_secs(5));
        assert_eq!(second.to_lived(second.to_instant(second.lived + 70)), second.lived + 70);
    }
}
