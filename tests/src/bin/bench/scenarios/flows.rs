//! How the cost grows with the number of flows on distinct filters.

use crate::Plan;
use crate::load::{self, Content, Load};
use crate::report::{Figure, Round, Target};
use crate::subject::{FarEnd, Setup, Subject};
use anyhow::ensure;
use hearthgate_tests::broker::Mosquitto;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

const FEW: u64 = 10;

pub(super) async fn round(plan: &Plan) -> anyhow::Result<Vec<Figure>> {
    let many = plan.flows;
    let (few, _) = store(plan, FEW, FEW).await?;
    let (among, _) = store(plan, many, FEW).await?;
    let (over_all, reload) = store(plan, many, many).await?;
    let target = Some(Target::OfLimit(0.9));
    let mut bare = Figure::new(format!("STORE_DB to SQLite, {FEW} flows"), "/s", None);
    bare.rounds.push(few);
    let mut first = Figure::new(format!("the same {FEW} among {many} flows (of {FEW})"), "/s", target);
    first.rounds.push(Round { limit: Some(few.value), ..among });
    let mut second = Figure::new(format!("messages for all {many} flows in turn (of {FEW})"), "/s", target);
    second.rounds.push(Round { limit: Some(few.value), ..over_all });
    let mut third = Figure::new(format!("reload of {many} flows, one changed"), "ms", Some(Target::AtMost(200.0)));
    third.rounds.push(Round::of(reload));
    Ok(vec![bare, first, second, third])
}

/// Messages to the first `used` of `flows` flows, and how long a reload takes, in ms.
async fn store(plan: &Plan, flows: u64, used: u64) -> anyhow::Result<(Round, f64)> {
    let broker = Mosquitto::start();
    let insert = format!(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {}) \
         INSERT INTO flows (code, description, topic, action, payload_schema) \
         SELECT 'BENCH_' || i, '', 'homes/' || (i / 100) || '/rooms/' || (i % 100), 'STORE_DB', \
         '{{\"t\":\"float\",\"n\":\"int\",\"unit\":\"string\"}}' FROM n",
        flows - 1
    );
    let setup = Setup { broker: Some(&broker), tap: None, database: None, toml: String::new(), flows: vec![insert] };
    let mut subject = Subject::start(setup).await?;
    let load = |messages| Load { port: broker.port, messages, qos: 1, rate: None, content: content(plan, used) };
    // The sum over all flows would be too much to ask for again and again.
    let far_end = FarEnd::Query("SELECT COALESCE(MAX(id), 0) / 3 FROM data".to_owned());
    subject.warm_up(&far_end, plan.messages, load).await?;
    let run = subject.measure(&far_end, load(plan.messages)).await?;
    let rows = subject.database.number("SELECT COUNT(*) FROM data").await;
    let stored = subject.database.number("SELECT SUM(last_msg_id) FROM flows WHERE code LIKE 'BENCH%'").await;
    ensure!(rows == 3 * stored, "void: {rows} rows for {stored} messages");
    let reload = reload(&mut subject).await?;
    Ok((run, reload))
}

fn content(plan: &Plan, used: u64) -> Content {
    let payload = plan.payload;
    Box::new(move |number, topic, bytes| {
        let flow = number % used;
        // Writing to a text does not fail.
        let _ = write!(topic, "homes/{}/rooms/{}", flow / 100, flow % 100);
        load::reading(number, payload, bytes);
    })
}

/// From SIGHUP to the line that tells of the change.
async fn reload(subject: &mut Subject) -> anyhow::Result<f64> {
    let told = |subject: &Subject| subject.gateway.log().matches("flows reloaded").count();
    let before = told(subject);
    subject.database.execute("UPDATE flows SET description = 'changed' WHERE code = 'BENCH_0'").await;
    let since = Instant::now();
    subject.gateway.signal("HUP");
    while told(subject) == before {
        ensure!(since.elapsed() < crate::PATIENCE, "the flows were not reloaded");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(since.elapsed().as_secs_f64() * 1e3)
}
