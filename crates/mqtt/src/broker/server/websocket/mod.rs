//! MQTT in the frames of a WebSocket (MQTT 5.0, section 6; RFC 6455).
//!
//! The client's frames are taken apart as they come, in the buffer that they were read into: however long a frame says
//! that it is, nothing is kept for it, and the bounds of TCP hold here unchanged. What is written goes out in frames as
//! it is there. Neither has anything to do with where packets begin and end.

mod framed;
mod handshake;
mod reader;
mod writer;

pub(crate) use framed::FramedStream;
pub(crate) use handshake::accept;
