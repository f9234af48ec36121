//! Runs the embedded broker alone, with a gateway that wants everything and acknowledges it at once.
//!
//! `broker PORT [STATE_DIR [OPTIONS.json]]`; ends on end of input.

use hearthgate_domain::delivery::QoS;
use hearthgate_mqtt::broker::BrokerError;
use hearthgate_mqtt::broker::{BrokerOptions, EmbeddedBroker};
use hearthgate_mqtt::link::{LinkEvent, LinkSubscription, link};
use std::io::Read;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut options = match arguments.get(2) {
        Some(file) => serde_json::from_str(&std::fs::read_to_string(file)?)?,
        None => BrokerOptions::default(),
    };
    if let Some(port) = arguments.first() {
        options.listen = format!("127.0.0.1:{port}");
    }
    options.state_dir = arguments.get(1).filter(|folder| !folder.is_empty()).map(Into::into);
    let (handle, port, mut events) = link(64, 64);
    handle.subscribe_exactly(vec![LinkSubscription { filter: "#".into(), qos: QoS::ExactlyOnce }]);
    let closer = handle.clone();
    let gateway = std::thread::spawn(move || {
        while let Some(event) = events.blocking_recv() {
            if let LinkEvent::Messages(batch) = event {
                handle.acknowledge(batch.last());
            }
        }
    });
    let mut broker = EmbeddedBroker::bind(options)?;
    broker.attach(port);
    let server = std::thread::spawn(move || -> Result<(), BrokerError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| BrokerError::Task(error.to_string()))?;
        runtime.block_on(broker.run())
    });
    std::io::stdin().read_to_end(&mut Vec::new())?;
    closer.close();
    drop(closer);
    server.join().map_err(|_| "the broker has panicked")??;
    gateway.join().map_err(|_| "the gateway has panicked")?;
    Ok(())
}
