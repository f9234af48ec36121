//! The OpenAPI 3.1 document, made of the table that the router is made of.

use crate::api::ProblemDetails;
use crate::operation::{AnswerKind, ApiOperation, QueryKind};
use crate::scope::AccessScope;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// Describes these operations.
pub(crate) fn document(version: &str, operations: &[ApiOperation]) -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    let problem = generator.subschema_for::<ProblemDetails>().to_value();
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations {
        let described = describe(operation, &problem, &mut generator);
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method.as_str().to_ascii_lowercase()] = described;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Hearthgate", "version": version,
            "description": "The API of the gateway: everything that the page shows and does. Errors are RFC 9457 problems.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        // Relative to this document: it holds under any prefix that a proxy adds.
        "servers": [{"url": "../.."}],
        "security": [{"token": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "That of `[http] token`"},
                "session": {"type": "apiKey", "in": "cookie", "name": "hearthgate-8787",
                    "description": "Set by POST /api/v1/session; the number is the port"},
            },
        },
    })
}

fn describe(operation: &ApiOperation, problem: &Value, generator: &mut SchemaGenerator) -> Value {
    let mut parameters: Vec<Value> = path_parameters(operation.path)
        .map(|name| {
            let kind = if name == "id" && operation.subject == "dead-letters" { "integer" } else { "string" };
            json!({"name": name, "in": "path", "required": true, "schema": {"type": kind}})
        })
        .collect();
    parameters.extend(operation.query.iter().map(|(name, kind, what)| {
        let schema = match kind {
            QueryKind::Text => json!({"type": "string"}),
            QueryKind::Needed => json!({"type": "string", "minLength": 1}),
            QueryKind::Number => json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}),
            QueryKind::Flag => json!({"type": "boolean"}),
            QueryKind::Time => json!({"type": "string", "format": "date-time"}),
        };
        json!({"name": name, "in": "query", "required": *kind == QueryKind::Needed, "description": what, "schema": schema})
    }));
    if operation.is_versioned {
        let what = "The ETag of the version that is changed";
        parameters.push(json!({"name": "If-Match", "in": "header", "required": true, "description": what,
            "schema": {"type": "string"}}));
    }
    let done = match operation.answer {
        AnswerKind::Json(schema) => {
            let schema = schema(generator).to_value();
            json!({"description": "Done", "content": {"application/json": {"schema": schema}}})
        }
        AnswerKind::Text(kind) => json!({"description": "Done", "content": {kind: {"schema": {}}}}),
        AnswerKind::Nothing => json!({"description": "Done"}),
    };
    let status = if matches!(operation.answer, AnswerKind::Nothing) { "204" } else { "200" };
    let mut responses = Map::new();
    responses.insert(status.into(), done);
    if matches!(operation.path, "/livez" | "/readyz") {
        responses.insert("503".into(), responses[status].clone());
    }
    let refused = json!({"description": "Why not", "content": {"application/problem+json": {"schema": problem}}});
    responses.insert("default".into(), refused);
    let mut described = json!({
        "tags": [operation.subject], "summary": operation.summary, "parameters": parameters, "responses": responses,
        "x-scope": operation.scope.as_str(),
    });
    if operation.scope == AccessScope::Open {
        described["security"] = json!([]);
    }
    if let Some(schema) = operation.body {
        let schema = schema(generator).to_value();
        described["requestBody"] = json!({"required": true, "content": {"application/json": {"schema": schema}}});
    }
    described
}

fn path_parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every `$ref` leads somewhere, and no operation is described twice or left out.
    #[test]
    fn the_document_describes_each_operation_once_and_refers_to_nothing_that_is_not_there() {
        let operations = crate::table::operations();
        let document = document("1.2.3", &operations);
        let described: usize =
            document["paths"].as_object().unwrap().values().map(|path| path.as_object().unwrap().len()).sum();
        assert_eq!(described, operations.len());
        let text = document.to_string();
        let schemas = &document["components"]["schemas"];
        for reference in text.split("\"$ref\":\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            let name = reference.strip_prefix("#/components/schemas/").unwrap_or_default();
            assert!(schemas.get(name).is_some(), "{reference}");
        }
    }
}
