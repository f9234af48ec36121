//! Lines from a child process, with a bounded buffer.

use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest line of the protocol, in bytes without its end.
pub(crate) const LONGEST_LINE: usize = 1 << 20;

/// The longest line of standard error; a longer one is cut into several.
pub(crate) const LONGEST_COMPLAINT: usize = 4_096;

const CHUNK: usize = 16 * 1_024;

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NextLine<'a> {
    /// A line without its end. The last one may have had none.
    Whole(&'a [u8]),
    /// So many bytes as are allowed came without a line end; reading on gives what follows.
    TooLong(&'a [u8]),
    /// Nothing comes any more.
    End,
}

pub(crate) struct LineReader<R> {
    reader: R,
    limit: usize,
    buffer: Vec<u8>,
    /// Where the next line begins in the buffer, and up to where no line end was found.
    start: usize,
    scanned: usize,
    ended: bool,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    pub(crate) fn new(reader: R, limit: usize) -> Self {
        LineReader { reader, limit, buffer: Vec::new(), start: 0, scanned: 0, ended: false }
    }

    /// The next line. Can be cancelled.
    pub(crate) async fn next(&mut self) -> io::Result<NextLine<'_>> {
        loop {
            if let Some(length) = self.buffer[self.scanned..].iter().position(|byte| *byte == b'\n') {
                let (start, end) = (self.start, self.scanned + length);
                self.start = end + 1;
                self.scanned = self.start;
                if end - start > self.limit {
                    return Ok(NextLine::TooLong(&self.buffer[start..start + self.limit]));
                }
                return Ok(NextLine::Whole(&self.buffer[start..end]));
            }
            self.scanned = self.buffer.len();
            if self.buffer.len() - self.start > self.limit {
                let start = self.start;
                self.start = start + self.limit;
                return Ok(NextLine::TooLong(&self.buffer[start..self.start]));
            }
            if self.ended {
                let start = std::mem::replace(&mut self.start, self.buffer.len());
                return Ok(if start == self.buffer.len() {
                    NextLine::End
                } else {
                    NextLine::Whole(&self.buffer[start..])
                });
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.start);
        self.scanned -= self.start;
        self.start = 0;
        self.buffer.reserve(CHUNK);
        self.ended = (&mut self.reader).take(CHUNK as u64).read_buf(&mut self.buffer).await? == 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(input: &[u8], limit: usize) -> Vec<String> {
        let mut lines = LineReader::new(input, limit);
        let mut found = Vec::new();
        loop {
            match lines.next().await.unwrap() {
                NextLine::Whole(line) => found.push(String::from_utf8_lossy(line).into_owned()),
                NextLine::TooLong(piece) => found.push(format!("{}…", String::from_utf8_lossy(piece))),
                NextLine::End => return found,
            }
        }
    }

    #[tokio::test]
    async fn lines_come_one_by_one_and_the_last_needs_no_end() {
        assert_eq!(all(b"a\n\nbc\nd", 10).await, ["a", "", "bc", "d"]);
        assert_eq!(all(b"", 10).await, Vec::<String>::new());
        assert_eq!(all(b"a\n", 10).await, ["a"]);
    }

    #[tokio::test]
    async fn a_line_over_the_limit_is_told_before_its_end_comes() {
        assert_eq!(all(b"0123456789\nok\n", 10).await, ["0123456789", "ok"]);
        assert_eq!(all(b"0123456789AB", 10).await, ["0123456789…", "AB"]);
        let mut flood = LineReader::new(tokio::io::repeat(b'x'), LONGEST_LINE);
        assert!(matches!(flood.next().await.unwrap(), NextLine::TooLong(_)));
        assert!(flood.buffer.capacity() < 3 * LONGEST_LINE, "the buffer is bounded");
    }
}
