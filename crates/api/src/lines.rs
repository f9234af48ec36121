//! How the table of operations is written down.

use crate::operation::{AnswerKind, ApiOperation};
use crate::scope::AccessScope;
use actix_web::http::Method;
use actix_web::web;

/// Builds the table line by line.
#[derive(Default)]
pub(crate) struct TableLines(Vec<ApiOperation>);

impl TableLines {
    pub(crate) fn add(
        &mut self,
        (method, path): (Method, &'static str),
        scope: AccessScope,
        summary: &'static str,
    ) -> &mut ApiOperation {
        let subject = path.strip_prefix("/api/v1/").map_or("probes", |rest| rest.split('/').next().unwrap_or(rest));
        self.0.push(ApiOperation {
            method,
            path,
            scope,
            subject,
            summary,
            query: &[],
            body: None,
            answer: AnswerKind::Nothing,
            is_versioned: false,
            route: web::route,
        });
        let last = self.0.len() - 1;
        &mut self.0[last]
    }

    pub(crate) fn get(
        &mut self,
        path: &'static str,
        scope: AccessScope,
        answer: AnswerKind,
        summary: &'static str,
    ) -> &mut ApiOperation {
        self.answering((Method::GET, path), scope, answer, summary)
    }

    pub(crate) fn post(
        &mut self,
        path: &'static str,
        scope: AccessScope,
        answer: AnswerKind,
        summary: &'static str,
    ) -> &mut ApiOperation {
        self.answering((Method::POST, path), scope, answer, summary)
    }

    fn answering(
        &mut self,
        place: (Method, &'static str),
        scope: AccessScope,
        answer: AnswerKind,
        summary: &'static str,
    ) -> &mut ApiOperation {
        let operation = self.add(place, scope, summary);
        operation.answer = answer;
        operation
    }

    pub(crate) fn done(self) -> Vec<ApiOperation> {
        self.0
    }
}
