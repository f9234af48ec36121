//! What comes in frames.

use async_tungstenite::tungstenite::protocol::frame::FrameHeader;
use async_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};
use std::io::Cursor;

/// A frame's header at its longest: two bytes, eight of length, four of mask.
const MAX_HEAD: usize = 14;
/// A control frame carries no more (RFC 6455, section 5.5).
const MAX_CONTROL: u64 = 125;

/// What a client did wrong in its frames, and the code that it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameViolation {
    pub(super) code: CloseCode,
    pub(super) what: &'static str,
}

fn violation(what: &'static str) -> FrameViolation {
    FrameViolation { code: CloseCode::Protocol, what }
}

/// What a control frame asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ControlRequest {
    Pong(Vec<u8>),
    Close(Option<CloseCode>),
}

/// Takes frames apart, wherever reads cut them.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    head: Vec<u8>,
    frame: Option<OpenFrame>,
    /// A message goes on in the next data frame.
    is_message_open: bool,
    control: Vec<u8>,
    /// The latest; older ones need no answer of their own (RFC 6455, section 5.5.3).
    request: Option<ControlRequest>,
}

/// A frame whose header is read.
#[derive(Debug)]
struct OpenFrame {
    opcode: OpCode,
    mask: [u8; 4],
    left: u64,
}

impl OpenFrame {
    fn unmask(&mut self, bytes: &mut [u8]) {
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte ^= self.mask[index % 4];
        }
        self.mask.rotate_left(bytes.len() % 4);
        self.left -= bytes.len() as u64;
    }
}

impl FrameReader {
    /// Moves what the data frames carry to the front of `raw`; returns how many bytes that is.
    pub(super) fn take(&mut self, raw: &mut [u8]) -> Result<usize, FrameViolation> {
        let (mut read, mut payload) = (0, 0);
        while read < raw.len() && !self.is_closed() {
            let Some(frame) = &mut self.frame else {
                read += self.take_head(&raw[read..])?;
                continue;
            };
            let count = usize::try_from(frame.left).unwrap_or(usize::MAX).min(raw.len() - read);
            let part = read..read + count;
            frame.unmask(&mut raw[part.clone()]);
            match frame.opcode {
                OpCode::Data(_) => {
                    raw.copy_within(part, payload);
                    payload += count;
                }
                OpCode::Control(_) => self.control.extend_from_slice(&raw[part]),
            }
            read += count;
            self.end_frame();
        }
        Ok(payload)
    }

    /// What the client asks for since the last time.
    pub(super) fn take_request(&mut self) -> Option<ControlRequest> {
        self.request.take_if(|request| matches!(request, ControlRequest::Pong(_))).or_else(|| self.request.clone())
    }

    /// The client has said that nothing comes any more.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.request, Some(ControlRequest::Close(_)))
    }

    /// Collects the header of the next frame; returns how many bytes of it were here.
    fn take_head(&mut self, raw: &[u8]) -> Result<usize, FrameViolation> {
        let wanted = match self.head.get(1).map(|length| length & 0x7f) {
            None => 2,
            Some(127) => MAX_HEAD,
            Some(126) => 8,
            Some(_) => 6,
        };
        let count = (wanted - self.head.len()).min(raw.len());
        self.head.extend_from_slice(&raw[..count]);
        if self.head.get(1).is_some_and(|length| length & 0x80 == 0) {
            return Err(violation("a frame of a client is not masked"));
        }
        if wanted > 2 && self.head.len() == wanted {
            self.begin_frame()?;
        }
        Ok(count)
    }

    fn begin_frame(&mut self) -> Result<(), FrameViolation> {
        let parsed = FrameHeader::parse(&mut Cursor::new(&self.head));
        let (header, length) = parsed.ok().flatten().ok_or(violation("the kind of a frame is not known"))?;
        self.head.clear();
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(violation("a frame has an extension that was not agreed on"));
        }
        match header.opcode {
            OpCode::Data(Data::Text) => {
                let what = "MQTT comes in a text frame, not in a binary one";
                return Err(FrameViolation { code: CloseCode::Unsupported, what });
            }
            OpCode::Data(data) => {
                if (data == Data::Continue) != self.is_message_open {
                    return Err(violation("a message begins or goes on at the wrong time"));
                }
                self.is_message_open = !header.is_final;
            }
            OpCode::Control(_) if length > MAX_CONTROL || !header.is_final => {
                return Err(violation("a control frame is too long, or in parts"));
            }
            OpCode::Control(_) => {}
        }
        self.frame = Some(OpenFrame { opcode: header.opcode, mask: header.mask.unwrap_or_default(), left: length });
        self.end_frame();
        Ok(())
    }

    /// Ends the frame once it is whole.
    fn end_frame(&mut self) {
        let Some(frame) = self.frame.take_if(|frame| frame.left == 0) else { return };
        let payload = match frame.opcode {
            OpCode::Control(_) => std::mem::take(&mut self.control),
            OpCode::Data(_) => return,
        };
        match frame.opcode {
            OpCode::Control(Control::Ping) => self.request = Some(ControlRequest::Pong(payload)),
            OpCode::Control(Control::Close) => {
                let code = payload.first_chunk().map(|code| CloseCode::from(u16::from_be_bytes(*code)));
                self.request = Some(ControlRequest::Close(code.filter(|code| code.is_allowed())));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client's frame, masked.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [0x12, 0x34, 0x56, 0x78];
        let mut bytes = vec![first];
        match u16::try_from(payload.len()) {
            Ok(length @ ..126) => bytes.push(0x80 | length as u8),
            Ok(length) => {
                bytes.push(0x80 | 126);
                bytes.extend(length.to_be_bytes());
            }
            Err(_) => {
                bytes.push(0x80 | 127);
                bytes.extend((payload.len() as u64).to_be_bytes());
            }
        }
        bytes.extend(mask);
        bytes.extend(payload.iter().enumerate().map(|(index, byte)| byte ^ mask[index % 4]));
        bytes
    }

    fn read(reader: &mut FrameReader, bytes: &[u8], at_a_time: usize) -> Result<Vec<u8>, FrameViolation> {
        let mut payload = Vec::new();
        for part in bytes.chunks(at_a_time) {
            let mut part = part.to_vec();
            let count = reader.take(&mut part)?;
            payload.extend(&part[..count]);
        }
        Ok(payload)
    }

    #[test]
    fn frames_of_every_length_are_put_together_wherever_they_are_cut() {
        let payloads: Vec<Vec<u8>> = [0_usize, 1, 125, 126, 1000, 65_535, 65_536, 70_000]
            .iter()
            .map(|&length| (0..length).map(|index| (index % 251) as u8).collect())
            .collect();
        let bytes: Vec<u8> = payloads.iter().flat_map(|payload| frame(0x82, payload)).collect();
        for at_a_time in [1, 2, 3, 7, 14, 1000, usize::MAX] {
            let read = read(&mut FrameReader::default(), &bytes, at_a_time);
            assert_eq!(read, Ok(payloads.concat()), "{at_a_time} at a time");
        }
    }

    #[test]
    fn a_message_in_parts_may_have_control_frames_between_them() {
        let frames =
            [frame(0x02, b"on"), frame(0x89, b"hello"), frame(0x00, b"e "), frame(0x8a, b""), frame(0x80, b"two")];
        let mut reader = FrameReader::default();
        assert_eq!(read(&mut reader, &frames.concat(), 3), Ok(b"one two".to_vec()));
        assert_eq!(reader.take_request(), Some(ControlRequest::Pong(b"hello".to_vec())));
        assert_eq!(reader.take_request(), None);
        assert_eq!(read(&mut reader, &frame(0x88, &[0x03, 0xe9]), 3), Ok(Vec::new()));
        assert_eq!(reader.take_request(), Some(ControlRequest::Close(Some(CloseCode::Away))));
        assert_eq!(read(&mut reader, &frame(0x82, b"late"), 3), Ok(Vec::new()));
    }

    #[test]
    fn what_no_client_may_send_has_its_code() {
        let unmasked = vec![0x82, 1, b'x'];
        let code =
            |frames: &[Vec<u8>]| read(&mut FrameReader::default(), &frames.concat(), 5).expect_err("a violation").code;
        assert_eq!(code(&[frame(0x81, b"text")]), CloseCode::Unsupported);
        for frames in [
            vec![unmasked],
            vec![frame(0x83, b"")],
            vec![frame(0x8b, b"")],
            vec![frame(0xc2, b"")],
            vec![frame(0x80, b"")],
            vec![frame(0x02, b""), frame(0x82, b"")],
            vec![frame(0x09, b"")],
            vec![frame(0x89, &[0; 126])],
        ] {
            assert_eq!(code(&frames), CloseCode::Protocol, "{frames:02x?}");
        }
    }
}
