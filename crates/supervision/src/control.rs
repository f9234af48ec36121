//! Orders to a guarded actor, each with an answer.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Orders that may wait at one guard. They come from people, one at a time.
const WAITING_ORDERS: usize = 8;
/// A guard answers within the actor's `stop_timeout` and this.
const MARGIN: Duration = Duration::from_secs(2);

/// What an operator can want of an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OperatorCommand {
    /// Begin a life, if there is none.
    Start,
    /// End its life in order and stay down; the mailbox stays open and bounded.
    Stop,
    /// End its life in order, if there is one, and begin the next with the queue intact.
    Restart,
    /// Go on after it parked, or now instead of after the backoff.
    Resume,
}

impl OperatorCommand {
    /// The name in the API and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            OperatorCommand::Start => "start",
            OperatorCommand::Stop => "stop",
            OperatorCommand::Restart => "restart",
            OperatorCommand::Resume => "resume",
        }
    }
}

impl std::str::FromStr for OperatorCommand {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "start" => Ok(OperatorCommand::Start),
            "stop" => Ok(OperatorCommand::Stop),
            "restart" => Ok(OperatorCommand::Restart),
            "resume" => Ok(OperatorCommand::Resume),
            other => Err(format!("an actor can be told to start, stop, restart or resume, not to {other:?}")),
        }
    }
}

/// The order was understood and the actor is as wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperatorAnswer {
    /// It was carried out.
    Done,
    /// There was nothing to do.
    Already,
}

/// The order was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The guard has ended, with its thread.
    #[error("actor {0:?} has ended for good; restart the gateway")]
    Gone(Arc<str>),
    /// Too many orders are waiting.
    #[error("too many orders are waiting for actor {0:?}; try again")]
    Busy(Arc<str>),
    /// The actor's thread did not answer in time; the order is withdrawn.
    #[error(
        "actor {0:?} did not answer: its thread is blocked, and only ending the gateway ends that; the order is withdrawn"
    )]
    Unresponsive(Arc<str>),
    /// `resume` for an actor that was stopped on purpose.
    #[error("actor {0:?} was stopped, it is not parked; use start")]
    Stopped(Arc<str>),
    /// Its constructor panicked, so there is nothing to start.
    #[error("actor {0:?} could not be made at all; see its last error, and restart the gateway once that is put right")]
    NotMade(Arc<str>),
}

/// Gives orders to one actor; cheap to clone.
#[derive(Clone, Debug)]
pub struct ControlHandle {
    name: Arc<str>,
    orders: mpsc::Sender<CommandEnvelope>,
    patience: Duration,
}

impl ControlHandle {
    /// See [`OperatorCommand::Start`].
    pub async fn start(&self) -> Result<OperatorAnswer, ControlError> {
        self.order(OperatorCommand::Start).await
    }

    /// See [`OperatorCommand::Stop`]. Answered once the actor has ended.
    pub async fn stop(&self) -> Result<OperatorAnswer, ControlError> {
        self.order(OperatorCommand::Stop).await
    }

    /// See [`OperatorCommand::Restart`]. Answered once the old life has ended and the next was begun.
    pub async fn restart(&self) -> Result<OperatorAnswer, ControlError> {
        self.order(OperatorCommand::Restart).await
    }

    /// See [`OperatorCommand::Resume`].
    pub async fn resume(&self) -> Result<OperatorAnswer, ControlError> {
        self.order(OperatorCommand::Resume).await
    }

    /// Gives any order. Waits for its answer at most `stop_timeout` and two seconds.
    ///
    /// # Errors
    /// See [`ControlError`]; the order was then not carried out.
    pub async fn order(&self, command: OperatorCommand) -> Result<OperatorAnswer, ControlError> {
        self.send(ActorCommand::Command(command)).await
    }

    /// Makes the actor panic, fail or freeze. Answered when the fault is about to happen.
    ///
    /// # Errors
    /// [`ControlError::Stopped`] when the actor is not up.
    #[cfg(feature = "fault-injection")]
    pub async fn inject(&self, fault: crate::InjectedFault) -> Result<OperatorAnswer, ControlError> {
        self.send(ActorCommand::Fault(fault)).await
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.orders.is_closed()
    }

    async fn send(&self, wish: ActorCommand) -> Result<OperatorAnswer, ControlError> {
        let (answer, answered) = oneshot::channel();
        self.orders.try_send(CommandEnvelope { wish, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ControlError::Busy(Arc::clone(&self.name)),
            mpsc::error::TrySendError::Closed(_) => ControlError::Gone(Arc::clone(&self.name)),
        })?;
        match tokio::time::timeout(self.patience, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_dropped)) => Err(ControlError::Gone(Arc::clone(&self.name))),
            Err(_elapsed) => Err(ControlError::Unresponsive(Arc::clone(&self.name))),
        }
    }
}

#[derive(Debug)]
pub(crate) enum ActorCommand {
    Command(OperatorCommand),
    #[cfg(feature = "fault-injection")]
    Fault(crate::InjectedFault),
}

#[derive(Debug)]
pub(crate) struct CommandEnvelope {
    pub(crate) wish: ActorCommand,
    answer: oneshot::Sender<Result<OperatorAnswer, ControlError>>,
}

impl CommandEnvelope {
    pub(crate) fn answer(self, answer: Result<OperatorAnswer, ControlError>) {
        // Who gave the order may have gone meanwhile; nobody else wants the answer.
        let _ = self.answer.send(answer);
    }
}

/// The guard's end of the line.
#[derive(Debug)]
pub(crate) struct CommandReceiver(mpsc::Receiver<CommandEnvelope>);

impl CommandReceiver {
    /// The next order that somebody still waits for; `None` when no handle is left.
    pub(crate) async fn next(&mut self) -> Option<CommandEnvelope> {
        loop {
            let order = self.0.recv().await?;
            if !order.answer.is_closed() {
                return Some(order);
            }
        }
    }
}

pub(crate) fn line(name: Arc<str>, stop_timeout: Duration) -> (ControlHandle, CommandReceiver) {
    let (orders, receiver) = mpsc::channel(WAITING_ORDERS);
    (ControlHandle { name, orders, patience: stop_timeout.saturating_add(MARGIN) }, CommandReceiver(receiver))
}
