//! The queue of commands, which outlives a run of its driver.

use hearthgate_domain::mapping::internal_msg::InternalMsg;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, Notify, OwnedMutexGuard};

/// A message for the device.
#[derive(Clone, PartialEq)]
pub struct DeviceCommand {
    /// In internal keywords, as the interface's map decoded it. Statuses of others come this way too.
    pub message: InternalMsg,
    /// When it came from the broker: its age counts from here.
    pub received_at: Instant,
}

impl fmt::Debug for DeviceCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({} {} arguments)", self.message.action, self.message.arguments.len())
    }
}

/// Puts commands into the queue. When it is dropped the driver stops in order.
pub struct CommandSender(Arc<Shared>);

/// The receiving end of the queue. It outlives a run of the driver: clone it into each run, and what a crashed run had not
/// handed to its device is first in line for the next.
#[derive(Clone)]
pub struct CommandQueue {
    shared: Arc<Shared>,
    /// Held by the run that takes commands.
    turn: Arc<Mutex<()>>,
}

struct Shared {
    room: usize,
    state: std::sync::Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// Oldest first; the one in hand is still among them.
    waiting: VecDeque<Arc<DeviceCommand>>,
    is_closed: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Never left half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CommandSender {
    /// Puts a command at the end.
    ///
    /// # Errors
    /// There is no room; answer it with [`refusal`](crate::replies::refusal).
    #[expect(clippy::result_large_err, reason = "a refused command goes back to its sender as it came")]
    pub fn try_send(&self, command: DeviceCommand) -> Result<(), DeviceCommand> {
        let mut state = self.0.state();
        if state.waiting.len() >= self.0.room {
            return Err(command);
        }
        state.waiting.push_back(Arc::new(command));
        self.0.changed.notify_one();
        Ok(())
    }
}

impl Drop for CommandSender {
    fn drop(&mut self) {
        self.0.state().is_closed = true;
        self.0.changed.notify_one();
    }
}

impl CommandQueue {
    /// A queue for at most `room` (at least 1) waiting commands, the one in hand included.
    #[must_use]
    pub fn new(room: usize) -> (CommandSender, CommandQueue) {
        let shared = Arc::new(Shared { room: room.max(1), state: std::sync::Mutex::default(), changed: Notify::new() });
        (CommandSender(Arc::clone(&shared)), CommandQueue { shared, turn: Arc::default() })
    }

    /// Waits until no other run takes commands.
    pub(crate) async fn lock(&self) -> PendingCommands {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        PendingCommands { shared: Arc::clone(&self.shared), _turn: turn, in_hand: InHand::default() }
    }
}

/// The commands as one run of a driver sees them, oldest first. Every method can be cancelled without losing a command.
pub(crate) struct PendingCommands {
    shared: Arc<Shared>,
    _turn: OwnedMutexGuard<()>,
    in_hand: InHand,
}

/// Whether a command is in hand, and whether the device has got it.
#[derive(Default)]
struct InHand {
    is_taken: bool,
    handed_over: Arc<AtomicBool>,
}

impl PendingCommands {
    /// Takes the oldest command in hand, leaving it in the queue until [`PendingCommands::finish`]. `None`: the sender is gone.
    pub(crate) async fn begin(&mut self) -> Option<Arc<DeviceCommand>> {
        // A driver that never has to wait for its device must let those go on who fill this queue.
        tokio::task::consume_budget().await;
        loop {
            {
                let state = self.shared.state();
                if let Some(command) = state.waiting.front() {
                    self.in_hand.is_taken = true;
                    return Some(Arc::clone(command));
                }
                if state.is_closed {
                    return None;
                }
            }
            self.shared.changed.notified().await;
        }
    }

    /// Set it when the device has got the command in hand but this run is cut off before it can [`PendingCommands::finish`]: the
    /// next run will not hand it over again.
    pub(crate) fn handed_over(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.in_hand.handed_over)
    }

    /// The command in hand was handed over, or refused: it leaves the queue.
    pub(crate) fn finish(&mut self) {
        self.in_hand.handed_over.store(false, Ordering::Relaxed);
        if std::mem::take(&mut self.in_hand.is_taken) {
            self.shared.state().waiting.pop_front();
        }
    }

    /// The next command behind the one in hand, as soon as it is older than `max_age`; it leaves the queue. Statuses
    /// never do. Does not complete while there is nothing to expire.
    pub(crate) async fn next_expired(&mut self, max_age: Duration) -> Arc<DeviceCommand> {
        loop {
            let expires = match self.oldest_expires(max_age) {
                Err(expired) => return expired,
                Ok(expires) => expires,
            };
            let expiry = async {
                match expires {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = expiry => {}
                () = self.shared.changed.notified() => {}
            }
        }
    }

    /// When the oldest command behind the one in hand expires; or that command, if it has.
    fn oldest_expires(&self, max_age: Duration) -> Result<Option<Instant>, Arc<DeviceCommand>> {
        let mut state = self.shared.state();
        let behind = usize::from(self.in_hand.is_taken);
        let oldest = state.waiting.iter().enumerate().skip(behind).find(|(_, command)| command.message.iscmd);
        let Some((index, command)) = oldest else { return Ok(None) };
        let expires = command.received_at.checked_add(max_age);
        if expires.is_some_and(|at| at <= Instant::now())
            && let Some(command) = state.waiting.remove(index)
        {
            return Err(command);
        }
        Ok(expires)
    }
}

impl Drop for PendingCommands {
    fn drop(&mut self) {
        // This run is over, or cut off with a command in hand. Only what the device has got leaves the queue.
        if self.in_hand.handed_over.load(Ordering::Relaxed) {
            self.finish();
        }
        // A permit that this run has used up may have been for what is still there.
        self.shared.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(action: &str, received_at: Instant) -> DeviceCommand {
        DeviceCommand {
            message: InternalMsg { iscmd: true, action: action.into(), ..InternalMsg::default() },
            received_at,
        }
    }

    #[tokio::test]
    async fn a_full_queue_gives_a_command_back_until_one_has_left_it() {
        let (sender, queue) = CommandQueue::new(2);
        let mut commands = queue.lock().await;
        for action in ["A", "B"] {
            sender.try_send(command(action, Instant::now())).unwrap();
        }
        commands.begin().await.unwrap();
        assert_eq!(sender.try_send(command("C", Instant::now())).unwrap_err().message.action, "C");
        commands.finish();
        sender.try_send(command("C", Instant::now())).unwrap();
    }

    #[tokio::test]
    async fn a_command_that_was_not_finished_is_first_in_line_for_the_next_run() {
        let (sender, queue) = CommandQueue::new(4);
        sender.try_send(command("A", Instant::now())).unwrap();
        sender.try_send(command("B", Instant::now())).unwrap();
        let mut crashed = queue.lock().await;
        assert_eq!(crashed.begin().await.unwrap().message.action, "A");
        drop(crashed);
        let mut next = queue.lock().await;
        assert_eq!(next.begin().await.unwrap().message.action, "A");
        next.finish();
        assert_eq!(next.begin().await.unwrap().message.action, "B");
    }

    #[tokio::test]
    async fn a_command_that_the_device_has_got_is_not_handed_over_by_the_next_run() {
        let (sender, queue) = CommandQueue::new(4);
        sender.try_send(command("A", Instant::now())).unwrap();
        sender.try_send(command("B", Instant::now())).unwrap();
        let mut cut_off = queue.lock().await;
        assert_eq!(cut_off.begin().await.unwrap().message.action, "A");
        cut_off.handed_over().store(true, Ordering::Relaxed);
        drop(cut_off);
        let mut next = queue.lock().await;
        assert_eq!(next.begin().await.unwrap().message.action, "B");
        drop(next);
        assert_eq!(queue.lock().await.begin().await.unwrap().message.action, "B");
    }

    #[tokio::test]
    async fn a_status_does_not_expire_and_does_not_hide_an_old_command() {
        let (sender, queue) = CommandQueue::new(4);
        let long_ago = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        let mut status = command("status", long_ago);
        status.message.iscmd = false;
        sender.try_send(status).unwrap();
        sender.try_send(command("command", long_ago)).unwrap();
        let mut commands = queue.lock().await;
        assert_eq!(commands.next_expired(Duration::from_secs(5)).await.message.action, "command");
        assert_eq!(commands.begin().await.unwrap().message.action, "status");
    }

    #[tokio::test]
    async fn the_command_in_hand_does_not_expire_but_the_one_behind_it_does() {
        let (sender, queue) = CommandQueue::new(4);
        let long_ago = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        sender.try_send(command("in hand", long_ago)).unwrap();
        sender.try_send(command("behind", long_ago)).unwrap();
        let mut commands = queue.lock().await;
        commands.begin().await.unwrap();
        assert_eq!(commands.next_expired(Duration::from_secs(5)).await.message.action, "behind");
        commands.finish();
        drop(sender);
        assert!(commands.begin().await.is_none());
    }
}
