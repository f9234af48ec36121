//! The byte stream within a WebSocket.

use super::reader::{ControlRequest, FrameReader, FrameViolation};
use super::writer::FrameWriter;
use crate::broker::server::socket::SocketStream;
use crate::codec::ProtocolViolation;
use async_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A WebSocket whose handshake is done. Reading ends at the client's close frame; shutting down sends one.
#[derive(Debug)]
pub(crate) struct FramedStream {
    socket: SocketStream,
    reader: FrameReader,
    writer: FrameWriter,
    violation: Option<FrameViolation>,
}

impl FramedStream {
    pub(super) fn new(socket: SocketStream) -> Self {
        FramedStream { socket, reader: FrameReader::default(), writer: FrameWriter::default(), violation: None }
    }

    pub(crate) fn socket(&self) -> &SocketStream {
        &self.socket
    }

    /// What the client did wrong in its frames. It is told the code when the stream is shut down.
    pub(crate) fn violation(&self) -> Option<ProtocolViolation> {
        self.violation.map(|violation| ProtocolViolation::protocol(violation.what))
    }

    /// Answers what the client asked for in control frames, as far as the socket takes it now.
    fn answer(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if let Some(request) = self.reader.take_request() {
            self.writer.answer(request);
        }
        match self.writer.poll_control(&mut self.socket, cx) {
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for FramedStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let framed = self.get_mut();
        let before = buf.filled().len();
        loop {
            framed.answer(cx)?;
            if framed.reader.is_closed() {
                return Poll::Ready(Ok(()));
            }
            ready!(Pin::new(&mut framed.socket).poll_read(cx, buf))?;
            let raw = &mut buf.filled_mut()[before..];
            if raw.is_empty() {
                return Poll::Ready(Ok(()));
            }
            // What comes behind a violation is passed over.
            let payload = match framed.violation.map_or_else(|| framed.reader.take(raw), |_| Ok(0)) {
                Ok(payload) => payload,
                Err(violation) => {
                    framed.violation = Some(violation);
                    buf.set_filled(before);
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, violation.what)));
                }
            };
            buf.set_filled(before + payload);
            if payload > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for FramedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let framed = self.get_mut();
        framed.writer.poll_data(&mut framed.socket, cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let framed = self.get_mut();
        ready!(framed.writer.poll_control(&mut framed.socket, cx))?;
        Pin::new(&mut framed.socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let framed = self.get_mut();
        let code = framed.violation.map_or(CloseCode::Normal, |violation| violation.code);
        framed.writer.answer(ControlRequest::Close(Some(code)));
        ready!(framed.writer.poll_control(&mut framed.socket, cx))?;
        Pin::new(&mut framed.socket).poll_shutdown(cx)
    }
}
