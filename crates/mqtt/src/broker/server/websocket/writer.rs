//! What goes out in frames.

use super::reader::ControlRequest;
use crate::broker::server::socket::SocketStream;
use async_tungstenite::tungstenite::protocol::frame::FrameHeader;
use async_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};
use bytes::{Buf, BytesMut};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// A frame carries so much at most, so that a ping is answered while a large payload is written.
const MAX_FRAME: usize = 64 * 1024;

/// Puts bytes into frames.
#[derive(Debug, Default)]
pub(super) struct FrameWriter {
    /// A frame's header, or a whole control frame: written before anything else.
    head: BytesMut,
    /// Bytes that the data frame which was begun still announces.
    left: usize,
    answer: Option<ControlRequest>,
    /// Nothing is written behind it.
    is_closed: bool,
    is_unflushed: bool,
}

impl FrameWriter {
    /// Answers a control frame as soon as the frame that was begun is written.
    pub(super) fn answer(&mut self, request: ControlRequest) {
        if !matches!(self.answer, Some(ControlRequest::Close(_))) {
            self.answer = Some(request);
        }
    }

    /// Writes a part of `bytes`; returns how many of them.
    pub(super) fn poll_data(
        &mut self,
        socket: &mut SocketStream,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.left == 0 {
            ready!(self.poll_control(socket, cx))?;
            if self.is_closed {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            self.left = bytes.len().min(MAX_FRAME);
            self.put_header(OpCode::Data(Data::Binary), self.left)?;
        }
        let part = &bytes[..bytes.len().min(self.left)];
        loop {
            let head = self.head.len();
            let count = ready!(
                Pin::new(&mut *socket).poll_write_vectored(cx, &[IoSlice::new(&self.head), IoSlice::new(part)])
            )?;
            if count == 0 && head + part.len() > 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.head.advance(count.min(head));
            let written = count.saturating_sub(head);
            if written > 0 || part.is_empty() {
                self.left -= written;
                return Poll::Ready(Ok(written));
            }
        }
    }

    /// Writes and flushes the answers that are due.
    pub(super) fn poll_control(&mut self, socket: &mut SocketStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.left > 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            while !self.head.is_empty() {
                let count = ready!(Pin::new(&mut *socket).poll_write(cx, &self.head))?;
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.head.advance(count);
                self.is_unflushed = true;
            }
            match self.answer.take().filter(|_| !self.is_closed) {
                Some(answer) => self.put_control(&answer)?,
                None => break,
            }
        }
        if self.is_unflushed {
            ready!(Pin::new(socket).poll_flush(cx))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn put_control(&mut self, answer: &ControlRequest) -> io::Result<()> {
        let (kind, payload) = match answer {
            ControlRequest::Pong(payload) => (Control::Pong, payload.clone()),
            ControlRequest::Close(code) => {
                self.is_closed = true;
                (Control::Close, code.map(|code: CloseCode| u16::from(code).to_be_bytes().to_vec()).unwrap_or_default())
            }
        };
        self.put_header(OpCode::Control(kind), payload.len())?;
        self.head.extend_from_slice(&payload);
        Ok(())
    }

    fn put_header(&mut self, opcode: OpCode, length: usize) -> io::Result<()> {
        let header = FrameHeader { is_final: true, rsv1: false, rsv2: false, rsv3: false, opcode, mask: None };
        let mut bytes = Vec::with_capacity(header.len(length as u64));
        header.format(length as u64, &mut bytes).map_err(io::Error::other)?;
        self.head.extend_from_slice(&bytes);
        Ok(())
    }
}
