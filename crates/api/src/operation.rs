//! An operation of the API, as router, gate and document see it.

use crate::scope::AccessScope;
use actix_web::Route;
use actix_web::http::Method;
use schemars::{JsonSchema, Schema, SchemaGenerator};

/// One operation.
pub(crate) struct ApiOperation {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) scope: AccessScope,
    pub(crate) subject: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) query: &'static [QueryParameter],
    pub(crate) body: Option<SchemaOf>,
    pub(crate) answer: AnswerKind,
    /// Wants `If-Match`.
    pub(crate) is_versioned: bool,
    pub(crate) route: fn() -> Route,
}

impl ApiOperation {
    pub(crate) fn by(&mut self, route: fn() -> Route) -> &mut Self {
        self.route = route;
        self
    }

    pub(crate) fn query(&mut self, query: &'static [QueryParameter]) -> &mut Self {
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
pub(crate) enum AnswerKind {
    Json(SchemaOf),
    /// Another content type than JSON.
    Text(&'static str),
    Nothing,
}

/// A parameter of the query: name, what is written there, what it is.
pub(crate) type QueryParameter = (&'static str, QueryKind, &'static str);

/// What is written in a parameter of the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueryKind {
    Text,
    /// A text that may not be left out.
    Needed,
    /// A whole number from 0 on.
    Number,
    /// `true` or `false`.
    Flag,
    /// RFC 3339.
    Time,
}

pub(crate) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

pub(crate) fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}
