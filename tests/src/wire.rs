//! An MQTT client or broker made of bytes, for what a well-behaved one never sends: repetitions, odd identifiers, nonsense.

use crate::PATIENCE;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

/// CONNECT, as far as tests vary it.
#[derive(Clone, Copy, Debug)]
pub struct Connect<'a> {
    /// 4 for MQTT 3.1.1, 5 for MQTT 5.
    pub version: u8,
    /// Client identifier.
    pub id: &'a str,
    /// Whether the broker forgets the session (3.1.1), or begins a new one (5).
    pub clean: bool,
    /// User name and password.
    pub user: Option<(&'a str, &'a str)>,
}

impl<'a> Connect<'a> {
    /// MQTT 3.1.1 with a session that is kept.
    #[must_use]
    pub fn kept(id: &'a str) -> Self {
        Connect { version: 4, id, clean: false, user: None }
    }

    /// With a clean session, in this version of MQTT.
    #[must_use]
    pub fn clean(version: u8, id: &'a str) -> Self {
        Connect { version, id, clean: true, user: None }
    }

    /// With a user name and password.
    #[must_use]
    pub fn user(self, name: &'a str, password: &'a str) -> Self {
        Connect { user: Some((name, password)), ..self }
    }

    fn bytes(&self) -> Vec<u8> {
        let credentials = if self.user.is_some() { 0xc0 } else { 0 };
        let mut body = text("MQTT");
        body.extend([self.version, credentials | u8::from(self.clean) << 1, 0, 60]);
        body.extend(no_properties(self.version));
        body.extend(text(self.id));
        if let Some((name, password)) = self.user {
            body.extend(text(name));
            body.extend(text(password));
        }
        packet(0x10, &body)
    }
}

/// A connection.
pub struct Wire {
    stream: TcpStream,
    version: u8,
    buffer: Vec<u8>,
}

impl Wire {
    /// Connects to this port of 127.0.0.1, and answers the code of CONNACK too.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn connect(port: u16, connect: Connect<'_>) -> (Self, u8) {
        let mut wire = Wire::open(port, connect.version);
        wire.send(&connect.bytes());
        let (kind, body) = wire.receive().expect("CONNACK");
        assert_eq!(kind, 0x20, "CONNACK");
        (wire, body[1])
    }

    /// A TCP connection on which nothing was said.
    #[must_use]
    pub fn open(port: u16, version: u8) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a listening broker");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        Wire { stream, version, buffer: Vec::new() }
    }

    /// The broker's side: takes the next client with MQTT 3.1.1.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn accept(listener: &TcpListener, session_present: bool) -> Self {
        let (stream, _) = listener.accept().expect("a client");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let mut wire = Wire { stream, version: 4, buffer: Vec::new() };
        let (kind, _) = wire.receive().expect("CONNECT");
        assert_eq!(kind, 0x10, "CONNECT");
        wire.send(&packet(0x20, &[u8::from(session_present), 0]));
        wire
    }

    /// The broker's side: does what the client asks for until it sends this packet of this identifier.
    ///
    /// # Panics
    /// When it hangs up.
    pub fn serve_until(&mut self, wanted: u8, id: u16) {
        loop {
            let (kind, body) = self.receive().expect("a packet");
            if kind == wanted && body[..2] == id.to_be_bytes() {
                return;
            }
            match kind {
                0x82 => self.grant(&body),
                0xa2 => self.send(&packet(0xb0, &body[..2])),
                0xc0 => self.send(&packet(0xd0, &[])),
                0x32 | 0x33 => {
                    let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
                    self.send(&packet(0x40, &body[2 + topic..4 + topic]));
                }
                _ => {}
            }
        }
    }

    /// SUBACK for all filters of a SUBSCRIBE, each with the QoS that it wants.
    fn grant(&mut self, subscribe: &[u8]) {
        let mut granted = subscribe[..2].to_vec();
        let mut filters = &subscribe[2..];
        while let [high, low, rest @ ..] = filters {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            granted.push(rest[length]);
            filters = &rest[length + 1..];
        }
        self.send(&packet(0x90, &granted));
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("sending");
    }

    /// Sends bytes to a broker that may have hung up already.
    pub fn send_regardless(&mut self, bytes: &[u8]) {
        drop(self.stream.write_all(bytes));
    }

    /// PUBLISH at QoS 1.
    pub fn publish(&mut self, id: u16, dup: bool, topic: &str, payload: &str) {
        self.publish_at(1, id, dup, topic, payload);
    }

    /// PUBLISH at QoS 1 or 2.
    pub fn publish_at(&mut self, qos: u8, id: u16, dup: bool, topic: &str, payload: &str) {
        let mut body = text(topic);
        body.extend(id.to_be_bytes());
        body.extend(no_properties(self.version));
        body.extend(payload.as_bytes());
        self.send(&packet(0x30 | qos << 1 | u8::from(dup) << 3, &body));
    }

    /// SUBSCRIBE at QoS 1; answers the code of SUBACK.
    ///
    /// # Panics
    /// When something else comes.
    pub fn subscribe(&mut self, filter: &str) -> u8 {
        let mut body = vec![0, 1];
        body.extend(no_properties(self.version));
        body.extend(text(filter));
        body.push(1);
        self.send(&packet(0x82, &body));
        let (kind, body) = self.receive().expect("SUBACK");
        assert_eq!(kind, 0x90, "SUBACK");
        body[body.len() - 1]
    }

    /// Waits for this message's PUBACK; answers its code, 0 when it has none.
    ///
    /// # Panics
    /// When something else comes, or nothing.
    pub fn acknowledged(&mut self, id: u16) -> u8 {
        let (kind, body) = self.receive().expect("PUBACK");
        assert_eq!((kind, u16::from_be_bytes([body[0], body[1]])), (0x40, id), "PUBACK");
        body.get(2).copied().unwrap_or(0)
    }

    /// Waits until the broker has taken this message: for its PUBACK (QoS 1) or PUBREC (QoS 2).
    ///
    /// # Panics
    /// When something else comes, or nothing.
    pub fn is_taken(&mut self, qos: u8, id: u16) {
        let (kind, body) = self.receive().expect("PUBACK or PUBREC");
        let expected = if qos == 2 { 0x50 } else { 0x40 };
        assert_eq!((kind, u16::from_be_bytes([body[0], body[1]])), (expected, id), "PUBACK or PUBREC");
    }

    /// Whether the broker answers a PINGREQ.
    pub fn is_served(&mut self) -> bool {
        self.send_regardless(&[0xc0, 0]);
        self.receive().is_some_and(|(kind, _)| kind == 0xd0)
    }

    /// The next packet, its first byte and its body; none at the end of the connection.
    ///
    /// # Panics
    /// When neither comes within [`PATIENCE`].
    pub fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((body, end)) = whole(&self.buffer) {
                let packet = (self.buffer[0], self.buffer[body..end].to_vec());
                self.buffer.drain(..end);
                return Some(packet);
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(count) => self.buffer.extend(&chunk[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("neither a packet nor the end: {error}"),
            }
        }
    }
}

/// A packet of this first byte.
#[must_use]
pub fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![kind];
    let mut length = body.len();
    loop {
        let digit = u8::try_from(length % 128).expect("a digit");
        length /= 128;
        packet.push(digit | if length > 0 { 0x80 } else { 0 });
        if length == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}

/// UTF-8 text with its length.
#[must_use]
pub fn text(text: &str) -> Vec<u8> {
    let mut bytes = u16::try_from(text.len()).expect("a short text").to_be_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

fn no_properties(version: u8) -> Vec<u8> {
    if version == 5 { vec![0] } else { Vec::new() }
}

/// Where the body of the first packet begins and ends, once it is complete.
fn whole(buffer: &[u8]) -> Option<(usize, usize)> {
    let (mut length, mut at) = (0, 1);
    loop {
        let byte = *buffer.get(at)?;
        length |= usize::from(byte & 0x7f) << (7 * (at - 1));
        at += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    (buffer.len() >= at + length).then_some((at, at + length))
}
