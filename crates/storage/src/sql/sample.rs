//! The sample flows of the first run.

use super::{Database, DatabaseError};
use hearthgate_domain::flow::FlowRow;

impl Database {
    /// Adds the three sample flows, once, to a database that we created; they are not added again when removed.
    pub(crate) async fn insert_sample_flows(&self) -> Result<(), DatabaseError> {
        if self.layout.is_guest() || !self.claim_samples().await? {
            return Ok(());
        }
        for flow in sample_flows() {
            self.insert_flow(&flow).await?;
        }
        Ok(())
    }
}

fn sample_flows() -> [FlowRow; 3] {
    let sample = |code: &str, description: &str, topic: &str| FlowRow {
        code: code.into(),
        description: description.into(),
        topic: topic.into(),
        action: "STORE_DB".into(),
        payload_schema: r#"{"temperature": "float", "humidity": "float"}"#.into(),
        enabled: true,
        ..FlowRow::default()
    };
    [
        sample("AHT10_SENSOR", "Temperature and humidity of an AHT10 sensor", "sensors/aht10"),
        sample("TEMP_HUM_DB", "Temperature and humidity of a room", "sensor/temperatura_humedad"),
        FlowRow {
            action: "POST_ENDPOINT".into(),
            endpoint_url: Some("http://localhost:8000/api/sensors/aht10".into()),
            enabled: false,
            ..sample(
                "AHT10_ENDPOINT",
                "An AHT10 sensor's readings to an HTTP endpoint; set the URL, then enable it",
                "sensors/aht10/http",
            )
        },
    ]
}
