//! Looking into a running broker from another thread: who is or was connected, and an end to a connection.

use super::figures::BrokerFigures;
use super::loss::BrokerLoss;
use super::server::auth::AccessControl;
use super::server::shared::ServerState;
use super::state::BrokerState;
use super::state::message::BrokerMessage;
use super::topic;
use crate::codec::ProtocolLevel;
use crate::codec::reason::ReasonCode;
use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Questions that may wait.
const ROOM: usize = 16;
/// Clients that an answer names.
const MOST_CLIENTS: usize = 1_000;
/// Retained messages that an answer names.
const MOST_RETAINED: usize = 500;
const PATIENCE: Duration = Duration::from_secs(2);

/// One client's session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientState {
    /// Client id.
    pub id: String,
    /// As whom it came.
    pub user: Option<String>,
    /// `3.1`, `3.1.1` or `5.0`; a session from before a restart has the newest.
    pub protocol: &'static str,
    /// Whether a connection stands.
    pub is_connected: bool,
    /// When the last one ended.
    pub left: Option<SystemTime>,
    /// Seconds that the session outlives its connection.
    pub expiry: u32,
    /// Filters, in their order.
    pub subscriptions: Vec<String>,
    /// Messages that wait.
    pub queued: usize,
    /// Bytes of those and of the ones on their way.
    pub queued_bytes: usize,
    /// Messages on their way.
    pub inflight: usize,
}

/// What the broker holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerSnapshot {
    /// The connected ones first, then by id.
    pub clients: Vec<ClientState>,
    /// How many more there are.
    pub left_out: usize,
    /// Retained messages.
    pub retained: usize,
    /// Messages that clients did not get because their queue was full.
    pub dropped: u64,
}

/// A retained message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetainedState {
    /// Its topic.
    pub topic: String,
    /// Its payload.
    pub payload: Bytes,
}

/// Retained messages below a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetainedSnapshot {
    /// By topic.
    pub messages: Vec<RetainedState>,
    /// How many more there are.
    pub left_out: usize,
}

/// What a client may do with a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicRights {
    /// Whether it can connect at all, with the right password.
    pub may_connect: bool,
    /// Whether it may publish to it.
    pub may_publish: bool,
    /// Whether it gets messages of it, if it subscribes.
    pub may_receive: bool,
}

/// Who asks for a right, and for which topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RightsQuestion {
    /// As whom it would come.
    pub user: Option<String>,
    /// Client id.
    pub client_id: String,
    /// A topic without wildcards.
    pub topic: String,
}

/// The broker does not run, or is too busy to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the embedded broker does not answer")]
pub struct NoAnswer;

pub(super) enum InspectorQuestion {
    Figures(oneshot::Sender<BrokerFigures>),
    Snapshot(oneshot::Sender<BrokerSnapshot>),
    Disconnect(String, oneshot::Sender<bool>),
    Rights(RightsQuestion, oneshot::Sender<TopicRights>),
    Retained(String, oneshot::Sender<RetainedSnapshot>),
    ClearRetained(String, oneshot::Sender<bool>),
}

/// Asks whichever broker runs now. Clones ask the same.
#[derive(Clone, Debug, Default)]
pub struct BrokerInspector(Arc<Mutex<Option<mpsc::Sender<InspectorQuestion>>>>);

impl BrokerInspector {
    /// What the broker holds now.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn snapshot(&self) -> Result<BrokerSnapshot, NoAnswer> {
        self.ask(InspectorQuestion::Snapshot).await
    }

    /// What the broker counts.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn figures(&self) -> Result<BrokerFigures, NoAnswer> {
        self.ask(InspectorQuestion::Figures).await
    }

    /// Ends the connection of this client; tells whether it had one.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn disconnect(&self, id: String) -> Result<bool, NoAnswer> {
        self.ask(|answer| InspectorQuestion::Disconnect(id, answer)).await
    }

    /// What the broker would allow: it decides by the same lists when a client comes.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn rights(&self, question: RightsQuestion) -> Result<TopicRights, NoAnswer> {
        self.ask(|answer| InspectorQuestion::Rights(question, answer)).await
    }

    /// The retained messages of this topic and below it; all with an empty prefix, but for those that begin with `$`.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn retained(&self, under: String) -> Result<RetainedSnapshot, NoAnswer> {
        self.ask(|answer| InspectorQuestion::Retained(under, answer)).await
    }

    /// Removes the retained message of this topic, as a client would; tells whether there was one.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn clear_retained(&self, topic: String) -> Result<bool, NoAnswer> {
        self.ask(|answer| InspectorQuestion::ClearRetained(topic, answer)).await
    }

    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> InspectorQuestion) -> Result<T, NoAnswer> {
        let asked = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or(NoAnswer)?;
        let (answer, answered) = oneshot::channel();
        asked.try_send(question(answer)).map_err(|_| NoAnswer)?;
        tokio::time::timeout(PATIENCE, answered).await.map_err(|_| NoAnswer)?.map_err(|_| NoAnswer)
    }

    /// From now on this broker is asked.
    pub(super) fn open(&self) -> mpsc::Receiver<InspectorQuestion> {
        let (asked, questions) = mpsc::channel(ROOM);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
        questions
    }
}

/// Answers for ever.
pub(super) async fn answer(server: &ServerState, mut questions: mpsc::Receiver<InspectorQuestion>) {
    let ServerState { hub, gatekeeper, .. } = server;
    while let Some(question) = questions.recv().await {
        // Whoever asked may be gone.
        match question {
            InspectorQuestion::Figures(answer) => drop(answer.send(hub.borrow().figures())),
            InspectorQuestion::Snapshot(answer) => drop(answer.send(snapshot(&hub.borrow()))),
            InspectorQuestion::Disconnect(id, answer) => drop(answer.send(disconnect(&mut hub.borrow_mut(), &id))),
            InspectorQuestion::Retained(under, answer) => drop(answer.send(retained(&hub.borrow(), &under))),
            InspectorQuestion::ClearRetained(topic, answer) => {
                let _ = answer.send(hub.borrow_mut().clear_retained(&topic));
            }
            InspectorQuestion::Rights(question, answer) => drop(answer.send(rights(gatekeeper, &question))),
        }
    }
    std::future::pending().await
}

fn rights(gatekeeper: &AccessControl, RightsQuestion { user, client_id, topic }: &RightsQuestion) -> TopicRights {
    let Some(rights) = gatekeeper.rights_by_name(user.as_deref(), client_id) else { return TopicRights::default() };
    let is_name = topic::is_name(topic);
    TopicRights {
        may_connect: true,
        may_publish: is_name && rights.may_publish(topic),
        may_receive: is_name && rights.may_receive(topic),
    }
}

fn retained(hub: &BrokerState, under: &str) -> RetainedSnapshot {
    let filter = if under.is_empty() { "#".to_owned() } else { format!("{under}/#") };
    let found = hub.retained.matching(&filter, Instant::now());
    let state = |message: &Arc<BrokerMessage>| RetainedState {
        topic: message.topic.to_string(),
        payload: message.payload.clone(),
    };
    RetainedSnapshot {
        messages: found.iter().take(MOST_RETAINED).map(state).collect(),
        left_out: found.len().saturating_sub(MOST_RETAINED),
    }
}

fn snapshot(hub: &BrokerState) -> BrokerSnapshot {
    let mut sessions: Vec<_> = hub.sessions.iter().map(|(_, session)| session).collect();
    sessions.sort_by(|a, b| (a.link.is_none(), &a.identity.client_id).cmp(&(b.link.is_none(), &b.identity.client_id)));
    let left_out = sessions.len().saturating_sub(MOST_CLIENTS);
    sessions.truncate(MOST_CLIENTS);
    let client = |session: &super::state::session::ClientSession| {
        let mut subscriptions: Vec<String> = session.subscriptions.keys().map(|filter| filter.to_string()).collect();
        subscriptions.sort();
        ClientState {
            id: session.identity.client_id.to_string(),
            user: session.identity.user.as_deref().map(str::to_owned),
            protocol: match session.version {
                ProtocolLevel::V31 => "3.1",
                ProtocolLevel::V311 => "3.1.1",
                ProtocolLevel::V5 => "5.0",
            },
            is_connected: session.link.is_some(),
            left: session
                .left
                .filter(|_| session.link.is_none())
                .and_then(|left| SystemTime::now().checked_sub(left.elapsed())),
            expiry: session.expiry,
            subscriptions,
            queued: session.outgoing.queue.len(),
            queued_bytes: session.outgoing.bytes(),
            inflight: session.outgoing.inflight.len(),
        }
    };
    BrokerSnapshot {
        clients: sessions.into_iter().map(client).collect(),
        left_out,
        retained: hub.retained.len(),
        dropped: hub.losses.total(BrokerLoss::QueueFull),
    }
}

fn disconnect(hub: &mut BrokerState, id: &str) -> bool {
    let link = hub
        .sessions
        .iter()
        .find(|(_, session)| &*session.identity.client_id == id)
        .and_then(|(_, session)| session.link);
    if let Some(link) = link {
        hub.end_link(link, ReasonCode::AdministrativeAction);
    }
    link.is_some()
}
