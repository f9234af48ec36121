//! Why a request was not served, and how that is said (RFC 9457).

use crate::api::ProblemDetails;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use hearthgate_supervision::ControlError;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestRefusal {
    #[error("this API is not addressed as {0:?}; use its address or localhost")]
    ForeignHost(String),
    #[error("orders from web pages of other sites are refused")]
    ForeignOrigin,
    #[error(
        "this needs a token, that of [http] token or one of `hearthgate token new`: send `Authorization: Bearer TOKEN`"
    )]
    TokenMissing,
    #[error("the token is neither that of [http] token nor one of `hearthgate token list`")]
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

impl RequestRefusal {
    fn code(&self) -> &'static str {
        match self {
            RequestRefusal::ForeignHost(_) => "foreign-host",
            RequestRefusal::ForeignOrigin => "foreign-origin",
            RequestRefusal::TokenMissing => "token-missing",
            RequestRefusal::TokenWrong => "token-wrong",
            RequestRefusal::UnknownActor(_) => "unknown-actor",
            RequestRefusal::UnknownCommand(_) => "unknown-command",
            RequestRefusal::ScopeTooNarrow(_) => "scope-too-narrow",
            RequestRefusal::TooManyTries => "too-many-tries",
            RequestRefusal::NoLogin => "no-login",
            RequestRefusal::Missing(_) => "missing",
            RequestRefusal::Invalid(_) => "invalid",
            RequestRefusal::Conflict(_) => "conflict",
            RequestRefusal::Outdated => "outdated",
            RequestRefusal::VersionMissing => "version-missing",
            RequestRefusal::Unavailable(_) => "unavailable",
            RequestRefusal::NotHere(_) => "not-here",
            RequestRefusal::TooManyStreams => "too-many-streams",
            RequestRefusal::FlowsOff => "flows-off",
            RequestRefusal::NotDone(_) => "not-done",
            RequestRefusal::NoSuchPath => "no-such-path",
            RequestRefusal::WrongMethod(_) => "wrong-method",
            RequestRefusal::Control(ControlError::Gone(_)) => "actor-gone",
            RequestRefusal::Control(ControlError::Busy(_)) => "actor-busy",
            RequestRefusal::Control(ControlError::Unresponsive(_)) => "actor-unresponsive",
            RequestRefusal::Control(ControlError::Stopped(_)) => "actor-stopped",
            RequestRefusal::Control(ControlError::NotMade(_)) => "actor-not-made",
            RequestRefusal::Internal(_) => "internal",
        }
    }
}

impl ResponseError for RequestRefusal {
    fn status_code(&self) -> StatusCode {
        match self {
            RequestRefusal::ForeignHost(_) => StatusCode::MISDIRECTED_REQUEST,
            RequestRefusal::ForeignOrigin | RequestRefusal::TokenWrong | RequestRefusal::ScopeTooNarrow(_) => {
                StatusCode::FORBIDDEN
            }
            RequestRefusal::TooManyTries => StatusCode::TOO_MANY_REQUESTS,
            RequestRefusal::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            RequestRefusal::Outdated => StatusCode::PRECONDITION_FAILED,
            RequestRefusal::VersionMissing => StatusCode::PRECONDITION_REQUIRED,
            RequestRefusal::Unavailable(_) | RequestRefusal::TooManyStreams => StatusCode::SERVICE_UNAVAILABLE,
            RequestRefusal::TokenMissing => StatusCode::UNAUTHORIZED,
            RequestRefusal::UnknownActor(_)
            | RequestRefusal::UnknownCommand(_)
            | RequestRefusal::NoSuchPath
            | RequestRefusal::NotHere(_)
            | RequestRefusal::Missing(_) => StatusCode::NOT_FOUND,
            RequestRefusal::WrongMethod(_) => StatusCode::METHOD_NOT_ALLOWED,
            RequestRefusal::Control(ControlError::Stopped(_) | ControlError::NotMade(_))
            | RequestRefusal::FlowsOff
            | RequestRefusal::NoLogin
            | RequestRefusal::Conflict(_)
            | RequestRefusal::NotDone(_) => StatusCode::CONFLICT,
            RequestRefusal::Control(ControlError::Gone(_)) => StatusCode::GONE,
            RequestRefusal::Control(ControlError::Busy(_)) => StatusCode::SERVICE_UNAVAILABLE,
            RequestRefusal::Control(ControlError::Unresponsive(_)) => StatusCode::GATEWAY_TIMEOUT,
            RequestRefusal::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let problem = ProblemDetails {
            kind: "about:blank".into(),
            title: status.canonical_reason().unwrap_or_default().into(),
            status: status.as_u16(),
            detail: self.to_string(),
            code: self.code().into(),
        };
        let mut response = HttpResponse::build(status);
        match self {
            RequestRefusal::TokenMissing => drop(response.insert_header((header::WWW_AUTHENTICATE, "Bearer"))),
            RequestRefusal::TooManyTries => drop(response.insert_header((header::RETRY_AFTER, "60"))),
            RequestRefusal::WrongMethod(allowed) => drop(response.insert_header((header::ALLOW, allowed.as_str()))),
            _ => {}
        }
        response.content_type("application/problem+json").body(serde_json::to_vec(&problem).unwrap_or_default())
    }
}
