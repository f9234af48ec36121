//! A loopback HTTP endpoint that costs as little as possible and counts each message.

use crate::load;
use crate::seen::Seen;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Answers 200 to everything.
pub(crate) struct Endpoint {
    pub(crate) url: String,
    seen: Arc<Mutex<Seen>>,
}

impl Endpoint {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}/in", listener.local_addr()?);
        let seen = Arc::new(Mutex::new(Seen::new(0)));
        let shared = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let seen = Arc::clone(&shared);
                thread::spawn(move || drop(serve(stream, &seen)));
            }
        });
        Ok(Endpoint { url, seen })
    }

    /// From now on these messages are expected, each once.
    pub(crate) fn expect(&self, messages: u64) {
        *lock(&self.seen) = Seen::new(messages);
    }

    pub(crate) fn count(&self) -> u64 {
        lock(&self.seen).count()
    }

    pub(crate) fn verify(&self) -> anyhow::Result<()> {
        lock(&self.seen).verify()
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(mut stream: TcpStream, seen: &Mutex<Seen>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut line, mut body) = (Vec::new(), Vec::new());
    loop {
        let mut length = 0;
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            if line == b"\r\n" {
                break;
            }
            const NAME: &[u8] = b"content-length:";
            if line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME) {
                length = String::from_utf8_lossy(&line[NAME.len()..]).trim().parse().unwrap_or(0);
            }
        }
        body.resize(length, 0);
        reader.read_exact(&mut body)?;
        lock(seen).note(load::number_in(&body));
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    }
}
