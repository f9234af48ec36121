//! A connection as TCP gives it, plain or TLS.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// How often it is looked whether a client that is not read has gone.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// One type for both, so that a connection's code exists once.
#[derive(Debug)]
pub(crate) enum SocketStream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl SocketStream {
    /// Waits until the other side has closed the connection; what it sent before stays unread.
    pub(crate) async fn gone(&self) {
        while let Ok(ready) = self.tcp().ready(Interest::READABLE).await {
            if ready.is_read_closed() {
                return;
            }
            // Unread input makes it ready all the time.
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Whether the other side has closed the connection, unread input or not. Does not wake the task later.
    pub(crate) fn is_gone(&self, cx: &mut Context<'_>) -> bool {
        let readiness = std::pin::pin!(self.tcp().ready(Interest::READABLE));
        matches!(readiness.poll(cx), Poll::Ready(Ok(ready)) if ready.is_read_closed())
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            SocketStream::Plain(stream) => stream,
            SocketStream::Tls(stream) => stream.get_ref().0,
        }
    }

    /// Whether the other side has shown a certificate; one that is not valid would have ended the handshake.
    pub(crate) fn is_certified(&self) -> bool {
        match self {
            SocketStream::Plain(_) => false,
            SocketStream::Tls(stream) => stream.get_ref().1.peer_certificates().is_some(),
        }
    }
}

impl AsyncRead for SocketStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            SocketStream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            SocketStream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for SocketStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            SocketStream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            SocketStream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            SocketStream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            SocketStream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            SocketStream::Plain(stream) => stream.is_write_vectored(),
            SocketStream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            SocketStream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            SocketStream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            SocketStream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            SocketStream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
