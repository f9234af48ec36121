//! Why a request was not served, and how that is said (RFC 9457).

use crate::api::Problem;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use hearthgate_supervision::ControlError;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("this API is not addressed as {0:?}; use its address or localhost")]
    ForeignHost(String),
    #[error("orders from web pages of other sites are refused")]
    ForeignOrigin,
    #[error("this needs the token of [http] token: send `Authorization: Bearer TOKEN`")]
    TokenMissing,
    #[error("the token is not the one of [http] token")]
    TokenWrong,
    #[error("there is no actor {0:?}; GET /api/v1/actors lists them")]
    UnknownActor(String),
    #[error("{0}")]
    UnknownCommand(String),
    #[error("flows are switched off (flows.enabled, database.enabled)")]
    FlowsOff,
    #[error("{0}")]
    NotDone(String),
    #[error("there is nothing at this path")]
    NoSuchPath,
    #[error("this path does not take that method")]
    WrongMethod(&'static str),
    #[error("{0}")]
    Control(#[from] ControlError),
    #[error("{0}")]
    Internal(&'static str),
}

impl Refusal {
    fn code(&self) -> &'static str {
        match self {
            Refusal::ForeignHost(_) => "foreign-host",
            Refusal::ForeignOrigin => "foreign-origin",
            Refusal::TokenMissing => "token-missing",
            Refusal::TokenWrong => "token-wrong",
            Refusal::UnknownActor(_) => "unknown-actor",
            Refusal::UnknownCommand(_) => "unknown-command",
            Refusal::FlowsOff => "flows-off",
            Refusal::NotDone(_) => "not-done",
            Refusal::NoSuchPath => "no-such-path",
            Refusal::WrongMethod(_) => "wrong-method",
            Refusal::Control(ControlError::Gone(_)) => "actor-gone",
            Refusal::Control(ControlError::Busy(_)) => "actor-busy",
            Refusal::Control(ControlError::Unresponsive(_)) => "actor-unresponsive",
            Refusal::Control(ControlError::Stopped(_)) => "actor-stopped",
            Refusal::Control(ControlError::NotMade(_)) => "actor-not-made",
            Refusal::Internal(_) => "internal",
        }
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        match self {
            Refusal::ForeignHost(_) => StatusCode::MISDIRECTED_REQUEST,
            Refusal::ForeignOrigin | Refusal::TokenWrong => StatusCode::FORBIDDEN,
            Refusal::TokenMissing => StatusCode::UNAUTHORIZED,
            Refusal::UnknownActor(_) | Refusal::UnknownCommand(_) | Refusal::NoSuchPath => StatusCode::NOT_FOUND,
            Refusal::WrongMethod(_) => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::Control(ControlError::Stopped(_) | ControlError::NotMade(_))
            | Refusal::FlowsOff
            | Refusal::NotDone(_) => StatusCode::CONFLICT,
            Refusal::Control(ControlError::Gone(_)) => StatusCode::GONE,
            Refusal::Control(ControlError::Busy(_)) => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Control(ControlError::Unresponsive(_)) => StatusCode::GATEWAY_TIMEOUT,
            Refusal::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let problem = Problem {
            kind: "about:blank".into(),
            title: status.canonical_reason().unwrap_or_default().into(),
            status: status.as_u16(),
            detail: self.to_string(),
            code: self.code().into(),
        };
        let mut response = HttpResponse::build(status);
        match self {
            Refusal::TokenMissing => drop(response.insert_header((header::WWW_AUTHENTICATE, "Bearer"))),
            Refusal::WrongMethod(allowed) => drop(response.insert_header((header::ALLOW, *allowed))),
            _ => {}
        }
        response.content_type("application/problem+json").body(serde_json::to_vec(&problem).unwrap_or_default())
    }
}
