//! A flow as the API writes it.

use super::secrets;
use hearthgate_api::wire::FlowInput;
use hearthgate_domain::flow::FlowRow;
use hearthgate_settings::mask_text;
use serde_json::json;

/// Without its secrets.
pub(super) fn input(row: FlowRow) -> FlowInput {
    let value = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| json!(text));
    FlowInput {
        code: row.code,
        description: row.description,
        topic: row.topic,
        action: row.action,
        schema: value(&row.payload_schema),
        endpoint_url: row.endpoint_url.as_deref().map(mask_text),
        enabled: row.enabled,
        options: row.options.as_deref().map(|options| secrets::masked(&value(options))),
    }
}
