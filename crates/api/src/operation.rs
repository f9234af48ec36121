//! An operation of the API, as router, gate and document see it.

use crate::scope::Scope;
use actix_web::Route;
use actix_web::http::Method;
use schemars::{JsonSchema, Schema, SchemaGenerator};

/// One operation.
pub(crate) struct Operation {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) scope: Scope,
    pub(crate) subject: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) query: &'static [Parameter],
    pub(crate) body: Option<SchemaOf>,
    pub(crate) answer: Answered,
    /// Wants `If-Match`.
    pub(crate) is_versioned: bool,
    pub(crate) route: fn() -> Route,
}

impl Operation {
    pub(crate) fn by(&mut self, route: fn() -> Route) -> &mut Self {
        self.route = route;
        self
    }

    pub(crate) fn query(&mut self, query: &'static [Parameter]) -> &mut Self {
        self.query = query;
        self
    }

    pub(crate) fn body<T: JsonSchema>(&mut self) -> &mut Self {
        self.body = Some(schema::<T>);
        self
    }

    pub(crate) fn versioned(&mut self) -> &mut Self {
        self.is_versioned = true;
        self
    }
}

/// What an operation answers with, if all is well.
#[derive(Clone, Copy)]
pub(crate) enum Answered {
    Json(SchemaOf),
    /// Another content type than JSON.
    Text(&'static str),
    Nothing,
}

/// A parameter of the query: name, whether it is a number, what it is.
pub(crate) type Parameter = (&'static str, bool, &'static str);

pub(crate) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

pub(crate) fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}
