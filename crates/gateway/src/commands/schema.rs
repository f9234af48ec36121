//! `schema validate`: lines through the very validation that flows do.

use super::lines;
use crate::exit::ExitStatus;
use hearthgate_domain::payload::JsonPayload;
use hearthgate_domain::schema::PayloadSchema;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::io::{Read, Write};

/// The payload stays as it is written: its numbers keep their digits, and of a repeated key the last counts.
#[derive(Deserialize)]
struct SchemaAndPayload {
    schema: Value,
    payload: Box<RawValue>,
}

/// Answers whether payloads are valid.
///
/// # Errors
/// Reading or writing fails.
pub fn validate(input: impl Read, output: impl Write) -> anyhow::Result<ExitStatus> {
    lines::answer(input, output, |SchemaAndPayload { schema, payload }| verdict(&schema, payload.get()))
}

fn verdict(schema: &Value, payload: &str) -> Value {
    let schema = match PayloadSchema::compile(schema) {
        Ok(schema) => schema,
        Err(error) => return json!({"error": error.to_string()}),
    };
    match JsonPayload::parse_text(payload).map(|payload| schema.validate(&payload)) {
        Ok(Ok(())) => json!({"valid": true}),
        Ok(Err(violations)) => {
            let errors: Vec<String> = violations.iter().map(ToString::to_string).collect();
            json!({"valid": false, "errors": errors})
        }
        Err(refused) => json!({"valid": false, "errors": [refused.to_string()]}),
    }
}
