//! The bytes of a client, whichever way they come.

use super::socket::SocketStream;
use super::websocket::FramedStream;
use crate::codec::ProtocolViolation;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One type for all, so that a connection's code exists once.
#[derive(Debug)]
pub(crate) enum ClientStream {
    Bytes(SocketStream),
    WebSocket(Box<FramedStream>),
}

impl ClientStream {
    /// Waits until the other side has closed the connection; what it sent before stays unread.
    pub(crate) async fn gone(&self) {
        self.socket().gone().await;
    }

    /// Whether the other side has closed the connection, unread input or not. Does not wake the task later.
    pub(crate) fn is_gone(&self, cx: &mut Context<'_>) -> bool {
        self.socket().is_gone(cx)
    }

    /// Whether the other side has shown a certificate; one that is not valid would have ended the handshake.
    pub(crate) fn is_certified(&self) -> bool {
        self.socket().is_certified()
    }

    /// What the client did wrong below MQTT, if that is why reading failed.
    pub(crate) fn violation(&self) -> Option<ProtocolViolation> {
        match self {
            ClientStream::Bytes(_) => None,
            ClientStream::WebSocket(framed) => framed.violation(),
        }
    }

    fn socket(&self) -> &SocketStream {
        match self {
            ClientStream::Bytes(socket) => socket,
            ClientStream::WebSocket(framed) => framed.socket(),
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            ClientStream::Bytes(socket) => Pin::new(socket).poll_read(cx, buf),
            ClientStream::WebSocket(framed) => Pin::new(framed).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            ClientStream::Bytes(socket) => Pin::new(socket).poll_write(cx, buf),
            ClientStream::WebSocket(framed) => Pin::new(framed).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            ClientStream::Bytes(socket) => Pin::new(socket).poll_flush(cx),
            ClientStream::WebSocket(framed) => Pin::new(framed).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            ClientStream::Bytes(socket) => Pin::new(socket).poll_shutdown(cx),
            ClientStream::WebSocket(framed) => Pin::new(framed).poll_shutdown(cx),
        }
    }
}
