//! What an answer means for the message.

use reqwest::StatusCode;
use std::time::{Duration, SystemTime};

/// Longest wait that an endpoint can ask for; it must not park a queue for good.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// What became of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// The endpoint has it (2xx).
    Delivered {
        /// HTTP status.
        status: u16,
    },
    /// It may work later: no connection, no answer in time, 408, 425, 429 or 5xx.
    RetryLater {
        /// HTTP status, if there was an answer.
        status: Option<u16>,
        /// What `Retry-After` asks for, at most a day.
        after: Option<Duration>,
        /// In words, with the beginning of the answer.
        reason: String,
    },
    /// It will not work: 3xx, any other 4xx, or a call that cannot be made at all.
    Refused {
        /// HTTP status, if there was an answer.
        status: Option<u16>,
        /// In words, with the beginning of the answer.
        reason: String,
    },
    /// The endpoint wants no more calls (410).
    Gone {
        /// In words, with the beginning of the answer.
        reason: String,
    },
}

impl CallOutcome {
    /// What a status means. `now` is when the call was made; `answer` the beginning of the body.
    pub(crate) fn of_answer(status: StatusCode, retry_after: Option<&str>, now: SystemTime, answer: &str) -> Self {
        let code = status.as_u16();
        if status.is_success() {
            return CallOutcome::Delivered { status: code };
        }
        let mut reason = status.to_string();
        if !answer.is_empty() {
            reason.push_str(": ");
            reason.push_str(answer);
        }
        match code {
            410 => CallOutcome::Gone { reason },
            408 | 425 | 429 | 500..=599 => {
                let after = retry_after.and_then(|value| wait(value, now));
                CallOutcome::RetryLater { status: Some(code), after, reason }
            }
            _ => CallOutcome::Refused { status: Some(code), reason },
        }
    }
}

/// Reads `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date. Anything else counts as absent.
fn wait(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        value.parse().map_or(LONGEST_WAIT, Duration::from_secs)
    } else {
        // A date that is over means now.
        httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or_default()
    };
    Some(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(status: u16, retry_after: Option<&str>) -> CallOutcome {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        CallOutcome::of_answer(StatusCode::from_u16(status).unwrap(), retry_after, now, "why")
    }

    #[test]
    fn every_status_has_its_meaning() {
        for status in 200..300 {
            assert_eq!(outcome(status, None), CallOutcome::Delivered { status });
        }
        for status in (500..600).chain([408, 425, 429]) {
            assert!(matches!(outcome(status, None), CallOutcome::RetryLater { after: None, .. }), "{status}");
        }
        assert_eq!(outcome(410, None), CallOutcome::Gone { reason: "410 Gone: why".into() });
        let others = (300..500).filter(|status| ![408, 410, 425, 429].contains(status));
        for status in others {
            assert!(matches!(outcome(status, None), CallOutcome::Refused { status: Some(_), .. }), "{status}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let after = |value| match outcome(503, Some(value)) {
            CallOutcome::RetryLater { after, .. } => after.map(|after| after.as_secs()),
            other => panic!("{other:?}"),
        };
        assert_eq!(after("120"), Some(120));
        assert_eq!(after("Sun, 06 Nov 1994 08:51:37 GMT"), Some(120));
        assert_eq!(after("Sunday, 06-Nov-94 08:51:37 GMT"), Some(120), "the obsolete form of RFC 850");
        assert_eq!(after("Sun, 06 Nov 1994 08:49:00 GMT"), Some(0));
        assert_eq!(after("99999999999999999999999"), Some(86_400));
        assert_eq!(after("soon"), None);
        assert_eq!(after("-5"), None);
        assert_eq!(after(""), None);
    }
}
