//! Devices that are not heard any more: for each key of a flow, when something that counts came last.
//!
//! A message costs one look-up and one time written down. Who is silent is found by going through all keys once in a while.

use crate::delivery::UnixMicros;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Devices of one flow that are listened for.
const MOST_KEYS: usize = 200_000;

/// Whom a flow listens for.
#[derive(Debug)]
pub struct SilenceWatch {
    after: Duration,
    devices: HashMap<Box<str>, HeardDevice>,
    /// Silent ones that were heard again, since somebody asked.
    returned: Vec<Box<str>>,
    silent: usize,
}

#[derive(Clone, Copy, Debug)]
struct HeardDevice {
    /// The last time, or when listening began.
    heard: Instant,
    /// None while it is not silent; else since when nothing comes.
    silent_since: Option<UnixMicros>,
}

/// What a message changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HearingOutcome {
    /// Nothing.
    Known,
    /// A device that was not known.
    New,
    /// A device that was silent.
    Returned,
    /// There are too many devices to listen for this one too.
    Full,
}

impl SilenceWatch {
    /// Listens for nobody yet. Who is not heard for `after` is silent.
    #[must_use]
    pub fn new(after: Duration) -> Self {
        SilenceWatch { after, devices: HashMap::new(), returned: Vec::new(), silent: 0 }
    }

    /// How long a device may say nothing.
    pub fn set_after(&mut self, after: Duration) {
        self.after = after;
    }

    /// Listens for a device that is known from before, or beforehand. One that was silent then still is.
    pub fn expect(&mut self, key: &str, now: Instant, silent_since: Option<UnixMicros>) {
        if self.devices.len() < MOST_KEYS && !self.devices.contains_key(key) {
            self.silent += usize::from(silent_since.is_some());
            self.devices.insert(key.into(), HeardDevice { heard: now, silent_since });
        }
    }

    /// A message of a device that counts has come.
    pub fn hear(&mut self, key: &str, now: Instant) -> HearingOutcome {
        let Some(device) = self.devices.get_mut(key) else {
            if self.devices.len() >= MOST_KEYS {
                return HearingOutcome::Full;
            }
            self.expect(key, now, None);
            return HearingOutcome::New;
        };
        device.heard = now;
        if device.silent_since.take().is_none() {
            return HearingOutcome::Known;
        }
        self.silent -= 1;
        self.returned.push(key.into());
        HearingOutcome::Returned
    }

    /// Nobody could be heard for so long: that is nobody's silence.
    pub fn leave_out(&mut self, outage: Duration) {
        for device in self.devices.values_mut() {
            device.heard += outage;
        }
    }

    /// The devices that have fallen silent since the last time, in the order of their keys. `wall` is what the clock shows
    /// at `now`.
    pub fn find_silent(&mut self, now: Instant, wall: UnixMicros) -> Vec<Box<str>> {
        let mut found = Vec::new();
        for (key, device) in &mut self.devices {
            let quiet = now.saturating_duration_since(device.heard);
            if device.silent_since.is_none() && quiet >= self.after {
                device.silent_since = Some(wall - i64::try_from(quiet.as_micros()).unwrap_or(i64::MAX));
                found.push(key.clone());
            }
        }
        self.silent += found.len();
        found.sort_unstable();
        found
    }

    /// The devices that were silent and have been heard since the last time.
    pub fn take_returned(&mut self) -> Vec<Box<str>> {
        std::mem::take(&mut self.returned)
    }

    /// How many are silent.
    #[must_use]
    pub fn count_silent(&self) -> usize {
        self.silent
    }

    /// Those that are silent, each with the time since which it is, the longest silence first.
    #[must_use]
    pub fn silent_devices(&self) -> Vec<(&str, UnixMicros)> {
        let mut silent: Vec<_> = self.devices().filter_map(|(key, since)| Some((key, since?))).collect();
        silent.sort_unstable_by_key(|&(key, since)| (since, key));
        silent
    }

    /// All devices, each with the time since which it is silent, if it is.
    pub fn devices(&self) -> impl Iterator<Item = (&str, Option<UnixMicros>)> {
        self.devices.iter().map(|(key, device)| (&**key, device.silent_since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const WALL: UnixMicros = 1_795_000_000_000_000;

    fn names(keys: &[Box<str>]) -> Vec<&str> {
        keys.iter().map(|key| &**key).collect()
    }

    #[test]
    fn who_is_not_heard_for_so_long_is_silent_once_until_it_is_heard_again() {
        let start = Instant::now();
        let mut watch = SilenceWatch::new(HOUR);
        assert_eq!(watch.hear("b", start), HearingOutcome::New);
        watch.hear("a", start);
        watch.hear("c", start);
        assert_eq!(watch.hear("c", start + HOUR / 2), HearingOutcome::Known);
        assert!(watch.find_silent(start + HOUR - Duration::from_micros(1), WALL).is_empty());
        assert_eq!(names(&watch.find_silent(start + HOUR, WALL)), ["a", "b"]);
        assert!(watch.find_silent(start + HOUR, WALL).is_empty(), "it is told once");
        assert_eq!(watch.count_silent(), 2);
        let since = watch.devices().find(|(key, _)| *key == "a").unwrap().1;
        assert_eq!(since, Some(WALL - 3_600_000_000));
        assert_eq!(watch.silent_devices(), [("a", WALL - 3_600_000_000), ("b", WALL - 3_600_000_000)]);
        assert_eq!(watch.hear("a", start + HOUR), HearingOutcome::Returned);
        assert_eq!(watch.hear("a", start + HOUR), HearingOutcome::Known);
        assert_eq!(names(&watch.take_returned()), ["a"]);
        assert!(watch.take_returned().is_empty());
        assert_eq!(names(&watch.find_silent(start + HOUR * 2, WALL)), ["a", "c"]);
        assert_eq!(watch.count_silent(), 3);
    }

    #[test]
    fn time_in_which_nobody_could_be_heard_does_not_count() {
        let start = Instant::now();
        let mut watch = SilenceWatch::new(HOUR);
        watch.hear("a", start);
        watch.leave_out(HOUR * 5);
        assert!(watch.find_silent(start + HOUR * 5, WALL).is_empty());
        assert_eq!(names(&watch.find_silent(start + HOUR * 6, WALL)), ["a"]);
    }

    #[test]
    fn who_was_silent_before_a_restart_still_is_and_the_others_have_the_whole_time() {
        let start = Instant::now();
        let mut watch = SilenceWatch::new(HOUR);
        watch.expect("silent", start, Some(WALL));
        watch.expect("heard", start, None);
        watch.expect("silent", start, None);
        assert_eq!(watch.count_silent(), 1);
        assert_eq!(names(&watch.find_silent(start + HOUR, WALL)), ["heard"]);
        assert_eq!(watch.hear("silent", start), HearingOutcome::Returned);
    }

    #[test]
    fn however_many_devices_there_are_the_memory_is_bounded() {
        let start = Instant::now();
        let mut watch = SilenceWatch::new(HOUR);
        for number in 0..MOST_KEYS {
            watch.hear(&number.to_string(), start);
        }
        assert_eq!(watch.hear("one more", start), HearingOutcome::Full);
        assert_eq!(watch.hear("0", start), HearingOutcome::Known);
    }
}
