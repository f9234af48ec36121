//! The subjects of the API's views, out of the gateway as it runs.

mod broker;
mod common;
mod configuration;
mod flows;
mod graph;
mod letters;
mod records;
mod secrets;
mod traffic;

use crate::telemetry::Level;
use crate::wiring::Running;
use hearthgate_api::{Metrics, Subjects};
use hearthgate_settings::Loaded;
use std::sync::Arc;

/// All that is there.
pub(super) fn subjects(loaded: &Loaded, running: &Running, metrics: &Metrics, level: &Level) -> Subjects {
    let settings = Arc::new(loaded.settings.clone());
    let traffic = running.traffic.clone();
    let store = running.flows.as_ref().map(|flows| {
        Arc::new(flows::Store {
            flows: flows.clone(),
            settings: Arc::clone(&settings),
            metrics: metrics.clone(),
            traffic: traffic.clone(),
        })
    });
    let letters = running.flows.as_ref().zip(running.flow_orders()).map(|(flows, orders)| {
        Arc::new(letters::Store { flows: flows.clone(), orders, settings: Arc::clone(&settings) })
    });
    Subjects {
        wiring: Some(Arc::new(graph::Wiring::new(&settings, running, metrics.clone()))),
        flows: store.map(|store| store as _),
        letters: letters.map(|letters| letters as _),
        records: running.flows.as_ref().map(|flows| {
            let records: Arc<dyn hearthgate_api::Records> = Arc::new(records::Store(flows.database.clone()));
            records
        }),
        broker: running.broker.clone().map(|place| {
            let broker: Arc<dyn hearthgate_api::BrokerView> = Arc::new(broker::Looker(place));
            broker
        }),
        traffic: traffic.map(|traffic| {
            let traffic: Arc<dyn hearthgate_api::TrafficView> = Arc::new(traffic::Looker(traffic));
            traffic
        }),
        system: Some(Arc::new(configuration::System::new(loaded, level.clone()))),
    }
}
