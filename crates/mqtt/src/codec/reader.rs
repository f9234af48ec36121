//! The data representations of MQTT (5.0, section 1.5), read from a packet's body.

use super::ProtocolViolation;

/// Reads on from the front of a packet's body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyReader<'a> {
    rest: &'a [u8],
}

impl<'a> BodyReader<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        BodyReader { rest: body }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is left, to the end of the packet.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], ProtocolViolation> {
        let (head, tail) =
            self.rest.split_at_checked(count).ok_or(ProtocolViolation::malformed("packet ends too early"))?;
        self.rest = tail;
        Ok(head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, ProtocolViolation> {
        Ok(self.bytes(1)?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, ProtocolViolation> {
        let bytes = self.bytes(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, ProtocolViolation> {
        let bytes = self.bytes(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// Variable byte integer, at most 268,435,455, in its shortest form.
    pub(crate) fn variable(&mut self) -> Result<u32, ProtocolViolation> {
        let mut value = 0;
        for index in 0..4 {
            let byte = self.u8()?;
            value |= u32::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                if byte == 0 && index > 0 {
                    return Err(ProtocolViolation::malformed("variable byte integer is not in its shortest form"));
                }
                return Ok(value);
            }
        }
        Err(ProtocolViolation::malformed("variable byte integer has more than four bytes"))
    }

    pub(crate) fn binary(&mut self) -> Result<&'a [u8], ProtocolViolation> {
        let length = self.u16()?;
        self.bytes(usize::from(length))
    }

    /// UTF-8 without NUL ([MQTT-1.5.4-1], [MQTT-1.5.4-2]).
    pub(crate) fn text(&mut self) -> Result<&'a str, ProtocolViolation> {
        let bytes = self.binary()?;
        let text = std::str::from_utf8(bytes).map_err(|_| ProtocolViolation::malformed("string is not UTF-8"))?;
        if bytes.contains(&0) {
            return Err(ProtocolViolation::malformed("string contains NUL"));
        }
        Ok(text)
    }

    /// A packet identifier, which is never 0.
    pub(crate) fn packet_id(&mut self) -> Result<u16, ProtocolViolation> {
        match self.u16()? {
            0 => Err(ProtocolViolation::protocol("packet identifier is 0")),
            id => Ok(id),
        }
    }

    /// A part with its own length in front, as properties have.
    pub(crate) fn section(&mut self) -> Result<BodyReader<'a>, ProtocolViolation> {
        let length = self.variable()?;
        Ok(BodyReader::new(self.bytes(length as usize)?))
    }

    pub(crate) fn end(self) -> Result<(), ProtocolViolation> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(ProtocolViolation::malformed("packet is longer than its content"))
        }
    }
}
