//! The queue of commands, which outlives a run of its driver.

use hearthgate_domain::message::InternalMsg;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc};

/// A message for the device.
#[derive(Clone, PartialEq)]
pub struct Command {
    /// In internal keywords, as the interface's map decoded it. Statuses of others come this way too.
    pub message: InternalMsg,
    /// When it came from the broker: its age counts from here.
    pub received_at: Instant,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({} {} arguments)", self.message.action, self.message.arguments.len())
    }
}

/// The receiving end of the bounded queue of commands. It outlives a run of the driver: clone it into each run, and what
/// a crashed run had not handed to its device is first in line for the next.
#[derive(Clone)]
pub struct CommandQueue(Arc<Mutex<Commands>>);

impl CommandQueue {
    /// A queue for at most `capacity` (at least 1) waiting commands. `try_send` on the sender and answer a full queue
    /// with [`refusal`](crate::replies::refusal). When every sender is gone the driver stops in order.
    #[must_use]
    pub fn new(capacity: usize) -> (mpsc::Sender<Command>, CommandQueue) {
        let (sender, receiver) = mpsc::channel(capacity.max(1));
        let commands = Commands {
            receiver,
            waiting: VecDeque::new(),
            capacity: capacity.max(1),
            in_hand: false,
            handed_over: Arc::default(),
        };
        (sender, CommandQueue(Arc::new(Mutex::new(commands))))
    }

    /// Waits until no other run holds the queue.
    pub(crate) async fn lock(&self) -> OwnedMutexGuard<Commands> {
        let mut commands = Arc::clone(&self.0).lock_owned().await;
        // Whoever had one in hand is gone, and had not finished with it; but the device may have got it all the same.
        if commands.handed_over.swap(false, Ordering::Relaxed) {
            commands.finish();
        }
        commands.in_hand = false;
        commands
    }
}

/// The commands as one run of a driver sees them, oldest first. Every method can be cancelled without losing a command.
pub(crate) struct Commands {
    receiver: mpsc::Receiver<Command>,
    waiting: VecDeque<Command>,
    capacity: usize,
    in_hand: bool,
    handed_over: Arc<AtomicBool>,
}

impl Commands {
    /// Takes the oldest command in hand, leaving it in the queue until [`Commands::finish`]. `None`: all senders are gone.
    pub(crate) async fn begin(&mut self) -> Option<Command> {
        if self.waiting.is_empty() {
            let command = self.receiver.recv().await?;
            self.waiting.push_back(command);
        }
        self.in_hand = true;
        self.waiting.front().cloned()
    }

    /// Set it when the device has got the command in hand but this run is cut off before it can [`Commands::finish`]: the
    /// next run will not hand it over again.
    pub(crate) fn handed_over(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.handed_over)
    }

    /// The command in hand was handed over, or refused: it leaves the queue.
    pub(crate) fn finish(&mut self) {
        self.handed_over.store(false, Ordering::Relaxed);
        if std::mem::take(&mut self.in_hand) {
            self.waiting.pop_front();
        }
    }

    /// The next command behind the one in hand, as soon as it is older than `max_age`; it leaves the queue. Statuses
    /// never do. Does not complete while there is nothing to expire.
    pub(crate) async fn next_expired(&mut self, max_age: Duration) -> Command {
        let behind = usize::from(self.in_hand);
        loop {
            let oldest = self.waiting.iter().skip(behind).position(|command| command.message.iscmd);
            if let Some(index) = oldest.map(|index| index + behind) {
                match self.waiting[index].received_at.checked_add(max_age) {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
                if let Some(command) = self.waiting.remove(index) {
                    return command;
                }
            }
            if self.waiting.len() >= self.capacity {
                std::future::pending::<()>().await;
            }
            match self.receiver.recv().await {
                Some(command) => self.waiting.push_back(command),
                None => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(action: &str, received_at: Instant) -> Command {
        Command { message: InternalMsg { iscmd: true, action: action.into(), ..InternalMsg::default() }, received_at }
    }

    #[tokio::test]
    async fn a_command_that_was_not_finished_is_first_in_line_for_the_next_run() {
        let (sender, queue) = CommandQueue::new(4);
        sender.send(command("A", Instant::now())).await.unwrap();
        sender.send(command("B", Instant::now())).await.unwrap();
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
        sender.send(command("A", Instant::now())).await.unwrap();
        sender.send(command("B", Instant::now())).await.unwrap();
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
        sender.send(status).await.unwrap();
        sender.send(command("command", long_ago)).await.unwrap();
        let mut commands = queue.lock().await;
        assert_eq!(commands.next_expired(Duration::from_secs(5)).await.message.action, "command");
        assert_eq!(commands.begin().await.unwrap().message.action, "status");
    }

    #[tokio::test]
    async fn the_command_in_hand_does_not_expire_but_the_one_behind_it_does() {
        let (sender, queue) = CommandQueue::new(4);
        let long_ago = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        sender.send(command("in hand", long_ago)).await.unwrap();
        sender.send(command("behind", long_ago)).await.unwrap();
        let mut commands = queue.lock().await;
        commands.begin().await.unwrap();
        assert_eq!(commands.next_expired(Duration::from_secs(5)).await.message.action, "behind");
        commands.finish();
        drop(sender);
        assert!(commands.begin().await.is_none());
    }
}
