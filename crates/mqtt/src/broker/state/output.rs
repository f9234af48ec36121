//! What is to be written to a connection. Large payloads are shared by all connections that they go to, and counted.

use super::traffic::PacketTally;
use bytes::{Buf, Bytes, BytesMut};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::{Rc, Weak};

/// From so many bytes on a payload is shared; smaller ones are copied behind their header.
const SHARED_FROM: usize = 16 * 1024;

/// The large payloads that connections still have to write, each of them once.
#[derive(Debug, Default)]
pub(crate) struct PayloadBudget {
    bytes: Cell<usize>,
    /// By the address of their bytes, which are there as long as the entry is.
    known: RefCell<HashMap<usize, Weak<SharedPayload>>>,
}

/// A payload that at least one connection has to write.
#[derive(Debug)]
pub(crate) struct SharedPayload {
    bytes: Bytes,
    account: Rc<PayloadBudget>,
}

impl PayloadBudget {
    /// Whether one more payload is within `limit` bytes; one alone always is.
    pub(crate) fn has_room(&self, payload: &Bytes, limit: usize) -> bool {
        payload.len() < SHARED_FROM
            || self.bytes.get() == 0
            || self.bytes.get() + payload.len() <= limit
            || self.known.borrow().contains_key(&(payload.as_ptr() as usize))
    }

    /// Whether not even one more byte is within `limit`.
    pub(crate) fn is_full(&self, limit: usize) -> bool {
        self.bytes.get() > 0 && self.bytes.get() >= limit
    }

    fn share(self: &Rc<Self>, payload: &Bytes) -> Rc<SharedPayload> {
        let mut known = self.known.borrow_mut();
        let address = payload.as_ptr() as usize;
        if let Some(payload) = known.get(&address).and_then(Weak::upgrade) {
            return payload;
        }
        let payload = Rc::new(SharedPayload { bytes: payload.clone(), account: self.clone() });
        self.bytes.set(self.bytes.get() + payload.bytes.len());
        known.insert(address, Rc::downgrade(&payload));
        payload
    }
}

impl Drop for SharedPayload {
    fn drop(&mut self) {
        let account = &self.account;
        account.bytes.set(account.bytes.get().saturating_sub(self.bytes.len()));
        account.known.borrow_mut().remove(&(self.bytes.as_ptr() as usize));
    }
}

#[derive(Debug)]
enum Segment {
    Packets(Bytes),
    Payload { payload: Rc<SharedPayload>, written: usize },
}

impl Segment {
    fn rest(&self) -> &[u8] {
        match self {
            Segment::Packets(bytes) => bytes,
            Segment::Payload { payload, written } => &payload.bytes[*written..],
        }
    }
}

/// The output of one connection.
#[derive(Debug, Default)]
pub(crate) struct OutputBuffer {
    segments: VecDeque<Segment>,
    /// Bytes in `segments`.
    ahead: usize,
    /// Behind all segments.
    tail: BytesMut,
    /// What was begun since it was taken last.
    pub(crate) tally: PacketTally,
}

impl OutputBuffer {
    pub(crate) fn len(&self) -> usize {
        self.ahead + self.tail.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the next packet is appended. It is counted.
    pub(crate) fn begin_packet(&mut self) -> &mut BytesMut {
        self.tally.packets += 1;
        &mut self.tail
    }

    /// Appends the payload of the packet whose header was just appended.
    pub(crate) fn put_payload(&mut self, payload: &Bytes, payloads: &Rc<PayloadBudget>) {
        if payload.len() < SHARED_FROM {
            return self.tail.extend_from_slice(payload);
        }
        self.ahead += self.tail.len() + payload.len();
        self.segments.push_back(Segment::Packets(self.tail.split().freeze()));
        self.segments.push_back(Segment::Payload { payload: payloads.share(payload), written: 0 });
    }

    /// Whether a shared payload is kept in memory by this.
    pub(crate) fn holds_payload(&self) -> bool {
        self.segments.iter().any(|segment| matches!(segment, Segment::Payload { .. }))
    }

    /// What comes next; empty only when everything is written.
    pub(crate) fn chunk(&self) -> &[u8] {
        self.segments.front().map_or(&self.tail, Segment::rest)
    }

    /// So many bytes of [`OutputBuffer::chunk`] were written.
    pub(crate) fn advance(&mut self, count: usize) {
        let Some(first) = self.segments.front_mut() else { return self.tail.advance(count) };
        self.ahead -= count;
        match first {
            Segment::Packets(bytes) => bytes.advance(count),
            Segment::Payload { written, .. } => *written += count,
        }
        while self.segments.front().is_some_and(|first| first.rest().is_empty()) {
            self.segments.pop_front();
        }
    }

    /// Gives memory back when there is nothing to write; `keep` bytes stay for the next packets.
    pub(crate) fn shrink(&mut self, keep: usize) {
        if self.tail.capacity() > keep {
            self.tail = BytesMut::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_for_many_is_counted_once_and_written_whole_to_each() {
        let payloads = Rc::new(PayloadBudget::default());
        let payload = Bytes::from(vec![7; SHARED_FROM]);
        let mut outputs: Vec<OutputBuffer> = (0..3).map(|_| OutputBuffer::default()).collect();
        for output in &mut outputs {
            output.begin_packet().extend_from_slice(b"head");
            output.put_payload(&payload, &payloads);
            output.begin_packet().extend_from_slice(b"next");
            assert_eq!(output.len(), SHARED_FROM + 8);
        }
        assert_eq!(payloads.bytes.get(), SHARED_FROM);
        assert!(payloads.has_room(&payload, 0), "it is there already");
        assert!(!payloads.has_room(&Bytes::from(vec![8; SHARED_FROM]), SHARED_FROM));
        for mut output in outputs {
            let mut written = Vec::new();
            while !output.is_empty() {
                let count = output.chunk().len().min(1000);
                written.extend_from_slice(&output.chunk()[..count]);
                output.advance(count);
            }
            assert_eq!(written, [b"head".as_slice(), &payload, b"next"].concat());
        }
        assert_eq!(payloads.bytes.get(), 0);
        assert!(payloads.known.borrow().is_empty());
    }
}
