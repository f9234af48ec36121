//! What flows stored.

use crate::run::subjects::common::{database, time, unavailable};
use hearthgate_api::wire::{AttributeView, RecordSeries, SeriesPoint, SeriesQuestion};
use hearthgate_api::{RecordStore, SubjectAnswer, SubjectFailure};
use hearthgate_storage::sql::{Database, SeriesOf};
use std::time::Duration;
use tokio::sync::watch;

/// A question to a large table without an index must not hold a connection for ever.
const PATIENCE: Duration = Duration::from_secs(15);

pub(super) struct RecordSubject(pub(super) watch::Receiver<Option<Database>>);

impl RecordStore for RecordSubject {
    fn attributes(&self, flow: String) -> SubjectAnswer<Vec<AttributeView>> {
        let seen = self.0.clone();
        Box::pin(async move {
            let database = database(&seen)?;
            let values = in_time(database.newest_values(&flow)).await?;
            let view = |value: hearthgate_storage::sql::NewestValue| AttributeView {
                name: value.name,
                value: value.value,
                at: time(value.received_at),
            };
            Ok(values.into_iter().map(view).collect())
        })
    }

    fn series(&self, question: SeriesQuestion) -> SubjectAnswer<RecordSeries> {
        let seen = self.0.clone();
        Box::pin(async move {
            let database = database(&seen)?;
            let SeriesQuestion { flow, attribute, from, to, points } = question;
            let of = SeriesOf { flow_code: &flow, attribute: &attribute, from, to, windows: points };
            let found = in_time(database.series(&of)).await?;
            let window = (to - from) / i32::try_from(points.max(1)).unwrap_or(1);
            let point = |one: hearthgate_storage::sql::SeriesWindow| SeriesPoint {
                at: from + window * i32::try_from(one.index).unwrap_or_default(),
                count: one.count,
                min: one.min,
                mean: one.mean,
                max: one.max,
                last: one.last,
            };
            let seconds = window.num_milliseconds() as f64 / 1000.0;
            Ok(RecordSeries { from, to, window: seconds, points: found.into_iter().map(point).collect() })
        })
    }
}

async fn in_time<T, E: std::fmt::Display>(asked: impl Future<Output = Result<T, E>>) -> Result<T, SubjectFailure> {
    let late = || {
        SubjectFailure::Unavailable(format!(
            "the database did not answer within {} s; choose a shorter range, or give the table an index",
            PATIENCE.as_secs()
        ))
    };
    tokio::time::timeout(PATIENCE, asked).await.map_err(|_| late())?.map_err(unavailable)
}
