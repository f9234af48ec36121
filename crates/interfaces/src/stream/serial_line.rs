//! A serial line whose transmit buffer can be looked at and emptied while others read and write it.
//!
//! The library's own flush waits for the last byte with `tcdrain`, which holds up the whole thread when the device's flow
//! control does.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_serial::{ClearBuffer, SerialPort, SerialStream};

/// What a flush of the line found, and what the next one is to do.
#[derive(Debug, Default)]
pub(crate) struct LineGauge {
    unsent: AtomicU32,
    is_discarded: AtomicBool,
}

impl LineGauge {
    /// Whether bytes had not left at the last flush. A line that cannot tell is taken for empty.
    pub(crate) fn has_unsent(&self) -> bool {
        self.unsent.load(Ordering::Relaxed) > 0
    }

    /// The next flush drops what has not left.
    pub(crate) fn discard(&self) {
        self.is_discarded.store(true, Ordering::Relaxed);
    }
}

/// See the module.
pub(crate) struct SerialLine {
    stream: SerialStream,
    gauge: Arc<LineGauge>,
}

impl SerialLine {
    pub(crate) fn new(stream: SerialStream) -> (Self, Arc<LineGauge>) {
        let gauge = Arc::<LineGauge>::default();
        (SerialLine { stream, gauge: Arc::clone(&gauge) }, gauge)
    }
}

impl AsyncRead for SerialLine {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for SerialLine {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    /// Looks at the transmit buffer; does not wait for it.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.gauge.is_discarded.swap(false, Ordering::Relaxed) {
            self.stream.clear(ClearBuffer::Output)?;
        }
        self.gauge.unsent.store(self.stream.bytes_to_write().unwrap_or(0), Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}
