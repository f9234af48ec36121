//! Cuts a byte stream into frames, with a bounded buffer. Pure: the caller measures silences.

use crate::config::{FrameEncoding, FrameOptions, FramingRule, InterfaceConfigError};
use crate::port::DriverCount;
use std::time::Duration;

/// A frame, or what came in place of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NextFrame {
    /// A whole frame, blanks around it taken away if the options say so. UTF-8 if they say text.
    Frame(Vec<u8>),
    /// Bytes that became no frame, and why.
    Broken(DriverCount),
}

/// The bytes of a frame that is still coming in.
#[derive(Debug)]
pub(crate) struct FrameBuffer {
    rule: FramingRule,
    max_length: usize,
    incomplete_after: Duration,
    text: bool,
    trims: bool,
    buffer: Vec<u8>,
    /// The frame is too long: what comes is dropped until it ends.
    skipping: bool,
}

impl FrameBuffer {
    pub(crate) fn new(options: &FrameOptions) -> Result<Self, InterfaceConfigError> {
        Ok(FrameBuffer {
            rule: options.rule()?,
            max_length: options.max_length,
            incomplete_after: options.incomplete_after,
            text: options.encoding == FrameEncoding::Text,
            trims: options.trims(),
            buffer: Vec::new(),
            skipping: false,
        })
    }

    /// Forgets what a lost connection left behind, telling if it was the half of a frame.
    pub(crate) fn reset(&mut self) -> Option<NextFrame> {
        self.skipping = false;
        let half = !self.buffer.is_empty();
        self.buffer.clear();
        half.then_some(NextFrame::Broken(DriverCount::FrameIncomplete))
    }

    /// Takes bytes and gives the frames that they complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<NextFrame> {
        let mut frames = Vec::new();
        match self.rule.clone() {
            FramingRule::Length(length) => {
                self.buffer.extend_from_slice(bytes);
                let whole = self.buffer.len() / length * length;
                let complete: Vec<u8> = self.buffer.drain(..whole).collect();
                complete.chunks_exact(length).for_each(|frame| frames.extend(self.finish(frame)));
            }
            FramingRule::Delimiter(delimiter) => self.push_delimited(bytes, &delimiter, &mut frames),
            FramingRule::Idle(_) => self.push_bounded(bytes, &mut frames),
        }
        frames
    }

    /// After how long a silence [`FrameBuffer::silence`] is due, if it is.
    pub(crate) fn silence_due(&self) -> Option<Duration> {
        if self.buffer.is_empty() && !self.skipping {
            return None;
        }
        match self.rule {
            FramingRule::Idle(idle) => Some(idle),
            FramingRule::Length(_) | FramingRule::Delimiter(_) => Some(self.incomplete_after),
        }
    }

    /// Nothing came for [`FrameBuffer::silence_due`]: the end of an `idle` frame, and of patience with half a frame.
    pub(crate) fn silence(&mut self) -> Option<NextFrame> {
        match self.rule {
            FramingRule::Length(_) | FramingRule::Delimiter(_) => self.reset(),
            FramingRule::Idle(_) => {
                self.skipping = false;
                let frame = std::mem::take(&mut self.buffer);
                self.finish(&frame)
            }
        }
    }

    fn push_delimited(&mut self, bytes: &[u8], delimiter: &[u8], frames: &mut Vec<NextFrame>) {
        for byte in bytes {
            self.buffer.push(*byte);
            if self.buffer.ends_with(delimiter) {
                let frame = std::mem::take(&mut self.buffer);
                let frame = &frame[..frame.len() - delimiter.len()];
                // Two delimiters in a row are a blank line, no frame.
                if !std::mem::take(&mut self.skipping) && !frame.is_empty() {
                    frames.extend(self.finish(frame));
                }
            } else if self.buffer.len() >= self.max_length + delimiter.len() {
                if !self.skipping {
                    frames.push(NextFrame::Broken(DriverCount::FrameTooLong));
                }
                self.skipping = true;
                let surplus = self.buffer.len() + 1 - delimiter.len();
                self.buffer.drain(..surplus);
            }
        }
    }

    fn push_bounded(&mut self, bytes: &[u8], frames: &mut Vec<NextFrame>) {
        if self.skipping {
            return;
        }
        if self.buffer.len() + bytes.len() > self.max_length {
            self.buffer.clear();
            self.skipping = true;
            frames.push(NextFrame::Broken(DriverCount::FrameTooLong));
            return;
        }
        self.buffer.extend_from_slice(bytes);
    }

    fn finish(&self, frame: &[u8]) -> Option<NextFrame> {
        if self.text && std::str::from_utf8(frame).is_err() {
            return Some(NextFrame::Broken(DriverCount::FrameNotText));
        }
        let frame = if self.trims { frame.trim_ascii() } else { frame };
        (!frame.is_empty()).then(|| NextFrame::Frame(frame.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framer(options: &str) -> FrameBuffer {
        FrameBuffer::new(&toml::from_str(options).unwrap()).unwrap()
    }

    fn frame(text: &str) -> NextFrame {
        NextFrame::Frame(text.into())
    }

    #[test]
    fn frames_of_a_fixed_length_come_out_however_the_bytes_are_cut() {
        let mut framer = framer("length = 2");
        assert_eq!(framer.push(b"1"), []);
        assert_eq!(framer.push(b"1102"), [frame("11"), frame("10")]);
        assert_eq!(framer.silence_due(), Some(Duration::from_secs(1)));
        assert_eq!(framer.silence(), Some(NextFrame::Broken(DriverCount::FrameIncomplete)));
        assert_eq!(framer.silence_due(), None);
        assert_eq!(framer.push(b"21"), [frame("21")]);
    }

    #[test]
    fn a_delimiter_of_several_bytes_is_found_across_reads() {
        let mut framer = framer("delimiter = \"\\r\\n\"");
        assert_eq!(framer.push(b"a\r"), []);
        assert_eq!(framer.push(b"\n\r\n b \r\nc"), [frame("a"), frame("b")]);
        assert_eq!(framer.reset(), Some(NextFrame::Broken(DriverCount::FrameIncomplete)));
    }

    #[test]
    fn a_frame_that_is_too_long_is_counted_once_and_the_next_one_is_read() {
        let mut framer = framer("delimiter = \"\\n\"\nmax_length = 4");
        assert_eq!(framer.push(b"abcd\n"), [frame("abcd")]);
        let flood = vec![b'x'; 100_000];
        assert_eq!(framer.push(&flood), [NextFrame::Broken(DriverCount::FrameTooLong)]);
        assert_eq!(framer.push(&flood), []);
        assert!(framer.buffer.capacity() < 1_000, "the buffer is bounded");
        assert_eq!(framer.push(b"x\nok\n"), [frame("ok")]);
    }

    #[test]
    fn a_silence_ends_a_frame_without_marks() {
        let mut framer = framer("idle = \"20ms\"\nmax_length = 4");
        assert_eq!(framer.push(b"ab"), []);
        assert_eq!(framer.silence_due(), Some(Duration::from_millis(20)));
        assert_eq!(framer.silence(), Some(frame("ab")));
        assert_eq!(framer.push(b"abcde"), [NextFrame::Broken(DriverCount::FrameTooLong)]);
        assert_eq!(framer.push(b"fgh"), []);
        assert_eq!(framer.silence(), None);
        assert_eq!(framer.push(b"ok"), []);
        assert_eq!(framer.silence(), Some(frame("ok")));
    }

    #[test]
    fn bytes_that_are_no_text_are_counted_in_text_frames_and_fine_in_hex_ones() {
        assert_eq!(framer("length = 2").push(&[0xff, 0xfe]), [NextFrame::Broken(DriverCount::FrameNotText)]);
        let mut hex = framer("length = 2\nencoding = \"hex\"");
        assert_eq!(hex.push(&[0x20, 0xfe]), [NextFrame::Frame(vec![0x20, 0xfe])]);
    }
}
