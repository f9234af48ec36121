//! What is measured. Each scenario adds its figures to the report.

mod fields;
mod flows;
mod history;
mod latency;
mod mapping;
mod operation;
mod posting;
mod routing;
mod storing;

use crate::load::{self, Content};
use crate::report::{Figure, Report};
use crate::{Plan, Scenario};

pub(crate) async fn run(scenario: Scenario, plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let mut figures = Vec::new();
    for round in 1..=plan.rounds {
        eprintln!("{scenario:?}, round {round} of {}", plan.rounds);
        report.note_machine().await;
        let more = match scenario {
            Scenario::Mapping => mapping::round(plan).await?,
            Scenario::Routing => routing::round(plan).await?,
            Scenario::Sqlite => storing::sqlite(plan).await?,
            Scenario::Mariadb => storing::mariadb(plan).await?,
            Scenario::Postgres => storing::postgres(plan).await?,
            Scenario::Post => posting::round(plan).await?,
            Scenario::Fields => fields::round(plan).await?,
            Scenario::Flows => flows::round(plan).await?,
            Scenario::History => history::round(plan).await?,
            Scenario::Latency => latency::round(plan).await?,
            Scenario::Start => operation::start().await?,
            Scenario::Idle => operation::idle().await?,
        };
        add(&mut figures, more);
    }
    report.figures.extend(figures);
    Ok(())
}

/// The same figures of one more round.
fn add(figures: &mut Vec<Figure>, more: Vec<Figure>) {
    if figures.is_empty() {
        *figures = more;
        return;
    }
    for (figure, more) in figures.iter_mut().zip(more) {
        figure.rounds.extend(more.rounds);
    }
}

/// Readings on one topic.
fn readings(topic: &'static str, payload: usize) -> Content {
    Box::new(move |number, on, bytes| {
        on.push_str(topic);
        load::reading(number, payload, bytes);
    })
}
