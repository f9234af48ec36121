//! Bytes to and from the broker, both ways at once: a peer that does not read must not keep us from reading.

use bytes::{Buf, BytesMut};
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

/// A byte stream of whichever transport.
pub(crate) trait TransportStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> TransportStream for T {}

/// A new buffer of this size is made when the old one is nearly full. Payloads are slices of it: it is freed when the last
/// message in it is, so it is filled up, not replaced at each read.
const READ_CHUNK: usize = 64 << 10;
/// Less room than this is not worth a system call.
const READ_ROOM: usize = 4 << 10;

/// A connection with its two buffers.
pub(crate) struct BufferedStream {
    stream: Box<dyn TransportStream>,
    pub(crate) input: BytesMut,
    pub(crate) output: BytesMut,
    unflushed: bool,
    /// The last read took all that there was room for.
    pub(crate) has_more: bool,
}

impl BufferedStream {
    pub(crate) fn new(stream: Box<dyn TransportStream>) -> Self {
        BufferedStream { stream, input: BytesMut::new(), output: BytesMut::new(), unflushed: false, has_more: false }
    }

    /// Moves bytes until some came in (if `read`) or `output` is written and flushed. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the peer has closed; what the transport says otherwise.
    pub(crate) async fn exchange(&mut self, read: bool) -> io::Result<()> {
        poll_fn(|context| self.poll_exchange(context, read)).await
    }

    /// Writes everything and closes our side.
    pub(crate) async fn finish(&mut self) -> io::Result<()> {
        poll_fn(|context| self.poll_write_all(context)).await?;
        poll_fn(|context| Pin::new(&mut self.stream).poll_shutdown(context)).await
    }

    fn poll_exchange(&mut self, context: &mut Context<'_>, read: bool) -> Poll<io::Result<()>> {
        let had_output = self.unflushed || !self.output.is_empty();
        let written = self.poll_write_all(context);
        // A peer that parts says why before it closes: read that even when writing fails already.
        if read {
            match self.poll_read_some(context) {
                Poll::Ready(Err(error)) if !matches!(written, Poll::Ready(Err(_))) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(_)) | Poll::Pending => {}
            }
        }
        match written {
            Poll::Ready(Ok(())) if !had_output => Poll::Pending,
            other => other,
        }
    }

    fn poll_write_all(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(context, &self.output))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.advance(count);
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(context))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read_some(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.input.capacity() - self.input.len() < READ_ROOM {
            self.input.reserve(READ_CHUNK);
        }
        let count = ready!(pin!(self.stream.read_buf(&mut self.input)).poll(context))?;
        self.has_more = self.input.len() == self.input.capacity();
        match count {
            0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            _ => Poll::Ready(Ok(())),
        }
    }
}
