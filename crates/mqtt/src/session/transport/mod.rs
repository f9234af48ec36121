//! From a [`BrokerServer`] to a byte stream, and through CONNECT to a connection that stands.

pub(crate) mod buffers;
pub(crate) mod quick_ack;
pub(crate) mod read_coalescer;
pub(crate) mod tls;
pub(crate) mod websocket;
use super::backoff::{ConnectionLoss, LossKind};
use super::options::{BrokerServer, ProtocolVersion, SessionOptions};
use crate::codec::reason::ReasonCode;
use crate::session::inbound::packet::{BrokerPacket, ConnackLimits};
use crate::session::inbound::parser::PacketParser;
use crate::session::outbound::packets;
use crate::session::transport::buffers::{BufferedStream, TransportStream};
use crate::session::transport::quick_ack::QuickAckStream;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream, lookup_host};

/// A connection that the broker has accepted.
pub(super) struct Established {
    pub(super) wire: BufferedStream,
    pub(super) parser: PacketParser,
    pub(super) accepted: ConnackLimits,
}

/// Connects, all the way to CONNACK.
pub(super) async fn connect(options: &SessionOptions) -> Result<Established, ConnectionLoss> {
    let attempts = async {
        match attempt(options, true).await? {
            Some(standing) => Ok(standing),
            None => attempt(options, false).await?.ok_or_else(|| refused(options, RETAIN_NOT_SUPPORTED, "its will")),
        }
    };
    match tokio::time::timeout(options.connect_timeout, attempts).await {
        Ok(result) => result,
        Err(_) => Err(ConnectionLoss::new(
            LossKind::Unreachable,
            format!("no answer from {} within {:?}", options.server, options.connect_timeout),
        )),
    }
}

/// The broker keeps no retained messages, and refuses a will that is to be kept (MQTT 5.0, section 3.2.2.2).
const RETAIN_NOT_SUPPORTED: u8 = ReasonCode::RetainNotSupported as u8;

/// One attempt. `None`: the broker can't keep the will; it takes one that is not `keeps_will`.
async fn attempt(options: &SessionOptions, keeps_will: bool) -> Result<Option<Established>, ConnectionLoss> {
    let stream = open(&options.server).await.map_err(|error| {
        ConnectionLoss::new(LossKind::Unreachable, format!("cannot reach {}: {error}", options.server))
    })?;
    let mut wire = BufferedStream::new(stream);
    packets::connect(&mut wire.output, options, keeps_will)
        .map_err(|error| ConnectionLoss::new(LossKind::Refused, format!("cannot make a CONNECT packet: {error}")))?;
    let mut parser = PacketParser::new(options.protocol, options.max_incoming_packet);
    loop {
        wire.exchange(true).await.map_err(|error| unanswered(options, &error))?;
        let packet =
            parser.next(&mut wire.input).map_err(|error| ConnectionLoss::new(LossKind::Broken, error.to_string()))?;
        match packet {
            None => {}
            Some(BrokerPacket::ConnAck(accepted)) => return Ok(Some(Established { wire, parser, accepted })),
            Some(BrokerPacket::Refused { code: RETAIN_NOT_SUPPORTED, .. })
                if keeps_will && options.will.as_ref().is_some_and(|will| will.retain) =>
            {
                tracing::info!(server = %options.server, "the broker keeps no retained messages: the will is not retained");
                return Ok(None);
            }
            Some(BrokerPacket::Refused { code, reason: words }) => return Err(refused(options, code, &words)),
            Some(other) => {
                return Err(ConnectionLoss::new(
                    LossKind::Broken,
                    format!("the broker answered CONNECT with {other:?}"),
                ));
            }
        }
    }
}

fn unanswered(options: &SessionOptions, error: &io::Error) -> ConnectionLoss {
    let words = match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            format!("{} closed the connection instead of answering CONNECT", options.server)
        }
        _ => format!("cannot connect to {}: {error}", options.server),
    };
    ConnectionLoss::new(LossKind::Unreachable, words)
}

fn refused(options: &SessionOptions, code: u8, words: &str) -> ConnectionLoss {
    let kind = if is_lasting(options.protocol, code) { LossKind::Refused } else { LossKind::Unreachable };
    ConnectionLoss::new(kind, format!("{} refused the connection: {words}", options.server))
}

/// Whether trying again soon is pointless: someone has to change a setting first.
fn is_lasting(protocol: ProtocolVersion, code: u8) -> bool {
    use ReasonCode as Code;
    match protocol {
        ProtocolVersion::V3 => matches!(code, 1 | 2 | 4 | 5),
        ProtocolVersion::V5 => matches!(
            Code::from_byte(code),
            Some(
                Code::UnsupportedProtocolVersion
                    | Code::ClientIdentifierNotValid
                    | Code::BadUserNameOrPassword
                    | Code::NotAuthorized
                    | Code::Banned
                    | Code::BadAuthenticationMethod
            )
        ),
    }
}

async fn open(server: &BrokerServer) -> io::Result<Box<dyn TransportStream>> {
    match server {
        BrokerServer::Tcp { host, port } => Ok(Box::new(tcp(host, *port).await?)),
        BrokerServer::Tls { host, port, tls } => Ok(Box::new(tls.connect(host, tcp(host, *port).await?).await?)),
        BrokerServer::WebSocket { host, port, path, tls } => {
            let stream = tcp(host, *port).await?;
            Ok(match tls {
                None => Box::new(websocket::connect(stream, host, *port, path).await?),
                Some(tls) => {
                    let encrypted = tls.connect(host, stream).await?;
                    Box::new(websocket::connect(encrypted, host, *port, path).await?)
                }
            })
        }
        BrokerServer::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
    }
}

/// Before the next address of a name is tried beside those that have not answered yet (RFC 8305, section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Connects to whichever address of the name answers first: each next one is tried when the one before fails or has not
/// answered for a moment.
async fn tcp(host: &str, port: u16) -> io::Result<QuickAckStream> {
    let mut waiting = alternate(lookup_host((host, port)).await?.collect());
    let mut attempts = FuturesUnordered::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        if let Some(address) = waiting.pop_front() {
            attempts.push(TcpStream::connect(address));
        }
        let delay = tokio::time::sleep(ATTEMPT_DELAY);
        tokio::pin!(delay);
        tokio::select! {
            end = attempts.next() => match end {
                Some(Ok(stream)) => return QuickAckStream::new(stream),
                Some(Err(error)) => failure = error,
                None => return Err(failure),
            },
            () = &mut delay, if !waiting.is_empty() => {}
        }
    }
}

/// The addresses in their order, but by turns of the two families: one that is not routed fails as a whole (RFC 8305,
/// section 4).
fn alternate(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv6) else { return VecDeque::new() };
    let (same, other): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.is_ipv6() == first);
    let (mut same, mut other) = (same.into_iter(), other.into_iter());
    let mut mixed = VecDeque::new();
    loop {
        let pair = (same.next(), other.next());
        mixed.extend(pair.0);
        mixed.extend(pair.1);
        if pair == (None, None) {
            return mixed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_two_families_take_turns() {
        let addresses: Vec<SocketAddr> =
            ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"].iter().map(|it| it.parse().unwrap()).collect();
        let mixed: Vec<String> = alternate(addresses).iter().map(ToString::to_string).collect();
        assert_eq!(mixed, ["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"]);
        assert!(alternate(Vec::new()).is_empty());
    }
}
