//! Lengths of time in the options, for `#[serde(deserialize_with = …)]`.

use hearthgate_domain::duration::BoundedDuration;
use serde::{Deserialize, Deserializer};
use std::time::Duration;

pub(crate) fn required<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    BoundedDuration::deserialize(from).map(BoundedDuration::duration)
}

/// For a key that may be absent, beside `#[serde(default)]`.
pub(crate) fn optional<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    required(from).map(Some)
}
