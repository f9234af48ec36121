//! Keywords of a schema that have no effect. JSON Schema lets unknown keywords pass silently, so a misspelt one checks
//! nothing.

use crate::schema::violation::pointer_to;
use jsonschema::Draft;
use serde_json::{Map, Value};

/// A keyword with the first and the last draft that knows it.
type Keyword = (&'static str, Draft, Draft);

use Draft::{Draft4, Draft6, Draft7, Draft201909, Draft202012};

const KEYWORDS: &[Keyword] = &[
    ("$schema", Draft4, Draft202012),
    ("id", Draft4, Draft4),
    ("$id", Draft6, Draft202012),
    ("$ref", Draft4, Draft202012),
    ("$comment", Draft7, Draft202012),
    ("$anchor", Draft201909, Draft202012),
    ("$recursiveRef", Draft201909, Draft201909),
    ("$recursiveAnchor", Draft201909, Draft201909),
    ("$dynamicRef", Draft202012, Draft202012),
    ("$dynamicAnchor", Draft202012, Draft202012),
    ("$vocabulary", Draft201909, Draft202012),
    ("$defs", Draft201909, Draft202012),
    ("definitions", Draft4, Draft202012),
    ("title", Draft4, Draft202012),
    ("description", Draft4, Draft202012),
    ("default", Draft4, Draft202012),
    ("examples", Draft6, Draft202012),
    ("readOnly", Draft7, Draft202012),
    ("writeOnly", Draft7, Draft202012),
    ("deprecated", Draft201909, Draft202012),
    ("type", Draft4, Draft202012),
    ("enum", Draft4, Draft202012),
    ("const", Draft6, Draft202012),
    ("multipleOf", Draft4, Draft202012),
    ("minimum", Draft4, Draft202012),
    ("maximum", Draft4, Draft202012),
    ("exclusiveMinimum", Draft4, Draft202012),
    ("exclusiveMaximum", Draft4, Draft202012),
    ("minLength", Draft4, Draft202012),
    ("maxLength", Draft4, Draft202012),
    ("pattern", Draft4, Draft202012),
    ("format", Draft4, Draft202012),
    ("contentEncoding", Draft7, Draft202012),
    ("contentMediaType", Draft7, Draft202012),
    ("contentSchema", Draft201909, Draft202012),
    ("items", Draft4, Draft202012),
    ("additionalItems", Draft4, Draft201909),
    ("prefixItems", Draft202012, Draft202012),
    ("unevaluatedItems", Draft201909, Draft202012),
    ("minItems", Draft4, Draft202012),
    ("maxItems", Draft4, Draft202012),
    ("uniqueItems", Draft4, Draft202012),
    ("contains", Draft6, Draft202012),
    ("minContains", Draft201909, Draft202012),
    ("maxContains", Draft201909, Draft202012),
    ("properties", Draft4, Draft202012),
    ("patternProperties", Draft4, Draft202012),
    ("additionalProperties", Draft4, Draft202012),
    ("unevaluatedProperties", Draft201909, Draft202012),
    ("propertyNames", Draft6, Draft202012),
    ("required", Draft4, Draft202012),
    ("minProperties", Draft4, Draft202012),
    ("maxProperties", Draft4, Draft202012),
    ("dependencies", Draft4, Draft7),
    ("dependentRequired", Draft201909, Draft202012),
    ("dependentSchemas", Draft201909, Draft202012),
    ("allOf", Draft4, Draft202012),
    ("anyOf", Draft4, Draft202012),
    ("oneOf", Draft4, Draft202012),
    ("not", Draft4, Draft202012),
    ("if", Draft7, Draft202012),
    ("then", Draft7, Draft202012),
    ("else", Draft7, Draft202012),
];

/// Keywords that describe and never check: nobody misses a check where they stand.
const DESCRIBING: [&str; 6] = ["$schema", "$id", "$comment", "title", "description", "examples"];

/// What a valid JSON Schema says without effect.
pub(super) fn without_effect(schema: &Value, draft: Draft) -> Vec<String> {
    let mut warnings = Vec::new();
    walk(schema, "", draft, &mut warnings);
    warnings
}

/// What stands beside the types of a schema that is read in a short form, its fields in itself or in `properties`.
pub(super) fn not_checked_in_short_form(schema: &Map<String, Value>, fields: &Map<String, Value>) -> Vec<String> {
    let in_properties = !std::ptr::eq(schema, fields);
    let mut found = Vec::new();
    if in_properties {
        let beside = schema.keys().filter(|keyword| !matches!(keyword.as_str(), "properties" | "type" | "required"));
        found.extend(beside.map(|keyword| ("", keyword)));
    }
    let parent = if in_properties { "/properties" } else { "" };
    let pointers = fields.iter().map(|(name, field)| (pointer_to(parent, name), field)).collect::<Vec<_>>();
    for (pointer, field) in &pointers {
        let beside = field.as_object().into_iter().flat_map(Map::keys).filter(|keyword| *keyword != "type");
        found.extend(beside.map(|keyword| (pointer.as_str(), keyword)));
    }
    found.retain(|(_, keyword)| !DESCRIBING.contains(&keyword.as_str()));
    let warning = |(parent, keyword): (&str, &String)| {
        format!(
            "{} is not checked: the short form knows types only, and all its fields are required; for JSON Schema use \
             its type names and add \"$schema\"",
            pointer_to(parent, keyword)
        )
    };
    found.into_iter().map(warning).collect()
}

fn walk(schema: &Value, pointer: &str, draft: Draft, warnings: &mut Vec<String>) {
    let Value::Object(members) = schema else { return };
    for (keyword, value) in members {
        let here = pointer_to(pointer, keyword);
        if !is_known(keyword, draft) {
            // `x-…` is the custom for own annotations.
            if !keyword.starts_with("x-") {
                warnings.push(format!("{here} has no effect: {draft:?} has no keyword {keyword:?}"));
            }
            continue;
        }
        match (keyword.as_str(), value) {
            ("format", Value::String(format)) if !jsonschema::options().is_known_format(draft, format) => {
                warnings.push(format!("{here} has no effect: the format {format:?} is unknown"));
            }
            (
                "properties" | "patternProperties" | "definitions" | "$defs" | "dependencies" | "dependentSchemas",
                Value::Object(schemas),
            ) => {
                for (name, schema) in schemas {
                    walk(schema, &pointer_to(&here, name), draft, warnings);
                }
            }
            ("allOf" | "anyOf" | "oneOf" | "prefixItems" | "items", Value::Array(schemas)) => {
                for (index, schema) in schemas.iter().enumerate() {
                    walk(schema, &format!("{here}/{index}"), draft, warnings);
                }
            }
            (
                "items"
                | "additionalItems"
                | "unevaluatedItems"
                | "contains"
                | "additionalProperties"
                | "unevaluatedProperties"
                | "propertyNames"
                | "not"
                | "if"
                | "then"
                | "else"
                | "contentSchema",
                schema,
            ) => walk(schema, &here, draft, warnings),
            _ => {}
        }
    }
}

fn is_known(keyword: &str, draft: Draft) -> bool {
    KEYWORDS.iter().any(|(known, first, last)| *known == keyword && *first <= draft && draft <= *last)
}
