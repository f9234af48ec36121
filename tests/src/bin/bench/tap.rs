//! A wire tap between broker and gateway: tells when each message reached the gateway's socket.

use crate::load;
use anyhow::Context;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

/// What the gateway connects to in the broker's place.
pub(crate) struct Tap {
    pub(crate) port: u16,
    receipts: Receipts,
}

/// By the messages' numbers.
type Receipts = Arc<Mutex<Vec<Option<Instant>>>>;

impl Tap {
    /// Passes everything on between its port and the broker's.
    pub(crate) fn start(broker: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let receipts = Receipts::default();
        let noted = Arc::clone(&receipts);
        thread::spawn(move || {
            for gateway in listener.incoming().map_while(Result::ok) {
                if let Err(error) = pass(gateway, broker, &noted) {
                    eprintln!("the tap: {error:#}");
                }
            }
        });
        Ok(Tap { port, receipts })
    }

    /// When each of so many messages was about to be written to the gateway's socket, the last time.
    pub(crate) fn receipts(&self, messages: u64) -> anyhow::Result<Vec<Instant>> {
        let receipts = self.receipts.lock().unwrap_or_else(PoisonError::into_inner);
        let of =
            |number| receipts.get(number as usize).copied().flatten().context("a message that did not pass the tap");
        (0..messages).map(of).collect()
    }
}

fn pass(gateway: TcpStream, broker: u16, receipts: &Receipts) -> anyhow::Result<()> {
    let broker = TcpStream::connect(("127.0.0.1", broker)).context("connecting to the broker")?;
    for stream in [&gateway, &broker] {
        stream.set_nodelay(true)?;
    }
    let (mut from, mut to) = (gateway.try_clone()?, broker.try_clone()?);
    thread::spawn(move || {
        // Either side ends the connection when it likes.
        drop(std::io::copy(&mut from, &mut to));
        drop(to.shutdown(Shutdown::Write));
    });
    let receipts = Arc::clone(receipts);
    thread::spawn(move || drop(watch(broker, gateway, &receipts)));
    Ok(())
}

/// Passes on what the broker says, whole packets at a time.
fn watch(mut broker: TcpStream, mut gateway: TcpStream, receipts: &Receipts) -> std::io::Result<()> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 65_536]);
    loop {
        let length = broker.read(&mut chunk)?;
        if length == 0 {
            return gateway.shutdown(Shutdown::Write);
        }
        bytes.extend_from_slice(&chunk[..length]);
        let mut whole = 0;
        let now = Instant::now();
        while let Some(packet) = packet(&bytes[whole..]) {
            if packet[0] >> 4 == PUBLISH
                && let Some(number) = load::number_in(packet)
            {
                let mut receipts = receipts.lock().unwrap_or_else(PoisonError::into_inner);
                let number = number as usize;
                if receipts.len() <= number {
                    receipts.resize(number + 1, None);
                }
                receipts[number] = Some(now);
            }
            whole += packet.len();
        }
        gateway.write_all(&bytes[..whole])?;
        bytes.drain(..whole);
    }
}

const PUBLISH: u8 = 3;

/// The packet at the front, if it is all there (MQTT 3.1.1, section 2.2).
fn packet(bytes: &[u8]) -> Option<&[u8]> {
    let mut remaining = 0;
    for (at, byte) in bytes.iter().skip(1).take(4).enumerate() {
        remaining |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return bytes.get(..2 + at + remaining);
        }
    }
    None
}
