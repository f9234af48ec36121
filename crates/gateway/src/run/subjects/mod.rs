//! The subjects of the API's views, out of the gateway as it runs.

mod broker;
mod common;
mod configuration;
mod deliveries;
mod flow_input;
mod flows;
mod graph;
mod interfaces;
mod learning;
mod letter_tally;
mod letters;
mod records;
mod secrets;
mod traffic;

use crate::telemetry::LevelControl;
use crate::wiring::RunningGateway;
use hearthgate_api::{ApiSubjects, MetricStore};
use hearthgate_settings::LoadedSettings;
use std::sync::Arc;

/// All that is there.
pub(super) fn subjects(
    loaded: &LoadedSettings,
    running: &RunningGateway,
    metrics: &MetricStore,
    level: &LevelControl,
) -> ApiSubjects {
    let settings = Arc::new(loaded.settings.clone());
    let traffic = running.traffic.clone();
    let store = running.flows.as_ref().map(|flows| {
        Arc::new(flows::FlowSubject {
            flows: flows.clone(),
            settings: Arc::clone(&settings),
            metrics: metrics.clone(),
            traffic: traffic.clone(),
        })
    });
    let letters = running.flows.as_ref().zip(running.flow_orders()).map(|(flows, orders)| {
        Arc::new(letters::LetterSubject { flows: flows.clone(), orders, settings: Arc::clone(&settings) })
    });
    ApiSubjects {
        wiring: Some(Arc::new(graph::WiringSubject::new(&settings, running, metrics.clone()))),
        interfaces: Some(Arc::new(interfaces::InterfaceSubject {
            interfaces: running.interfaces.clone(),
            mapper: running.mapper.clone(),
        })),
        deliveries: running.flows.as_ref().map(|flows| {
            let deliveries: Arc<dyn hearthgate_api::DeliveryStore> =
                Arc::new(deliveries::DeliverySubject { flows: flows.clone(), settings: Arc::clone(&settings) });
            deliveries
        }),
        flows: store.map(|store| store as _),
        letters: letters.map(|letters| letters as _),
        records: running.flows.as_ref().map(|flows| {
            let records: Arc<dyn hearthgate_api::RecordStore> =
                Arc::new(records::RecordSubject(flows.database.clone()));
            records
        }),
        broker: running.broker.clone().map(|place| {
            let broker: Arc<dyn hearthgate_api::BrokerView> = Arc::new(broker::BrokerSubject(place));
            broker
        }),
        traffic: traffic.map(|traffic| {
            let traffic: Arc<dyn hearthgate_api::TrafficView> =
                Arc::new(traffic::TrafficSubject { traffic, fates: running.fates.clone() });
            traffic
        }),
        system: Some(Arc::new(configuration::SystemSubject::new(loaded, level.clone()))),
    }
}
