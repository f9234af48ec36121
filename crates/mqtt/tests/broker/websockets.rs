//! MQTT over WebSocket: a client made of frames, and the gateway's own session.

use crate::harness::*;
use crate::security::certificates;
use hearthgate_domain::delivery::{OutboundMessage, QoS};
use hearthgate_mqtt::broker::{BrokerError, BrokerOptions, BrokerTlsOptions, EmbeddedBroker, WebSocketOptions};
use hearthgate_mqtt::link::{LinkEvent, LinkSubscription, link};
use hearthgate_mqtt::session::{self, BrokerServer, ProtocolVersion, SessionOptions, TlsOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use tokio::task::JoinSet;

const LOCAL: &str = "127.0.0.1:0";

fn websocket() -> BrokerOptions {
    let websocket = WebSocketOptions { listen: Some(LOCAL.into()), ..WebSocketOptions::default() };
    BrokerOptions { websocket: Some(websocket), ..options() }
}

const HEADERS: &str = "Host: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n";

/// A client made of frames.
struct WebSocket {
    stream: TcpStream,
}

const BINARY: u8 = 0x82;
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

impl WebSocket {
    fn open(address: SocketAddr) -> WebSocket {
        let (mut socket, answer) = Self::ask(address, &format!("GET /mqtt HTTP/1.1\r\n{HEADERS}\r\n"));
        assert!(answer.starts_with("HTTP/1.1 101 ") && answer.contains("sec-websocket-protocol: mqtt\r\n"), "{answer}");
        socket.frame(BINARY, &Connect::v5().bytes());
        let (kind, connack) = socket.receive();
        assert_eq!((kind, connack[0], connack[3]), (BINARY, 0x20, 0));
        socket
    }

    /// A connection with a request, and the head of its answer.
    fn ask(address: SocketAddr, request: &str) -> (WebSocket, String) {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut socket = WebSocket { stream };
        socket.stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(socket.bytes(1));
        }
        (socket, String::from_utf8(head).unwrap())
    }

    fn frame(&mut self, first: u8, payload: &[u8]) {
        self.stream.write_all(&frame(first, payload)).unwrap();
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// The next frame: first byte and payload.
    fn receive(&mut self) -> (u8, Vec<u8>) {
        let head = self.bytes(2);
        let length = match head[1] {
            126 => self.bytes(2).iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
            127 => self.bytes(8).iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
            short => short.into(),
        };
        (head[0], self.bytes(length))
    }

    /// The frames to the end of the connection.
    fn rest(&mut self) -> Vec<(u8, Vec<u8>)> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes).unwrap();
        let mut frames = Vec::new();
        while let [first, length, rest @ ..] = bytes.as_slice() {
            let (payload, after) = rest.split_at(usize::from(*length));
            frames.push((*first, payload.to_vec()));
            bytes = after.to_vec();
        }
        frames
    }
}

/// A client's frame, masked.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0xa5, 0x01, 0xff, 0x10];
    let mut bytes = vec![first];
    if payload.len() < 126 {
        bytes.push(0x80 | payload.len() as u8);
    } else {
        bytes.push(0x80 | 127);
        bytes.extend((payload.len() as u64).to_be_bytes());
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().enumerate().map(|(index, byte)| byte ^ mask[index % 4]));
    bytes
}

fn publish(topic: &str, payload: &[u8]) -> Vec<u8> {
    packet(0x30, &[text(topic), vec![0], payload.to_vec()].concat())
}

#[test]
fn frames_split_and_join_packets() {
    let broker = start_with(websocket(), Gateway::Prompt);
    let mut socket = WebSocket::open(broker.others[0]);
    let large = vec![7; 300_000];
    socket.frame(BINARY, &[publish("a", b"1"), publish("a", b"2"), publish("a", b"3")[..3].to_vec()].concat());
    socket.frame(0x02, &publish("a", b"3")[3..4]);
    socket.frame(PING, b"between");
    socket.frame(0x80, &publish("a", b"3")[4..]);
    // A frame in pieces, of one byte at first.
    let whole = frame(BINARY, &publish("large", &large));
    for piece in [&whole[..1], &whole[1..9], &whole[9..20], &whole[20..]] {
        socket.stream.write_all(piece).unwrap();
        socket.stream.flush().unwrap();
        std::thread::sleep(SILENCE / 10);
    }
    let messages = broker.gateway_messages(4);
    let payloads: Vec<&[u8]> = messages.iter().map(|(_, message)| &*message.payload).collect();
    assert_eq!(payloads, [&b"1"[..], b"2", b"3", &large]);
    assert_eq!(socket.receive(), (PONG, b"between".to_vec()));
}

#[test]
fn a_close_frame_is_answered_and_ends_the_connection_like_a_lost_one() {
    let broker = start_with(websocket(), Gateway::Prompt);
    let mut socket = WebSocket::open(broker.others[0]);
    let will = Some((0, "gone".to_owned(), b"x".to_vec(), Vec::new()));
    socket.frame(BINARY, &packet(0xe0, &[]));
    let (mut socket, _) = WebSocket::ask(broker.others[0], &format!("GET /mqtt HTTP/1.1\r\n{HEADERS}\r\n"));
    socket.frame(BINARY, &Connect { will, ..Connect::v4() }.bytes());
    assert_eq!(socket.receive(), (BINARY, vec![0x20, 2, 0, 0]));
    socket.frame(CLOSE, &[0x03, 0xe9]);
    assert_eq!(socket.rest(), [(CLOSE, vec![0x03, 0xe9])]);
    assert_eq!(&*broker.gateway_messages(1)[0].1.topic, "gone");
}

#[test]
fn a_text_frame_is_refused_by_code_before_and_after_connect() {
    let broker = start_with(websocket(), Gateway::Absent);
    let request = format!("GET /mqtt HTTP/1.1\r\n{HEADERS}\r\n");
    let (mut socket, _) = WebSocket::ask(broker.others[0], &request);
    socket.frame(TEXT, b"hello");
    assert_eq!(socket.rest(), [(CLOSE, vec![0x03, 0xeb])]);
    let mut socket = WebSocket::open(broker.others[0]);
    socket.frame(TEXT, b"hello");
    assert_eq!(socket.rest(), [(BINARY, vec![0xe0, 1, 0x82]), (CLOSE, vec![0x03, 0xeb])]);
    let mut socket = WebSocket::open(broker.others[0]);
    // Not masked.
    socket.stream.write_all(&[BINARY, 2, 0xc0, 0]).unwrap();
    assert_eq!(socket.rest().pop(), Some((CLOSE, vec![0x03, 0xea])));
}

#[test]
fn the_broker_says_goodbye_in_both_languages() {
    let broker = start_with(websocket(), Gateway::Absent);
    let mut socket = WebSocket::open(broker.others[0]);
    let _other = broker.v5("client");
    assert_eq!(socket.rest(), [(BINARY, vec![0xe0, 1, 0x8e]), (CLOSE, vec![0x03, 0xe8])]);
}

#[test]
fn the_handshake_is_bounded_in_bytes_and_time() {
    let mut options = websocket();
    options.limits.connect_timeout = SILENCE;
    let broker = start_with(options, Gateway::Absent);
    let line = format!("X: {}\r\n", "x".repeat(17_000));
    let (_, answer) = WebSocket::ask(broker.others[0], &format!("GET /mqtt HTTP/1.1\r\n{line}{line}\r\n"));
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    for begun in ["", "GET /mqtt HTTP/1.1\r\n"] {
        let mut stream = TcpStream::connect(broker.others[0]).unwrap();
        stream.write_all(begun.as_bytes()).unwrap();
        assert_eq!(stream.read(&mut [0; 9]).unwrap(), 0, "closed without an answer");
    }
    let (mut socket, _) = WebSocket::ask(broker.others[0], &format!("GET /mqtt HTTP/1.1\r\n{HEADERS}\r\n"));
    assert_eq!(socket.stream.read(&mut [0; 9]).unwrap(), 0, "closed without CONNECT");
}

#[test]
fn a_page_of_another_origin_is_refused_and_told_so() {
    let mut options = websocket();
    if let Some(websocket) = &mut options.websocket {
        websocket.origins = vec!["https://dashboard.lan".into()];
    }
    let broker = start_with(options, Gateway::Absent);
    let status = |lines: &str| {
        let (_, answer) = WebSocket::ask(broker.others[0], &format!("GET /mqtt HTTP/1.1\r\n{HEADERS}{lines}\r\n"));
        answer.split(' ').nth(1).map(str::to_owned)
    };
    assert_eq!(status("Origin: https://dashboard.lan\r\n").as_deref(), Some("101"));
    assert_eq!(status("Origin: https://evil.example\r\n").as_deref(), Some("403"));
    assert_eq!(status("").as_deref(), Some("101"), "no browser");
}

#[test]
fn limits_and_idle_rules_of_tcp_hold() {
    let mut options = websocket();
    options.limits.max_packet_size = 2048;
    let broker = start_with(options, Gateway::Absent);
    let mut socket = WebSocket::open(broker.others[0]);
    socket.frame(BINARY, &publish("t", &[0; 3000]));
    assert_eq!(socket.rest()[0], (BINARY, vec![0xe0, 1, 0x95]));
    // Pings of the WebSocket are none of MQTT.
    let (mut socket, _) = WebSocket::ask(broker.others[0], &format!("GET /mqtt HTTP/1.1\r\n{HEADERS}\r\n"));
    socket.frame(BINARY, &Connect { keep_alive: 1, ..Connect::v5() }.bytes());
    assert_eq!(socket.receive().1[0], 0x20);
    let mut pinging = socket.stream.try_clone().unwrap();
    std::thread::spawn(move || {
        while pinging.write_all(&frame(PING, b"")).is_ok() {
            std::thread::sleep(SILENCE);
        }
    });
    let last = std::iter::repeat_with(|| socket.receive()).find(|(kind, _)| *kind != PONG);
    assert_eq!(last, Some((BINARY, vec![0xe0, 1, 0x8d])));
}

#[test]
fn connections_of_all_listeners_are_bounded_together() {
    let mut options = websocket();
    options.limits.max_connections = 2;
    let broker = start_with(options, Gateway::Absent);
    let (_first, _second) = (broker.v4("a"), WebSocket::open(broker.others[0]));
    let mut third = TcpStream::connect(broker.others[0]).unwrap();
    assert_eq!(third.read(&mut [0; 9]).unwrap_or(0), 0);
}

#[test]
fn an_open_websocket_stays_on_this_machine() {
    let mut options = websocket();
    if let Some(websocket) = &mut options.websocket {
        websocket.listen = Some("0.0.0.0:0".into());
    }
    let error = EmbeddedBroker::bind(options.clone()).unwrap_err();
    assert!(matches!(error, BrokerError::OpenToAll { key: "websocket.listen", .. }), "{error}");
    if let Some(websocket) = &mut options.websocket {
        (websocket.listen, websocket.tls_listen) = (None, Some(LOCAL.into()));
    }
    let error = EmbeddedBroker::bind(options).unwrap_err();
    assert!(error.to_string().contains("broker.websocket.tls_listen needs a certificate"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateways_own_session_works_over_websocket_and_over_encrypted_websocket() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let file = |name: &str| folder.path().join(name);
    let mut options = websocket();
    options.tls = Some(BrokerTlsOptions {
        listen: None,
        certificate: file("server.pem"),
        key: file("server.key"),
        client_ca: None,
    });
    if let Some(websocket) = &mut options.websocket {
        websocket.tls_listen = Some(LOCAL.into());
    }
    let broker = tokio::task::spawn_blocking(|| start_with(options, Gateway::Prompt)).await.unwrap();
    let tls = TlsOptions { ca: Some(file("ca.pem")), ..TlsOptions::default() };
    for (address, tls) in broker.others.iter().zip([None, Some(tls)]) {
        for protocol in [ProtocolVersion::V3, ProtocolVersion::V5] {
            let (host, port) = ("127.0.0.1".to_owned(), address.port());
            let server = BrokerServer::WebSocket { host, port, path: "/mqtt".into(), tls: tls.clone() };
            let (handle, port, mut events) = link(16, 4);
            let options = SessionOptions { protocol, clean: true, ..SessionOptions::new(server, "session") };
            let mut task = JoinSet::new();
            task.spawn(session::run(options, port));
            handle.subscribe_exactly(vec![LinkSubscription { filter: "#".into(), qos: QoS::ExactlyOnce }]);
            let mut wanted = Vec::new();
            for size in [0, 1, 125, 126, 70_000, 300_000] {
                wanted.push(vec![b'x'; size]);
            }
            let (mut seen, mut is_published) = (Vec::new(), false);
            while seen.len() < wanted.len() {
                match tokio::time::timeout(PATIENCE, events.recv()).await.unwrap().unwrap() {
                    LinkEvent::Subscribed(held) if !held.is_empty() && !is_published => {
                        is_published = true;
                        let message = |payload: &Vec<u8>| OutboundMessage {
                            topic: "t".into(),
                            payload: payload.clone().into(),
                            qos: QoS::AtLeastOnce,
                            retain: false,
                        };
                        handle.publish(wanted.iter().map(message).collect()).unwrap();
                    }
                    LinkEvent::Messages(batch) => {
                        seen.extend(batch.messages.iter().map(|message| message.payload.to_vec()));
                        handle.acknowledge(batch.last());
                    }
                    _ => {}
                }
            }
            assert!(seen == wanted, "{protocol:?} {tls:?}");
            handle.close();
            drop(events);
            task.join_next().await.unwrap().unwrap();
        }
    }
    tokio::task::spawn_blocking(|| drop(broker)).await.unwrap();
}
