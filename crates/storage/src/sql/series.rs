//! What flows stored, read for people: the newest values, and windows of time.

use super::Database;
use super::error::{DatabaseError, ErrorContext as _};
use super::pools::ConnectionPools;
use chrono::{DateTime, Utc};
use hearthgate_domain::delivery::UnixMicros;

/// The newest rows among which a flow's attributes are looked for: a table without an index is not read as a whole.
const NEWEST_ROWS: i64 = 50_000;
/// Attributes of a flow.
const MOST_ATTRIBUTES: i64 = 500;

/// The newest value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewestValue {
    /// The attribute's name.
    pub name: String,
    /// As it was stored.
    pub value: String,
    /// When its message came in.
    pub received_at: UnixMicros,
}

/// Which values.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesOf<'a> {
    /// The flow's code.
    pub flow_code: &'a str,
    /// The attribute's name.
    pub attribute: &'a str,
    /// From then on.
    pub from: DateTime<Utc>,
    /// Before then.
    pub to: DateTime<Utc>,
    /// So many windows, at least 1.
    pub windows: u32,
}

/// The values of a window. Those that are no numbers count, and are no part of the figures; `true` and `on` are 1, `false`
/// and `off` are 0.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesWindow {
    /// Its place, from 0.
    pub index: u32,
    /// How many values.
    pub count: u64,
    /// The least number.
    pub min: Option<f64>,
    /// The mean of the numbers.
    pub mean: Option<f64>,
    /// The greatest number.
    pub max: Option<f64>,
    /// The last value as it was stored.
    pub last: String,
}

/// An attribute and its newest row: name, value, when, as text or time of the database.
type NewestRow<T> = (String, String, T);
/// Window, count, least, mean, greatest, newest row.
type WindowRow = (i64, i64, Option<f64>, Option<f64>, Option<f64>, i64);

const SQLITE_NEWEST: &str = "SELECT CAST(attribute_name AS TEXT), CAST(attribute_value AS TEXT), CAST(received_at AS TEXT) \
    FROM data WHERE id IN (SELECT max(id) FROM (SELECT id, flow_code, attribute_name FROM data ORDER BY id DESC LIMIT ?) \
    WHERE flow_code = ? GROUP BY attribute_name) ORDER BY attribute_name LIMIT ?";
const MYSQL_NEWEST: &str = "SELECT CAST(d.attribute_name AS CHAR), CAST(d.attribute_value AS CHAR), d.received_at FROM data d \
    JOIN (SELECT max(n.id) AS id FROM (SELECT id, flow_code, attribute_name FROM data ORDER BY id DESC LIMIT ?) n \
    WHERE n.flow_code = ? GROUP BY n.attribute_name) newest ON newest.id = d.id ORDER BY d.attribute_name LIMIT ?";
const POSTGRES_NEWEST: &str = "SELECT attribute_name::text, attribute_value::text, received_at::timestamptz FROM data \
    WHERE id IN (SELECT max(id) FROM (SELECT id, flow_code, attribute_name FROM data ORDER BY id DESC LIMIT $1) newest \
    WHERE flow_code = $2 GROUP BY attribute_name) ORDER BY attribute_name LIMIT $3";

const SQLITE_SERIES: &str = "WITH v AS (SELECT id, CAST((unixepoch(received_at, 'subsec') - ?) / ? AS INTEGER) AS w, \
    CASE WHEN attribute_value GLOB '*[0-9]*' AND attribute_value NOT GLOB '*[^-+0-9.eE]*' THEN CAST(attribute_value AS REAL) \
    WHEN lower(attribute_value) IN ('true', 'on') THEN 1.0 WHEN lower(attribute_value) IN ('false', 'off') THEN 0.0 END AS n \
    FROM data WHERE flow_code = ? AND attribute_name = ? AND received_at >= ? AND received_at < ?) \
    SELECT w, count(*), min(n), avg(n), max(n), max(id) FROM v GROUP BY w ORDER BY w";
const MYSQL_SERIES: &str = "SELECT w, count(*), min(n), avg(n), max(n), max(id) FROM (SELECT CAST(id AS SIGNED) AS id, \
    CAST(FLOOR(TIMESTAMPDIFF(MICROSECOND, ?, received_at) / ?) AS SIGNED) AS w, \
    CASE WHEN attribute_value REGEXP '^[-+]?[0-9]+([.][0-9]*)?([eE][-+]?[0-9]+)?$' THEN attribute_value + 0e0 \
    WHEN lower(attribute_value) IN ('true', 'on') THEN 1e0 WHEN lower(attribute_value) IN ('false', 'off') THEN 0e0 END AS n \
    FROM data WHERE flow_code = ? AND attribute_name = ? AND received_at >= ? AND received_at < ?) v GROUP BY w ORDER BY w";
const POSTGRES_SERIES: &str = "SELECT w, count(*), min(n), avg(n), max(n), max(id) FROM (SELECT id::bigint, \
    floor(extract(epoch FROM received_at::timestamptz - $1) / $2)::bigint AS w, \
    CASE WHEN attribute_value ~ '^[-+]?[0-9]+([.][0-9]*)?([eE][-+]?[0-9]+)?$' THEN attribute_value::float8 \
    WHEN lower(attribute_value) IN ('true', 'on') THEN 1 WHEN lower(attribute_value) IN ('false', 'off') THEN 0 END AS n \
    FROM data WHERE flow_code = $3 AND attribute_name = $4 AND received_at >= $5 AND received_at < $6) v GROUP BY w ORDER BY w";

impl Database {
    /// The attributes that a flow stored among the newest rows, by name, with their newest values.
    ///
    /// # Errors
    /// The database fails.
    pub async fn newest_values(&self, flow_code: &str) -> Result<Vec<NewestValue>, DatabaseError> {
        let attempted = || format!("read the newest values from {}", self.label());
        let rows: Vec<NewestRow<DateTime<Utc>>> = match &self.inner.pools {
            ConnectionPools::Sqlite { read, .. } => {
                let query = sqlx::query_as(SQLITE_NEWEST).bind(NEWEST_ROWS).bind(flow_code).bind(MOST_ATTRIBUTES);
                let rows: Vec<NewestRow<String>> = query.fetch_all(read).await.attempted(attempted())?;
                let parsed = rows.into_iter().map(|(name, value, at)| (name, value, parsed(&at)));
                return Ok(parsed.map(newest).collect());
            }
            ConnectionPools::MySql(pool) => {
                let query = sqlx::query_as(MYSQL_NEWEST).bind(NEWEST_ROWS).bind(flow_code).bind(MOST_ATTRIBUTES);
                let rows: Vec<NewestRow<chrono::NaiveDateTime>> = query.fetch_all(pool).await.attempted(attempted())?;
                rows.into_iter().map(|(name, value, at)| (name, value, at.and_utc())).collect()
            }
            ConnectionPools::Postgres(pool) => {
                let query = sqlx::query_as(POSTGRES_NEWEST).bind(NEWEST_ROWS).bind(flow_code).bind(MOST_ATTRIBUTES);
                query.fetch_all(pool).await.attempted(attempted())?
            }
        };
        Ok(rows.into_iter().map(newest).collect())
    }

    /// An attribute's values by windows of time; those that have none are left out.
    ///
    /// # Errors
    /// The database fails.
    pub async fn series(&self, of: &SeriesOf<'_>) -> Result<Vec<SeriesWindow>, DatabaseError> {
        let SeriesOf { flow_code, attribute, from, to, windows } = of;
        let micros = (*to - *from).num_microseconds().unwrap_or(i64::MAX).max(1);
        let seconds = micros as f64 / 1e6 / f64::from((*windows).max(1));
        let rows: Result<Vec<WindowRow>, sqlx::Error> = match &self.inner.pools {
            ConnectionPools::Sqlite { read, .. } => {
                sqlx::query_as(SQLITE_SERIES)
                    .bind(from.timestamp_micros() as f64 / 1e6)
                    .bind(seconds)
                    .bind(flow_code)
                    .bind(attribute)
                    .bind(text(from))
                    .bind(text(to))
                    .fetch_all(read)
                    .await
            }
            ConnectionPools::MySql(pool) => {
                sqlx::query_as(MYSQL_SERIES)
                    .bind(from.naive_utc())
                    .bind(seconds * 1e6)
                    .bind(flow_code)
                    .bind(attribute)
                    .bind(from.naive_utc())
                    .bind(to.naive_utc())
                    .fetch_all(pool)
                    .await
            }
            ConnectionPools::Postgres(pool) => {
                sqlx::query_as(POSTGRES_SERIES)
                    .bind(from)
                    .bind(seconds)
                    .bind(flow_code)
                    .bind(attribute)
                    .bind(from)
                    .bind(to)
                    .fetch_all(pool)
                    .await
            }
        };
        let rows = rows.attempted(format!("read stored values from {}", self.label()))?;
        let last = self.values_of(&rows.iter().map(|row| row.5).collect::<Vec<_>>()).await?;
        let window = |(index, count, min, mean, max, id): WindowRow| SeriesWindow {
            index: u32::try_from(index).unwrap_or_default().min(windows.saturating_sub(1)),
            count: count.unsigned_abs(),
            min,
            mean,
            max,
            last: last.iter().find(|(known, _)| *known == id).map(|(_, value)| value.clone()).unwrap_or_default(),
        };
        Ok(rows.into_iter().map(window).collect())
    }

    /// The values of these rows.
    async fn values_of(&self, ids: &[i64]) -> Result<Vec<(i64, String)>, DatabaseError> {
        let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let list = ids.join(",");
        let (id, value) = match &self.inner.pools {
            ConnectionPools::Sqlite { .. } => ("id", "CAST(attribute_value AS TEXT)"),
            ConnectionPools::MySql(_) => ("CAST(id AS SIGNED)", "CAST(attribute_value AS CHAR)"),
            ConnectionPools::Postgres(_) => ("id::bigint", "attribute_value::text"),
        };
        let query = sqlx::AssertSqlSafe(format!("SELECT {id}, {value} FROM data WHERE id IN ({list})"));
        match &self.inner.pools {
            ConnectionPools::Sqlite { read, .. } => sqlx::query_as(query).fetch_all(read).await,
            ConnectionPools::MySql(pool) => sqlx::query_as(query).fetch_all(pool).await,
            ConnectionPools::Postgres(pool) => sqlx::query_as(query).fetch_all(pool).await,
        }
        .attempted(format!("read stored values from {}", self.label()))
    }
}

fn newest((name, value, at): NewestRow<DateTime<Utc>>) -> NewestValue {
    NewestValue { name, value, received_at: at.timestamp_micros() }
}

/// As SQLite has it in `received_at`.
fn text(at: &DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S%.6f").to_string()
}

fn parsed(text: &str) -> DateTime<Utc> {
    let time = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f");
    time.map(|time| time.and_utc()).unwrap_or_default()
}
