//! The load generator: MQTT 3.1.1 on a plain socket, so that it takes as little as possible of the machine it shares.
//!
//! rumqttc's client would cost as much as what is measured. Packets are built once, in large writes; acknowledgements are
//! four bytes each and are only counted.

use anyhow::{Context, bail, ensure};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Messages under way without an acknowledgement.
const WINDOW: u64 = 4_000;
/// Messages of one write.
const AT_ONCE: u64 = 64;
/// Numbers start here, so that all payloads are equally long.
const FIRST_NUMBER: u64 = 1_000_000_000;
/// The smallest payload that holds all fields, in bytes.
pub(crate) const SMALLEST: usize = 48;

/// Topic and payload of the message with this number.
pub(crate) type Content = Box<dyn Fn(u64, &mut String, &mut Vec<u8>) + Send>;

/// What is published.
pub(crate) struct Load {
    pub(crate) port: u16,
    pub(crate) messages: u64,
    pub(crate) qos: u8,
    /// Messages a second; as fast as the broker takes them without.
    pub(crate) rate: Option<u64>,
    pub(crate) content: Content,
}

/// JSON of exactly `size` bytes with three fields, a float, an integer and a text.
pub(crate) fn reading(number: u64, size: usize, payload: &mut Vec<u8>) {
    let start = payload.len();
    // A write to a vector does not fail.
    drop(write!(payload, "{{\"t\":21.5,\"n\":{},\"unit\":\"", FIRST_NUMBER + number));
    payload.resize((start + size).saturating_sub(2).max(payload.len()), b'C');
    payload.extend_from_slice(b"\"}");
}

/// A command of exactly `size` bytes with two arguments.
pub(crate) fn command(number: u64, size: usize, payload: &mut Vec<u8>) {
    let start = payload.len();
    drop(write!(payload, "{{\"action\":\"light_on\",\"n\":{},\"u\":\"", FIRST_NUMBER + number));
    payload.resize((start + size).saturating_sub(2).max(payload.len()), b'C');
    payload.extend_from_slice(b"\"}");
}

/// The number of the message that has this payload, or a part of it that begins with the number.
pub(crate) fn number_in(payload: &[u8]) -> Option<u64> {
    let key = b"\"n\":";
    let at = payload.windows(key.len()).position(|window| window == key)? + key.len();
    let value = payload[at..].trim_ascii_start(); // the codec writes a blank behind the colon
    number_at(value.strip_prefix(b"\"").unwrap_or(value))
}

/// The number that these bytes begin with.
pub(crate) fn number_at(bytes: &[u8]) -> Option<u64> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number: u64 = std::str::from_utf8(&bytes[..digits]).ok()?.parse().ok()?;
    number.checked_sub(FIRST_NUMBER)
}

/// As it is written into a line or a payload.
pub(crate) fn shown(number: u64) -> u64 {
    FIRST_NUMBER + number
}

/// Publishes on a thread of its own; answers when each message was sent, if the rate is fixed.
pub(crate) fn publish(load: Load) -> JoinHandle<anyhow::Result<Vec<Instant>>> {
    std::thread::spawn(move || match load.rate {
        Some(rate) => paced(&load, rate),
        None => flat_out(&load).map(|()| Vec::new()),
    })
}

/// The publisher's result.
pub(crate) fn join<T>(thread: JoinHandle<anyhow::Result<T>>) -> anyhow::Result<T> {
    thread.join().map_err(|_| anyhow::anyhow!("the load generator panicked"))?
}

fn flat_out(load: &Load) -> anyhow::Result<()> {
    let mut stream = connect(load.port)?;
    let mut acks = Acks::default();
    let mut packets = Packets::new(load);
    let mut sent = 0;
    while sent < load.messages {
        let until = (sent + AT_ONCE).min(load.messages);
        stream.write_all(packets.build(load, sent..until)).context("publishing")?;
        sent = until;
        // Our own writes can't block for ever: a whole window of acknowledgements fits into the socket's buffers.
        while load.qos > 0 && sent - acks.count > WINDOW - AT_ONCE {
            acks.read(&mut stream)?;
        }
    }
    while load.qos > 0 && acks.count < load.messages {
        acks.read(&mut stream)?;
    }
    disconnect(stream)
}

fn paced(load: &Load, rate: u64) -> anyhow::Result<Vec<Instant>> {
    let mut stream = connect(load.port)?;
    let mut acks = Acks::default();
    let mut packets = Packets::new(load);
    let mut times = Vec::with_capacity(load.messages as usize);
    let since = Instant::now();
    for number in 0..load.messages {
        let due = since + Duration::from_micros(number * 1_000_000 / rate);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        times.push(Instant::now());
        stream.write_all(packets.build(load, number..number + 1)).context("publishing")?;
        if load.qos > 0 {
            stream.set_nonblocking(true)?;
            acks.read(&mut stream)?;
            stream.set_nonblocking(false)?;
        }
    }
    while load.qos > 0 && acks.count < load.messages {
        acks.read(&mut stream)?;
    }
    disconnect(stream)?;
    Ok(times)
}

fn connect(port: u16) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).context("connecting to the broker")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(crate::PATIENCE))?;
    stream.set_write_timeout(Some(crate::PATIENCE))?;
    // CONNECT: protocol level 4, clean session, no keep alive, client id "load".
    stream.write_all(b"\x10\x10\x00\x04MQTT\x04\x02\x00\x00\x00\x04load")?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).context("waiting for CONNACK")?;
    ensure!(answer == [0x20, 2, 0, 0], "the broker refuses the connection: {answer:x?}");
    Ok(stream)
}

/// Returns once the broker has taken everything: it closes the connection after DISCONNECT.
fn disconnect(mut stream: TcpStream) -> anyhow::Result<()> {
    stream.write_all(&[0xe0, 0])?;
    stream.shutdown(Shutdown::Write)?;
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
        Err(error) => Err(error).context("waiting for the end of the connection"),
    }
}

#[derive(Default)]
struct Acks {
    count: u64,
    /// Bytes of an acknowledgement that came in part.
    part: usize,
}

impl Acks {
    fn read(&mut self, stream: &mut TcpStream) -> anyhow::Result<()> {
        let mut buffer = [0; 16_384];
        match stream.read(&mut buffer) {
            Ok(0) => bail!("the broker closed the connection"),
            Ok(length) => {
                let all = self.part + length;
                self.count += (all / 4) as u64;
                self.part = all % 4;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error).context("waiting for acknowledgements"),
        }
    }
}

/// Buffers that are used again.
struct Packets {
    qos: u8,
    topic: String,
    payload: Vec<u8>,
    bytes: Vec<u8>,
}

impl Packets {
    fn new(load: &Load) -> Self {
        Packets { qos: load.qos, topic: String::new(), payload: Vec::new(), bytes: Vec::new() }
    }

    fn build(&mut self, load: &Load, numbers: std::ops::Range<u64>) -> &[u8] {
        self.bytes.clear();
        for number in numbers {
            self.topic.clear();
            self.payload.clear();
            (load.content)(number, &mut self.topic, &mut self.payload);
            self.bytes.push(0x30 | self.qos << 1);
            let id = if self.qos > 0 { 2 } else { 0 };
            let mut length = 2 + self.topic.len() + id + self.payload.len();
            while length >= 128 {
                self.bytes.push(length as u8 | 0x80);
                length >>= 7;
            }
            self.bytes.push(length as u8);
            self.bytes.extend_from_slice(&(self.topic.len() as u16).to_be_bytes());
            self.bytes.extend_from_slice(self.topic.as_bytes());
            if self.qos > 0 {
                self.bytes.extend_from_slice(&((number % 65_535) as u16 + 1).to_be_bytes());
            }
            self.bytes.extend_from_slice(&self.payload);
        }
        &self.bytes
    }
}
