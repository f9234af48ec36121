//! Keeps fates on disk, aside of the messages' way: a viewer like any other, on a thread of its own.

use crate::lock::lock;
use crate::traffic::TrafficTap;
use hearthgate_domain::fate::MessageFate;
use hearthgate_storage::fates::{FateLog, KeptFate};
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use tokio::sync::broadcast::error::RecvError;
use tracing::warn;

/// Messages whose later steps are kept with topic and payload.
const REMEMBERED: usize = 1_000;

/// The kept fates, for whoever looks back. Clones are the same.
#[derive(Clone, Debug)]
pub struct FateKeeper(Arc<Mutex<FateLog>>);

impl FateKeeper {
    /// Opens the file and keeps in it what is told from now on; ends with the last clone of the tap.
    ///
    /// # Errors
    /// The file cannot be opened, or there is no thread to be had.
    pub fn start(traffic: &TrafficTap, path: &Path) -> io::Result<Self> {
        let keeper = FateKeeper(Arc::new(Mutex::new(FateLog::open(path)?)));
        let (mut fates, log) = (traffic.keep(), Arc::clone(&keeper.0));
        thread::Builder::new().name("fates".into()).spawn(move || {
            let (mut told, mut is_failing) = (VecDeque::new(), false);
            loop {
                match fates.blocking_recv() {
                    Ok(fate) => {
                        let kept = keep(&log, &fate, &mut told);
                        if let Err(error) = &kept
                            && !is_failing
                        {
                            warn!(%error, "fates of messages do not outlive the process");
                        }
                        is_failing = kept.is_err();
                    }
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        })?;
        Ok(keeper)
    }

    /// The fates that pass, the newest first, at most so many.
    #[must_use]
    pub fn newest(&self, most: usize, passes: impl Fn(&KeptFate) -> bool) -> Vec<KeptFate> {
        lock(&self.0).newest(most, passes)
    }
}

fn keep(log: &Mutex<FateLog>, fate: &Arc<MessageFate>, told: &mut VecDeque<Arc<MessageFate>>) -> io::Result<()> {
    let message = match fate.is_later {
        true => told.iter().rev().find(|message| message.seq == fate.seq).cloned(),
        false => Some(Arc::clone(fate)),
    };
    if !fate.is_later && fate.seq.is_some() {
        if told.len() >= REMEMBERED {
            told.pop_front();
        }
        told.push_back(Arc::clone(fate));
    }
    let message = message.as_ref().unwrap_or(fate);
    for step in &fate.steps {
        lock(log).keep(KeptFate {
            at: fate.at,
            received_at: fate.received_at,
            seq: fate.seq,
            topic: message.topic.to_string(),
            payload: message.payload.clone(),
            size: message.size,
            flow: step.flow.as_deref().map(str::to_owned),
            outcome: step.outcome,
            reason: step.reason.clone(),
            pointer: step.pointer.clone(),
        })?;
    }
    Ok(())
}
