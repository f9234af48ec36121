//! The last frames between a driver and its device, for whoever looks for a fault.
//!
//! Bounded in frames and bytes, and nobody waits for it: what comes too fast, or while somebody looks, is left out and
//! counted.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Frames that are kept.
const MOST: usize = 60;
/// Bytes of a frame, and of what it means, that are kept.
const SHOWN: usize = 512;
/// Frames that are kept of one second.
const MOST_EACH_SECOND: u32 = 20;

/// Which way a frame went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameDirection {
    /// The device said it.
    FromDevice,
    /// It was written to the device.
    ToDevice,
}

/// A frame as it went over the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceFrame {
    /// When.
    pub at: SystemTime,
    /// Which way.
    pub direction: FrameDirection,
    /// Its first 512 bytes.
    pub bytes: Vec<u8>,
    /// How many it has.
    pub length: usize,
    /// The message that it stands for, as JSON, or why there is none.
    pub meaning: String,
}

/// The last frames of an interface. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct FrameRing(Arc<Mutex<KeptFrames>>);

#[derive(Debug, Default)]
struct KeptFrames {
    frames: VecDeque<DeviceFrame>,
    left_out: u64,
    second: Option<Instant>,
    in_second: u32,
}

impl FrameRing {
    /// Keeps a frame, if that costs nothing. What it means is only worked out when it is kept.
    pub(crate) fn keep(&self, direction: FrameDirection, bytes: &[u8], meaning: impl FnOnce() -> String) {
        let Ok(mut kept) = self.0.try_lock() else { return };
        if !kept.has_time(Instant::now()) {
            kept.left_out += 1;
            return;
        }
        let mut meaning = meaning();
        meaning.truncate(meaning.floor_char_boundary(SHOWN));
        let shown = bytes[..bytes.len().min(SHOWN)].to_vec();
        if kept.frames.len() >= MOST {
            kept.frames.pop_front();
        }
        kept.frames.push_back(DeviceFrame {
            at: SystemTime::now(),
            direction,
            bytes: shown,
            length: bytes.len(),
            meaning,
        });
    }

    /// The frames that are kept, the newest first, and how many were left out because too many came.
    #[must_use]
    pub fn newest(&self) -> (Vec<DeviceFrame>, u64) {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.frames.iter().rev().cloned().collect(), kept.left_out)
    }
}

impl KeptFrames {
    fn has_time(&mut self, now: Instant) -> bool {
        if self.second.is_none_or(|second| now.duration_since(second) >= Duration::from_secs(1)) {
            (self.second, self.in_second) = (Some(now), 0);
        }
        self.in_second += 1;
        self.in_second <= MOST_EACH_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_left_out_and_counted_and_long_frames_are_cut() {
        let ring = FrameRing::default();
        for _ in 0..MOST_EACH_SECOND + 5 {
            ring.keep(FrameDirection::FromDevice, &[7; 600], || "é".repeat(600));
        }
        let (frames, left_out) = ring.newest();
        assert!(frames.len() >= MOST_EACH_SECOND as usize && frames.len() + left_out as usize == 25, "{left_out}");
        assert!(frames.iter().all(|frame| frame.bytes.len() == SHOWN && frame.length == 600));
        assert!(frames.iter().all(|frame| frame.meaning.len() <= SHOWN));
    }

    #[test]
    fn the_oldest_make_room() {
        let mut kept = KeptFrames::default();
        let begin = Instant::now();
        assert!((0..MOST_EACH_SECOND).all(|_| kept.has_time(begin)));
        assert!(!kept.has_time(begin));
        assert!(kept.has_time(begin + Duration::from_secs(1)));
    }
}
