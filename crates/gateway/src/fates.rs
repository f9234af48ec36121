//! What became of messages, as API and command line look back at it.

use chrono::DateTime;
use hearthgate_api::wire::{FateQuestion, FateView};
use hearthgate_domain::topic::{FilterError, TopicFilter};
use hearthgate_storage::fates::KeptFate;
use std::path::{Path, PathBuf};

/// Where they are kept.
pub(crate) fn file(state_dir: &Path) -> PathBuf {
    state_dir.join("fates.log")
}

/// Which fates are asked for.
pub(crate) struct FateSieve {
    topic: Option<TopicFilter>,
    flow: Option<String>,
    outcome: Option<String>,
}

impl FateSieve {
    /// # Errors
    /// The topic filter is none.
    pub(crate) fn new(question: FateQuestion) -> Result<Self, FilterError> {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        Ok(FateSieve {
            topic: given(question.topic).map(|text| TopicFilter::parse(&text)).transpose()?,
            flow: given(question.flow),
            outcome: given(question.outcome),
        })
    }

    pub(crate) fn passes(&self, fate: &KeptFate) -> bool {
        let is_outcome = |wanted: &str| fate.outcome.as_str() == wanted || (wanted == "bad" && fate.outcome.is_bad());
        self.topic.as_ref().is_none_or(|filter| filter.matches(&fate.topic))
            && self.flow.as_ref().is_none_or(|flow| fate.flow.as_ref() == Some(flow))
            && self.outcome.as_deref().is_none_or(|wanted| wanted.split(',').any(is_outcome))
    }
}

/// As it is shown.
pub(crate) fn view(fate: KeptFate) -> FateView {
    let text = String::from_utf8(fate.payload);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    FateView {
        at: DateTime::from_timestamp_micros(fate.at).unwrap_or_default(),
        received_at: DateTime::from_timestamp_micros(fate.received_at).unwrap_or_default(),
        seq: fate.seq,
        topic: fate.topic,
        hex: text.as_ref().err().map(|error| hex(error.as_bytes())),
        text: text.ok(),
        bytes: fate.size,
        flow: fate.flow,
        outcome: fate.outcome.as_str().to_owned(),
        is_bad: fate.outcome.is_bad(),
        reason: fate.reason,
        pointer: fate.pointer,
    }
}
