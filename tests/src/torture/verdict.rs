//! Counting: what has become of every message.

use super::driver::Driver;
use super::load::{Lot, POSTED, STORED, lot};
use super::plan::Payloads;
use super::report::Outcome;
use super::site::Site;
use crate::PATIENCE;
use anyhow::ensure;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// Nothing more comes for so long: all that comes has come.
const QUIET: Duration = Duration::from_millis(700);
/// Rows that are read at once.
const PAGE: i64 = 50_000;

/// Messages that are stored or refused, and those that were forgotten before.
async fn accounted(driver: &Driver<'_>) -> anyhow::Result<u64> {
    let raised = format!("SELECT last_msg_id FROM flows WHERE code = '{STORED}'");
    let stored = driver.site.database.try_number(&raised).await.unwrap_or(0);
    let letters = driver.site.letters().await?.try_number("SELECT COUNT(*) FROM dead_letters").await.unwrap_or(0);
    let forgotten: u64 = driver.forgotten.iter().map(|range| range.end - range.start).sum();
    Ok((stored + letters).unsigned_abs() + forgotten)
}

/// Waits until all that the gateway has taken is where it belongs, and what it was still doing is done.
pub(super) async fn wait_until_settled(driver: &Driver<'_>) -> anyhow::Result<u64> {
    let forgotten: u64 = driver.forgotten.iter().map(|range| range.end - range.start).sum();
    let taken = driver.site.proxy.seen().taken + forgotten;
    let (mut last, mut since) = (0, Instant::now());
    loop {
        let now = accounted(driver).await?;
        if now != last {
            (last, since) = (now, Instant::now());
        }
        if now >= taken && since.elapsed() > QUIET {
            return Ok(now);
        }
        // What it has acknowledged and is not there in the end, is counted in the end.
        if since.elapsed() > PATIENCE {
            eprintln!("the gateway has taken {taken} messages, and only {now} are accounted for");
            return Ok(taken.max(now));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until everything is there, or nothing more comes, and counts.
pub(super) async fn wait_and_count(driver: &Driver<'_>) -> anyhow::Result<Outcome> {
    let expected = Expected::of(driver);
    let (mut last, mut since) = ((0, 0), Instant::now());
    loop {
        let now = (accounted(driver).await?, delivered(&driver.site).len());
        if now != last {
            (last, since) = (now, Instant::now());
        }
        let is_all = now.0 >= driver.load.sent() && now.1 >= expected.posted;
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
        forgotten: driver.forgotten.iter().map(|range| range.end - range.start).sum(),
        redelivered: driver.site.proxy.seen().sent_again + account.sent_again,
        ..Outcome::default()
    };
    if driver.site.mosquitto.is_none() && account.sessions_lost > 0 {
        outcome.complain(format!(
            "the embedded broker has forgotten the publisher's session {} times",
            account.sessions_lost
        ));
    }
    count_rows(driver, &expected, &mut outcome).await?;
    count_letters(driver, &expected, &mut outcome).await?;
    count_deliveries(driver, &expected, &mut outcome);
    Ok(outcome)
}

/// How many of each lot must be there.
struct Expected {
    stored: usize,
    posted: usize,
    refused: usize,
}

impl Expected {
    fn of(driver: &Driver<'_>) -> Self {
        let mut expected = Expected { stored: 0, posted: 0, refused: 0 };
        for index in (0..driver.load.sent()).filter(|index| is_expected(driver, *index)) {
            match lot(index) {
                Lot::Stored => expected.stored += 1,
                Lot::StoredAndPosted => {
                    expected.stored += 1;
                    expected.posted += 1;
                }
                Lot::DeadLetter => expected.refused += 1,
            }
        }
        expected
    }
}

fn is_expected(driver: &Driver<'_>, index: u64) -> bool {
    !driver.forgotten.iter().any(|range| range.contains(&index))
}

/// Compares what was found, by the numbers in the messages, with what must be there.
fn compare(
    driver: &Driver<'_>,
    found: &HashMap<u64, u32>,
    expected: usize,
    is_due: impl Fn(u64) -> bool,
    what: &str,
    outcome: &mut Outcome,
) {
    let total: usize = found.values().map(|count| *count as usize).sum();
    let (lost, twice) = match driver.plan.payloads {
        Payloads::Equal => (expected.saturating_sub(total), total.saturating_sub(expected)),
        Payloads::Distinct => {
            let due = |index: &u64| is_due(*index) && is_expected(driver, *index);
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

async fn count_rows(driver: &Driver<'_>, expected: &Expected, outcome: &mut Outcome) -> anyhow::Result<()> {
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
    compare(driver, &found, expected.stored, |index| lot(index) != Lot::DeadLetter, "stored", outcome);
    Ok(())
}

async fn count_letters(driver: &Driver<'_>, expected: &Expected, outcome: &mut Outcome) -> anyhow::Result<()> {
    let letters = driver.site.letters().await?;
    let refused =
        letters.texts("SELECT CAST(payload AS TEXT) FROM dead_letters WHERE topic = 'torture/refused'").await?;
    let mut found = HashMap::new();
    for payload in &refused {
        let payload: serde_json::Value = serde_json::from_str(payload)?;
        *found.entry(payload["n"].as_str().unwrap_or_default().parse()?).or_insert(0) += 1;
    }
    outcome.dead = refused.len();
    compare(driver, &found, expected.refused, |index| lot(index) == Lot::DeadLetter, "dead letters", outcome);
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

fn count_deliveries(driver: &Driver<'_>, expected: &Expected, outcome: &mut Outcome) {
    let delivered = delivered(&driver.site);
    let mut found = HashMap::new();
    delivered.values().for_each(|index| *found.entry(*index).or_insert(0) += 1);
    outcome.delivered = delivered.len();
    outcome.repeated_calls =
        driver.site.endpoint.calls().iter().filter(|call| call.answered == 200).count() - delivered.len();
    compare(driver, &found, expected.posted, |index| lot(index) == Lot::StoredAndPosted, POSTED, outcome);
}
