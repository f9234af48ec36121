//! A TCP stream that acknowledges at once what it receives, as long as that is little.
//!
//! Brokers leave Nagle's algorithm on as a rule (Mosquitto: `set_tcp_nodelay`, off by default): a small packet is held back
//! there until what was sent before it is acknowledged, and the kernel here delays an acknowledgement in the hope of an
//! answer to send with it. Together that holds up messages by milliseconds (RFC 9293, section 3.7.4; RFC 1122, section
//! 4.2.3.2). When there is much to send, the same delay is what makes few large packets of many small ones: then the
//! kernel is left alone.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes in this time tell little from much: some 10,000 small messages a second.
const WINDOW: Duration = Duration::from_millis(10);
const MUCH: usize = 8 << 10;

pub(crate) struct QuickAckStream {
    stream: TcpStream,
    flow: Flow,
}

/// How much comes in.
struct Flow {
    since: Instant,
    bytes: usize,
    was_much: bool,
}

impl Flow {
    /// Whether it is little, in this window and in the last one.
    fn is_little(&mut self, now: Instant, bytes: usize) -> bool {
        let passed = now.saturating_duration_since(self.since);
        if passed >= WINDOW {
            self.was_much = passed < 2 * WINDOW && self.bytes > MUCH;
            (self.since, self.bytes) = (now, 0);
        }
        self.bytes += bytes;
        !self.was_much && self.bytes <= MUCH
    }
}

impl QuickAckStream {
    /// Its writes are not held back either.
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(QuickAckStream { stream, flow: Flow { since: Instant::now(), bytes: 0, was_much: false } })
    }
}

/// Not a lasting setting: the kernel goes back to delaying by itself.
#[cfg(target_os = "linux")]
fn acknowledge(stream: &TcpStream) {
    if let Err(error) = rustix::net::sockopt::set_tcp_quickack(stream, true) {
        tracing::trace!(%error, "the kernel acknowledges when it likes");
    }
}

#[cfg(not(target_os = "linux"))]
fn acknowledge(_: &TcpStream) {}

impl AsyncRead for QuickAckStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let bytes = buffer.filled().len() - before;
        if bytes > 0 && self.flow.is_little(Instant::now(), bytes) {
            acknowledge(&self.stream);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for QuickAckStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_messages_are_acknowledged_at_once_and_a_flood_is_not() {
        let start = Instant::now();
        let mut flow = Flow { since: start, bytes: 0, was_much: false };
        let at = |micros| start + Duration::from_micros(micros);
        assert!((0..200).all(|n| flow.is_little(at(n * 200), 90)), "5,000 messages a second");
        let prompt = (0..4_000).filter(|n| flow.is_little(at(40_000 + n * 20), 90)).count();
        assert!(prompt < 120, "50,000 messages a second: {prompt} of 4,000");
        assert!(flow.is_little(at(200_000), 90), "after a pause");
    }
}
