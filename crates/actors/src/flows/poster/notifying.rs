//! `NOTIFY`: what is told of a message, to whom, and what was told already.

use super::attempts::{AttemptBoard, AttemptLog};
use super::receiver::{AttemptOutcome, CallReceiver, PostingEnd, attempt_until_settled};
use super::rendering::{RenderFailure, RenderedCall};
use crate::flows::poster::endpoints::{DeliveryCounters, DeliveryOptions, NotifierChoice};
use crate::flows::poster::flow_queue::DeliveryJob;
use hearthgate_domain::delivery::UnixMicros;
use hearthgate_domain::duration::BoundedDuration;
use hearthgate_domain::flow::Flow;
use hearthgate_domain::retry::RetrySchedule;
use hearthgate_endpoints::notification::{Notification, Notifier};
use hearthgate_endpoints::template::TemplatePurpose;
use hearthgate_endpoints::{ClientOptions, EndpointClient, EndpointClientError};
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// Characters of a text that is told; the rest is cut off.
const LONGEST_TEXT: usize = 2_000;
/// Texts whose repetition is watched.
const WATCHED: usize = 1_000;
const MINUTE: u64 = 60;

/// Tells people; shared by all lanes of one incarnation.
pub(super) struct NotificationCaller {
    notifiers: HashMap<Box<str>, NotifierPlace>,
    schedule: RetrySchedule,
    attempts: AttemptBoard,
    told: RefCell<HashMap<u64, ToldText>>,
}

struct NotifierPlace {
    /// What keeps it from ever telling anything stands in its place.
    notifier: Result<Notifier, String>,
    receiver: Rc<CallReceiver>,
    throttle: Duration,
}

/// A text that was told.
#[derive(Clone, Copy)]
struct ToldText {
    /// When what it tells of happened.
    at: UnixMicros,
    /// How often that happened since and was not told.
    since: u32,
}

/// What a flow tells: to whom, and the templates of title and text.
pub(super) struct NotifyAction<'a> {
    pub(super) to: &'a str,
    pub(super) title: Option<&'a str>,
    pub(super) text: Option<&'a str>,
}

/// How a notification ended.
pub(super) enum NotifyEnd {
    /// The same was told not long before.
    Throttled,
    Settled(PostingEnd),
}

impl NotificationCaller {
    /// To be called on the thread that will use it.
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub(super) fn new(options: &DeliveryOptions) -> Result<Self, EndpointClientError> {
        if options.notifiers.is_empty() {
            return Ok(NotificationCaller {
                notifiers: HashMap::new(),
                schedule: schedule(),
                attempts: options.attempts.clone(),
                told: RefCell::default(),
            });
        }
        // Whom the configuration names may be called, whatever flows may reach.
        let client =
            EndpointClient::new(ClientOptions { connect_timeout: options.timeout, ..ClientOptions::default() })?;
        let place = |choice: &NotifierChoice| NotifierPlace {
            notifier: Notifier::new(&choice.options, &client).map_err(|error| error.to_string()),
            receiver: Rc::new(CallReceiver::new(&choice.name, options.breaker, 1)),
            throttle: choice.throttle,
        };
        let notifiers = options.notifiers.iter().map(|choice| (choice.name.as_str().into(), place(choice)));
        let attempts = options.attempts.clone();
        let (notifiers, schedule, told) = (notifiers.collect(), schedule(), RefCell::default());
        Ok(NotificationCaller { notifiers, schedule, attempts, told })
    }

    /// Tells it until it is told, throttled or given up, however long that takes.
    pub(super) async fn notify(
        &self,
        flow: &Arc<Flow>,
        action: &NotifyAction<'_>,
        job: &DeliveryJob,
        message_id: &str,
        counters: &DeliveryCounters,
    ) -> NotifyEnd {
        let given_up = |reason| NotifyEnd::Settled(PostingEnd::GivenUp { reason, attempts: 0 });
        let Some(place) = self.notifiers.get(action.to) else {
            return given_up(format!("there is no [notify.{}] in the configuration", action.to));
        };
        let notifier = match &place.notifier {
            Ok(notifier) => notifier,
            Err(reason) => return given_up(format!("notify.{}: {reason}", action.to)),
        };
        let mut notification = match notification(flow, action, job, message_id) {
            Ok(notification) => notification,
            Err(failure) => return given_up(failure.to_string()),
        };
        let key = key_of(action.to, &notification);
        let Some(untold) = self.untold(key, job.received_at, place.throttle) else { return NotifyEnd::Throttled };
        if untold > 0 {
            notification.text.push_str(&format!(" ({untold} times more since this was told last)"));
        }
        let log = AttemptLog { board: &self.attempts, flow: &flow.code, topic: &job.topic, seq: job.seq };
        let end = attempt_until_settled(flow, &self.schedule, &counters.retried, &log, async || {
            let permit = place.receiver.turn().await;
            let begun = Instant::now();
            let outcome = notifier.send(&notification).await;
            drop(permit);
            Ok(AttemptOutcome { receiver: Rc::clone(&place.receiver), outcome, took: begun.elapsed() })
        });
        let end = end.await;
        if matches!(end, PostingEnd::Delivered) {
            self.note_told(key, job.received_at, place.throttle);
        }
        NotifyEnd::Settled(end)
    }

    /// How often the same happened without being told, if it is to be told now.
    fn untold(&self, key: u64, at: UnixMicros, throttle: Duration) -> Option<u32> {
        match self.told.borrow_mut().get_mut(&key) {
            Some(told) if is_within(told.at, at, throttle) => {
                told.since = told.since.saturating_add(1);
                None
            }
            Some(told) => Some(told.since),
            None => Some(0),
        }
    }

    fn note_told(&self, key: u64, at: UnixMicros, throttle: Duration) {
        let mut told = self.told.borrow_mut();
        if told.len() >= WATCHED {
            told.retain(|_, known| is_within(known.at, at, throttle));
        }
        if told.len() < WATCHED || told.contains_key(&key) {
            told.insert(key, ToldText { at, since: 0 });
        }
    }
}

fn is_within(told: UnixMicros, at: UnixMicros, throttle: Duration) -> bool {
    u128::from(at.abs_diff(told)) < throttle.as_micros()
}

fn key_of(to: &str, notification: &Notification) -> u64 {
    let mut hasher = DefaultHasher::new();
    (to, &notification.title, &notification.text).hash(&mut hasher);
    hasher.finish()
}

fn notification(
    flow: &Flow,
    action: &NotifyAction<'_>,
    job: &DeliveryJob,
    message_id: &str,
) -> Result<Notification, RenderFailure> {
    let message = job.rendered(flow, message_id);
    let title = match action.title {
        Some(template) => message.render(template, TemplatePurpose::Body)?,
        None => flow.code.to_string(),
    };
    let mut text = match action.text {
        Some(template) => message.render(template, TemplatePurpose::Body)?,
        None => plain_text(&message),
    };
    if let Some((end, _)) = text.char_indices().nth(LONGEST_TEXT) {
        text.truncate(end);
        text.push('…');
    }
    let micros = u64::try_from(job.received_at).unwrap_or_default();
    let at = UNIX_EPOCH + Duration::from_micros(micros);
    Ok(Notification { title, text, at, message_id: message_id.to_owned() })
}

fn plain_text(message: &RenderedCall<'_>) -> String {
    format!("{}: {}", message.topic, String::from_utf8_lossy(message.payload))
}

/// An uplink may be away for days: soon at first, then every ten minutes, then every hour, for three days.
fn schedule() -> RetrySchedule {
    let seconds = [0, 5, 30, 2 * MINUTE, 5 * MINUTE].into_iter();
    let seconds = seconds.chain([10 * MINUTE; 20]).chain([60 * MINUTE; 72]);
    let delays = seconds.map(|seconds| BoundedDuration::new(Duration::from_secs(seconds))).collect();
    RetrySchedule::new(delays).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller() -> NotificationCaller {
        let (notifiers, schedule, told) = (HashMap::new(), schedule(), RefCell::default());
        NotificationCaller { notifiers, schedule, attempts: AttemptBoard::default(), told }
    }

    #[test]
    fn attempts_go_on_for_three_days() {
        let total: Duration = schedule().delays().iter().map(|delay| delay.duration()).sum();
        assert!(total >= Duration::from_secs(3 * 24 * 3_600), "{total:?}");
    }

    #[test]
    fn the_same_within_the_time_is_counted_and_not_told() {
        let (caller, minute) = (caller(), 60_000_000);
        let hour = Duration::from_secs(3_600);
        assert_eq!(caller.untold(1, 0, hour), Some(0));
        caller.note_told(1, 0, hour);
        assert_eq!((caller.untold(1, 1, hour), caller.untold(1, 59 * minute, hour)), (None, None));
        assert_eq!(caller.untold(2, 1, hour), Some(0), "another text");
        assert_eq!(caller.untold(1, 60 * minute, hour), Some(2));
    }

    #[test]
    fn what_is_watched_is_bounded() {
        let caller = caller();
        for key in 0..5_000 {
            caller.note_told(key, 0, Duration::from_secs(3_600));
        }
        assert_eq!(caller.told.borrow().len(), WATCHED);
    }
}
