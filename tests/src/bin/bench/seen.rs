//! Which messages have arrived: each once, or the run is void.

use anyhow::{bail, ensure};

/// One mark for each message of a run.
pub(crate) struct Seen {
    marks: Vec<bool>,
    count: u64,
    strange: Option<String>,
}

impl Seen {
    pub(crate) fn new(messages: u64) -> Self {
        Seen { marks: vec![false; messages as usize], count: 0, strange: None }
    }

    /// Notes the arrival of a message; what should not have come is remembered.
    pub(crate) fn note(&mut self, number: Option<u64>) {
        match number.and_then(|number| self.marks.get_mut(number as usize)) {
            Some(mark) if !*mark => {
                *mark = true;
                self.count += 1;
            }
            Some(_) => self.strange = Some(format!("message {number:?} came twice")),
            None => self.strange = Some(format!("message {number:?} was never sent")),
        }
    }

    /// How many have arrived.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Each message arrived once and nothing else did.
    pub(crate) fn verify(&self) -> anyhow::Result<()> {
        if let Some(strange) = &self.strange {
            bail!("void: {strange}");
        }
        ensure!(self.count == self.marks.len() as u64, "void: {} of {} messages arrived", self.count, self.marks.len());
        Ok(())
    }
}
