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
    #[error("this needs the right {0:?}, which the token that you used does not give")]
    ScopeTooNarrow(&'static str),
    #[error("too many wrong tokens from your address; wait a minute")]
    TooManyTries,
    #[error(
        "there is no token to log in with: [http] token is not set, and whoever reaches this API may do everything"
    )]
    NoLogin,
    #[error("{0}")]
    Missing(String),
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    Conflict(String),
    #[error("somebody changed it since you read it; read it again and repeat your change")]
    Outdated,
    #[error("say which version you change: send its ETag as `If-Match`")]
    VersionMissing,
    #[error("{0}")]
    Unavailable(String),
    #[error("{0} is not part of this gateway as it is configured")]
    NotHere(&'static str),
    #[error("there are as many event streams as there may be; close a view")]
    TooManyStreams,
    #[error("flows are switched off in the configuration")]
    FlowsOff,
    #[error("{0}")]
    NotDone(String),
    #[error("there is nothing at this path")]
    NoSuchPath,
    #[error("this path does not take that method")]
    WrongMethod(String),
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
            Refusal::ScopeTooNarrow(_) => "scope-too-narrow",
            Refusal::TooManyTries => "too-many-tries",
            Refusal::NoLogin => "no-login",
            Refusal::Missing(_) => "missing",
            Refusal::Invalid(_) => "invalid",
            Refusal::Conflict(_) => "conflict",
            Refusal::Outdated => "outdated",
            Refusal::VersionMissing => "version-missing",
            Refusal::Unavailable(_) => "unavailable",
            Refusal::NotHere(_) => "not-here",
            Refusal::TooManyStreams => "too-many-streams",
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
            Refusal::ForeignOrigin | Refusal::TokenWrong | Refusal::ScopeTooNarrow(_) => StatusCode::FORBIDDEN,
            Refusal::TooManyTries => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::Outdated => StatusCode::PRECONDITION_FAILED,
            Refusal::VersionMissing => StatusCode::PRECONDITION_REQUIRED,
            Refusal::Unavailable(_) | Refusal::TooManyStreams => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::TokenMissing => StatusCode::UNAUTHORIZED,
            Refusal::UnknownActor(_)
            | Refusal::UnknownCommand(_)
            | Refusal::NoSuchPath
            | Refusal::NotHere(_)
            | Refusal::Missing(_) => StatusCode::NOT_FOUND,
            Refusal::WrongMethod(_) => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::Control(ControlError::Stopped(_) | ControlError::NotMade(_))
            | Refusal::FlowsOff
            | Refusal::NoLogin
            | Refusal::Conflict(_)
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
            Refusal::TooManyTries => drop(response.insert_header((header::RETRY_AFTER, "60"))),
            Refusal::WrongMethod(allowed) => drop(response.insert_header((header::ALLOW, allowed.as_str()))),
            _ => {}
        }
        response.content_type("application/problem+json").body(serde_json::to_vec(&problem).unwrap_or_default())
    }
}
