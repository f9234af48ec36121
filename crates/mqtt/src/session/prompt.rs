//! A TCP stream that acknowledges what it receives at once.
//!
//! Brokers leave Nagle's algorithm on as a rule (Mosquitto: `set_tcp_nodelay`, off by default): a small packet is held back
//! there until what was sent before it is acknowledged, and the kernel here delays an acknowledgement in the hope of an
//! answer to send with it. Together that holds up messages by milliseconds (RFC 9293, section 3.7.4; RFC 1122, section
//! 4.2.3.2).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

pub(super) struct Prompt(TcpStream);

impl Prompt {
    /// Its writes are not held back either.
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Prompt(stream))
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

impl AsyncRead for Prompt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.0).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            acknowledge(&self.0);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
