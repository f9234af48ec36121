//! Counting: what has become of every message.

use super::commands;
use super::driver::Driver;
use super::lots::{CHANGED, Lot, POSTED, SHARED, STORED, THINNED, accounted_before, value};
use super::plan::Payloads;
use super::report::Outcome;
use super::site::Site;
use crate::PATIENCE;
use anyhow::ensure;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// Nothing more comes for so long: all that comes has come.
const QUIET: Duration = Duration::from_millis(700);
/// The same where it must be certain: what waits for a database that was away is tried again after pauses.
const SETTLED: Duration = Duration::from_secs(4);
/// Rows that are read at once.
const PAGE: i64 = 50_000;

/// Messages that are stored or dead letters, and those that were forgotten before.
async fn accounted(driver: &Driver<'_>) -> anyhow::Result<u64> {
    let raised = format!("SELECT last_msg_id FROM flows WHERE code = '{STORED}'");
    let stored = driver.site.database.try_number(&raised).await.unwrap_or(0);
    let letters = driver.site.letters().await?.try_number("SELECT COUNT(*) FROM dead_letters").await.unwrap_or(0);
    let forgotten: u64 =
        driver.forgotten.iter().map(|range| accounted_before(range.end) - accounted_before(range.start)).sum();
    Ok((stored + letters).unsigned_abs() + forgotten)
}

fn forgotten(driver: &Driver<'_>) -> u64 {
    driver.forgotten.iter().map(|range| range.end - range.start).sum()
}

/// What the subscriber and the endpoint have.
fn passed_on(driver: &Driver<'_>) -> (usize, usize) {
    (numbers_received(driver).len(), delivered(&driver.site).len())
}

/// Waits until all that the gateway has taken is where it belongs, and what it was still doing is done.
pub(super) async fn wait_until_settled(driver: &Driver<'_>) -> anyhow::Result<u64> {
    let taken = accounted_before(driver.site.proxy.seen().taken + forgotten(driver));
    let (mut last, mut since) = ((0, (0, 0)), Instant::now());
    loop {
        let now = (accounted(driver).await?, passed_on(driver));
        if now != last {
            (last, since) = (now, Instant::now());
        }
        if now.0 >= taken && since.elapsed() > SETTLED {
            return Ok(now.0);
        }
        // What it has acknowledged and is not there in the end, is counted in the end.
        if since.elapsed() > PATIENCE {
            eprintln!("what the gateway has taken makes {taken}, and only {} are accounted for", now.0);
            return Ok(taken.max(now.0));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until everything is there, or nothing more comes, and counts.
pub(super) async fn wait_and_count(driver: &Driver<'_>) -> anyhow::Result<Outcome> {
    let (mut last, mut since) = ((0, (0, 0)), Instant::now());
    let (published, posted) =
        (expected(driver, |lot| lot == Lot::Published), expected(driver, |lot| lot == Lot::Posted));
    loop {
        let now = (accounted(driver).await?, passed_on(driver));
        if now != last {
            (last, since) = (now, Instant::now());
        }
        let (received, delivered) = now.1;
        let is_all = now.0 >= accounted_before(driver.load.sent()) && received >= published && delivered >= posted;
        if since.elapsed() > if is_all { QUIET } else { PATIENCE / 2 } {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let account = driver.load.publisher.account();
    ensure!(account.violations == 0, "the broker has sent {} packets that it must not send", account.violations);
    let mut outcome = Outcome {
        plan: driver.plan.to_string(),
        seed: driver.plan.seed,
        sent: account.published,
        acknowledged: account.acknowledged,
        forgotten: forgotten(driver),
        redelivered: driver.site.proxy.seen().sent_again + account.sent_again,
        ..Outcome::default()
    };
    if driver.site.mosquitto.is_none() && account.sessions_lost > 0 {
        outcome.complain(format!(
            "the embedded broker has forgotten the publisher's session {} times",
            account.sessions_lost
        ));
    }
    count_rows(driver, &mut outcome).await?;
    count_shared_rows(driver, &mut outcome).await?;
    count_held_back(driver, &mut outcome).await?;
    count_letters(driver, &mut outcome).await?;
    count_deliveries(driver, &mut outcome);
    count_received(driver, &mut outcome);
    commands::count(driver, &mut outcome)?;
    Ok(outcome)
}

/// How many messages there must be of these lots.
fn expected(driver: &Driver<'_>, is_due: impl Fn(Lot) -> bool) -> usize {
    (0..driver.load.sent()).filter(|index| is_due(Lot::of(*index)) && is_expected(driver, *index)).count()
}

fn is_expected(driver: &Driver<'_>, index: u64) -> bool {
    !driver.forgotten.iter().any(|range| range.contains(&index))
}

/// Compares what was found, by the numbers in the messages, with what must be there.
fn compare(
    driver: &Driver<'_>,
    found: &HashMap<u64, u32>,
    is_due: impl Fn(Lot) -> bool,
    what: &str,
    outcome: &mut Outcome,
) {
    let total: usize = found.values().map(|count| *count as usize).sum();
    let expected = expected(driver, &is_due);
    let (lost, twice) = match driver.plan.payloads {
        Payloads::Equal => (expected.saturating_sub(total), total.saturating_sub(expected)),
        Payloads::Distinct => {
            let due = |index: &u64| is_due(Lot::of(*index)) && is_expected(driver, *index);
            let lost: Vec<u64> =
                (0..driver.load.sent()).filter(due).filter(|index| !found.contains_key(index)).collect();
            let twice: Vec<u64> = found.iter().filter(|(_, count)| **count > 1).map(|(index, _)| *index).collect();
            if !lost.is_empty() || !twice.is_empty() {
                let some = |all: &[u64]| all.iter().take(20).copied().collect::<Vec<_>>();
                outcome.complain(format!("{what}: lost {:?}, twice {:?}", some(&lost), some(&twice)));
            }
            (lost.len(), total - found.len())
        }
    };
    outcome.lost += lost;
    outcome.duplicated += twice;
}

async fn count_rows(driver: &Driver<'_>, outcome: &mut Outcome) -> anyhow::Result<()> {
    let database = &driver.site.database;
    let (mut found, mut numbers, mut after) = (HashMap::new(), HashSet::new(), 0);
    let (mut latest, mut misordered) = (None, 0);
    loop {
        let page = database.page(STORED, "n", after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        for row in &page {
            let index: u64 = row.value.parse()?;
            *found.entry(index).or_insert(0) += 1;
            outcome.duplicated += usize::from(!numbers.insert(row.number));
            // A message that is stored again is counted above.
            misordered +=
                usize::from(driver.plan.payloads == Payloads::Distinct && latest.is_some_and(|at| index < at));
            latest = latest.max(Some(index));
        }
    }
    outcome.stored = found.values().map(|count| *count as usize).sum();
    outcome.misordered = misordered;
    let last = database.number(&format!("SELECT last_msg_id FROM flows WHERE code = '{STORED}'")).await;
    let range = (numbers.iter().min().copied().unwrap_or(1), numbers.iter().max().copied().unwrap_or(0));
    if range != (1, last) || i64::try_from(numbers.len())? != last {
        outcome.complain(format!("last_msg_id is {last}, its numbers are {} from {range:?}", numbers.len()));
        outcome.lost += usize::try_from(last)?.saturating_sub(numbers.len());
    }
    let others = format!("SELECT COUNT(*) FROM data WHERE flow_code = '{STORED}' AND attribute_name = 'v'");
    let others = usize::try_from(database.number(&others).await)?;
    if others != outcome.stored {
        outcome.complain(format!("{} first rows and {others} second rows", outcome.stored));
        outcome.lost += outcome.stored.abs_diff(others);
    }
    compare(driver, &found, Lot::is_stored, STORED, outcome);
    Ok(())
}

/// How often a flow has stored each number, and in which order.
async fn rows_of(driver: &Driver<'_>, flow: &str) -> anyhow::Result<Vec<u64>> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let page = driver.site.database.page(flow, "n", after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(all) };
        after = last.id;
        for row in &page {
            all.push(row.value.parse()?);
        }
    }
}

fn times(numbers: &[u64]) -> HashMap<u64, u32> {
    let mut times = HashMap::new();
    numbers.iter().for_each(|number| *times.entry(*number).or_default() += 1);
    times
}

async fn count_shared_rows(driver: &Driver<'_>, outcome: &mut Outcome) -> anyhow::Result<()> {
    let rows = rows_of(driver, SHARED).await?;
    compare(driver, &times(&rows), |lot| lot == Lot::Shared, SHARED, outcome);
    Ok(())
}

/// Of what flows hold back: none twice, in order, and of each value at least one. Of equal messages nothing can be told.
async fn count_held_back(driver: &Driver<'_>, outcome: &mut Outcome) -> anyhow::Result<()> {
    let (changed, thinned) = (rows_of(driver, CHANGED).await?, rows_of(driver, THINNED).await?);
    outcome.held_back = expected(driver, |lot| matches!(lot, Lot::Changed | Lot::Thinned))
        .saturating_sub(changed.len() + thinned.len());
    if driver.plan.payloads == Payloads::Equal {
        return Ok(());
    }
    for (flow, rows) in [(CHANGED, &changed), (THINNED, &thinned)] {
        let twice = rows.len() - times(rows).len();
        if twice > 0 {
            outcome.complain(format!("{flow}: {twice} stored twice"));
            outcome.duplicated += twice;
        }
        outcome.misordered += rows.windows(2).filter(|pair| pair[1] < pair[0]).count();
    }
    let stored: HashSet<u64> = changed.iter().copied().map(value).collect();
    let all = (0..driver.load.sent()).filter(|index| Lot::of(*index) == Lot::Changed);
    let (kept, forgotten): (Vec<u64>, Vec<u64>) = all.partition(|index| is_expected(driver, *index));
    // Its only row may be one of those that were forgotten.
    let unsure: HashSet<u64> = forgotten.into_iter().map(value).collect();
    let due: HashSet<u64> = kept.into_iter().map(value).filter(|value| !unsure.contains(value)).collect();
    let lost: Vec<&u64> = due.difference(&stored).collect();
    if !lost.is_empty() {
        outcome.complain(format!("{CHANGED}: lost the values {lost:?}"));
        outcome.lost += lost.len();
    }
    Ok(())
}

async fn count_letters(driver: &Driver<'_>, outcome: &mut Outcome) -> anyhow::Result<()> {
    let letters = driver.site.letters().await?;
    let refused =
        letters.texts("SELECT CAST(payload AS TEXT) FROM dead_letters WHERE topic = 'torture/refused'").await?;
    let mut found = HashMap::new();
    for payload in &refused {
        let payload: serde_json::Value = serde_json::from_str(payload)?;
        *found.entry(payload["n"].as_str().unwrap_or_default().parse()?).or_insert(0) += 1;
    }
    outcome.dead = refused.len();
    compare(driver, &found, |lot| lot == Lot::Refused, "dead letters", outcome);
    let others = letters
        .texts("SELECT topic || ': ' || reason || ' ' || CAST(payload AS TEXT) FROM dead_letters WHERE topic <> 'torture/refused'")
        .await?;
    if let Some(first) = others.first() {
        outcome.complain(format!("{} dead letters that should be none, the first: {first}", others.len()));
        outcome.unexpected_letters = others.len();
    }
    Ok(())
}

/// By webhook-id: what was answered with 200, and the number in it.
fn delivered(site: &Site) -> HashMap<String, u64> {
    let number = |body: &str| serde_json::from_str::<serde_json::Value>(body).ok()?["n"].as_u64();
    let calls = site.endpoint.calls().into_iter().filter(|call| call.answered == 200);
    calls.map(|call| (call.id, number(&call.body).unwrap_or(u64::MAX))).collect()
}

fn count_deliveries(driver: &Driver<'_>, outcome: &mut Outcome) {
    let delivered = delivered(&driver.site);
    let found = times(&delivered.values().copied().collect::<Vec<_>>());
    outcome.delivered = delivered.len();
    outcome.repeated_calls =
        driver.site.endpoint.calls().iter().filter(|call| call.answered == 200).count() - delivered.len();
    compare(driver, &found, |lot| lot == Lot::Posted, POSTED, outcome);
}

/// Of what the subscriber has received: each number once, though it may have come again. Of equal messages all.
fn numbers_received(driver: &Driver<'_>) -> Vec<u64> {
    let number = |payload: &String| serde_json::from_str::<serde_json::Value>(payload).ok()?["n"].as_u64();
    let mut numbers: Vec<u64> =
        driver.site.subscriber.received(|received| received.payloads.iter().filter_map(number).collect());
    if driver.plan.payloads == Payloads::Distinct {
        numbers.sort_unstable();
        numbers.dedup();
    }
    numbers
}

/// What is published again is published at QoS 1: it may come more than once, and must come.
fn count_received(driver: &Driver<'_>, outcome: &mut Outcome) {
    let numbers = numbers_received(driver);
    outcome.received = driver.site.subscriber.received(|received| received.payloads.len());
    let due = expected(driver, |lot| lot == Lot::Published);
    let lost = match driver.plan.payloads {
        Payloads::Equal => due.saturating_sub(numbers.len()),
        Payloads::Distinct => {
            let is_lost = |index: &u64| {
                Lot::of(*index) == Lot::Published
                    && is_expected(driver, *index)
                    && numbers.binary_search(index).is_err()
            };
            (0..driver.load.sent()).filter(is_lost).count()
        }
    };
    outcome.published_lost = lost;
}
