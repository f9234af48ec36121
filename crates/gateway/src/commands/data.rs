//! `data CODE`: what a flow has stored, summed up in windows.

use super::history::{flows, now, opened, unavailable};
use crate::cli::{DataArgs, DataFormat};
use crate::database::block_on;
use crate::exit::{CommandFailure, ExitStatus};
use chrono::{DateTime, SecondsFormat};
use hearthgate_settings::{DurationText, GatewaySettings};
use hearthgate_storage::sql::{DataAnswer, DataError, DataQuery, FlowHistory, WindowSum};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;

/// Rows of a chart.
const HEIGHT: usize = 12;
/// Columns of a chart.
const WIDTH: usize = 100;

/// Reads and shows.
///
/// # Errors
/// There is no such flow, or it has no such field, or the database can't be reached.
pub fn run(settings: &GatewaySettings, args: &DataArgs, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    let (answer, query) = block_on(async {
        let database = opened(settings).await?;
        let answer = async {
            let flows = flows(&database).await?;
            let flow = flows.iter().find(|flow| *flow.code == *args.code).ok_or_else(|| {
                let codes: Vec<&str> = flows.iter().map(|flow| &*flow.code).collect();
                CommandFailure::Usage(format!("there is no flow {}; there are {}", args.code, codes.join(", ")))
            })?;
            let history = FlowHistory::of(flow)
                .map_err(|error| CommandFailure::Refused(error.to_string()))?
                .ok_or_else(|| CommandFailure::Usage(format!("the flow {} stores nothing", args.code)))?;
            let now = now()?;
            let query = DataQuery {
                key: args.key.clone(),
                from: now.saturating_sub(micros(args.since)),
                to: now,
                every: args.every.map(micros),
                field: args.field.clone(),
            };
            let answer = database.read_data(&history, &query, now).await.map_err(|error| match error {
                DataError::Question(problem) => CommandFailure::Usage(problem),
                DataError::Database(error) => unavailable(error),
            })?;
            Ok((answer, query))
        }
        .await;
        database.close().await;
        answer
    })?;
    match args.format {
        DataFormat::Table => table(&answer, out)?,
        DataFormat::Csv => csv(&answer, out)?,
        DataFormat::Jsonl => jsonl(&answer, out)?,
        DataFormat::Chart => chart(&answer, &query, out)?,
    }
    Ok(ExitStatus::Ok)
}

fn micros(period: DurationText) -> i64 {
    i64::try_from(period.0.as_micros()).unwrap_or(i64::MAX)
}

fn time(at: i64) -> String {
    let time = DateTime::from_timestamp_micros(at);
    time.map_or_else(String::new, |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

fn table(answer: &DataAnswer, out: &mut dyn Write) -> anyhow::Result<()> {
    let width = answer.fields.keys().map(|name| name.chars().count()).max().unwrap_or(0).max(5);
    writeln!(
        out,
        "{:20}  {:width$}  {:>8}  {:>12}  {:>12}  {:>12}  {:>12}",
        "window (UTC)", "field", "count", "min", "mean", "max", "last"
    )?;
    for (name, windows) in &answer.fields {
        for (start, sum) in windows {
            match sum {
                WindowSum::Numbers(n) => writeln!(
                    out,
                    "{}  {name:width$}  {:>8}  {:>12.3}  {:>12.3}  {:>12.3}  {:>12.3}",
                    time(*start),
                    n.count,
                    n.min,
                    n.mean(),
                    n.max,
                    n.last
                )?,
                WindowSum::Truth(truth) => {
                    let share = truth.share().unwrap_or(0.0) * 100.0;
                    writeln!(out, "{}  {name:width$}  true for {share:.1} %", time(*start))?;
                }
            }
        }
    }
    Ok(())
}

fn csv(answer: &DataAnswer, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(out, "window_start,field,count,min,max,mean,sum,first,last,share")?;
    for (name, windows) in &answer.fields {
        let name = match name.contains([',', '"', '\n', '\r']) {
            true => format!("\"{}\"", name.replace('"', "\"\"")),
            false => name.clone(),
        };
        for (start, sum) in windows {
            let start = time(*start);
            match sum {
                WindowSum::Numbers(n) => writeln!(
                    out,
                    "{start},{name},{},{},{},{},{},{},{},",
                    n.count,
                    n.min,
                    n.max,
                    n.mean(),
                    n.sum,
                    n.first,
                    n.last
                )?,
                WindowSum::Truth(truth) => writeln!(out, "{start},{name},,,,,,,,{}", truth.share().unwrap_or(0.0))?,
            }
        }
    }
    Ok(())
}

fn jsonl(answer: &DataAnswer, out: &mut dyn Write) -> anyhow::Result<()> {
    for (name, windows) in &answer.fields {
        for (start, sum) in windows {
            let line = match sum {
                WindowSum::Numbers(n) => {
                    json!({"window_start": time(*start), "field": name, "count": n.count, "min": n.min,
                    "max": n.max, "mean": n.mean(), "sum": n.sum, "first": n.first, "last": n.last})
                }
                WindowSum::Truth(truth) => json!({"window_start": time(*start), "field": name, "share": truth.share()}),
            };
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

fn chart(answer: &DataAnswer, query: &DataQuery, out: &mut dyn Write) -> anyhow::Result<()> {
    for (name, windows) in &answer.fields {
        writeln!(out, "{name}")?;
        for line in plot(windows, query.from, query.to) {
            writeln!(out, "{line}")?;
        }
        writeln!(out, "{:12}{} to {}\n", "", time(query.from), time(query.to))?;
    }
    Ok(())
}

/// The means as a curve of dots, the scale on its left.
fn plot(windows: &BTreeMap<i64, WindowSum>, from: i64, to: i64) -> Vec<String> {
    let value = |sum: &WindowSum| match sum {
        WindowSum::Numbers(numbers) => numbers.mean(),
        WindowSum::Truth(truth) => truth.share().unwrap_or(0.0),
    };
    let values: Vec<(i64, f64)> =
        windows.iter().map(|(start, sum)| (*start, value(sum))).filter(|(_, value)| value.is_finite()).collect();
    let low = values.iter().map(|(_, value)| *value).fold(f64::INFINITY, f64::min);
    let high = values.iter().map(|(_, value)| *value).fold(f64::NEG_INFINITY, f64::max);
    let span = if high > low { high - low } else { 1.0 };
    let mut grid = vec![[' '; WIDTH]; HEIGHT];
    for (start, value) in &values {
        let column = (start - from).max(0) as f64 / (to - from).max(1) as f64 * (WIDTH - 1) as f64;
        let row = (high - value) / span * (HEIGHT - 1) as f64;
        grid[(row.round() as usize).min(HEIGHT - 1)][(column as usize).min(WIDTH - 1)] = '•';
    }
    let label = |row: usize| high - span * row as f64 / (HEIGHT - 1) as f64;
    let line = |(row, cells): (usize, &[char; WIDTH])| {
        let cells: String = cells.iter().collect();
        format!("{:>10.2} │{}", label(row), cells.trim_end())
    };
    grid.iter().enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearthgate_storage::sql::NumberSummary;

    #[test]
    fn a_chart_has_the_highest_mean_at_the_top_and_the_latest_on_the_right() {
        let one = |sum: f64| WindowSum::Numbers(NumberSummary { count: 1, sum, ..NumberSummary::default() });
        let lines = plot(&BTreeMap::from([(0, one(1.0)), (50, one(3.0)), (99, one(2.0))]), 0, 100);
        assert_eq!(lines.len(), HEIGHT);
        assert!(lines[0].starts_with("      3.00 │") && lines[0].ends_with('•'), "{}", lines[0]);
        assert!(lines[HEIGHT - 1].starts_with("      1.00 │•"), "{}", lines[HEIGHT - 1]);
    }
}
