//! From a [`Server`] to a byte stream, and through CONNECT to a connection that stands.

use super::backoff::{Loss, LossKind};
use super::incoming::{Accepted, Incoming, Parser};
use super::options::{Protocol, Server, SessionOptions};
use super::outgoing;
use super::prompt::Prompt;
use super::reason;
use super::websocket;
use super::wire::{Stream, Wire};
use std::io;
use tokio::net::{TcpStream, UnixStream, lookup_host};

/// A connection that the broker has accepted.
pub(super) struct Standing {
    pub(super) wire: Wire,
    pub(super) parser: Parser,
    pub(super) accepted: Accepted,
}

/// Connects, all the way to CONNACK.
pub(super) async fn connect(options: &SessionOptions) -> Result<Standing, Loss> {
    match tokio::time::timeout(options.connect_timeout, attempt(options)).await {
        Ok(result) => result,
        Err(_) => Err(Loss::new(
            LossKind::Unreachable,
            format!("no answer from {} within {:?}", options.server, options.connect_timeout),
        )),
    }
}

async fn attempt(options: &SessionOptions) -> Result<Standing, Loss> {
    let stream = open(&options.server)
        .await
        .map_err(|error| Loss::new(LossKind::Unreachable, format!("cannot reach {}: {error}", options.server)))?;
    let mut wire = Wire::new(stream);
    outgoing::connect(&mut wire.output, options)
        .map_err(|error| Loss::new(LossKind::Refused, format!("cannot make a CONNECT packet: {error}")))?;
    let mut parser = Parser::new(options.protocol, options.max_incoming_packet);
    loop {
        wire.exchange(true).await.map_err(|error| unanswered(options, &error))?;
        let packet = parser.next(&mut wire.input).map_err(|error| Loss::new(LossKind::Broken, error.to_string()))?;
        match packet {
            None => {}
            Some(Incoming::ConnAck(accepted)) => return Ok(Standing { wire, parser, accepted }),
            Some(Incoming::Refused { code, reason: words }) => return Err(refused(options, code, &words)),
            Some(other) => {
                return Err(Loss::new(LossKind::Broken, format!("the broker answered CONNECT with {other:?}")));
            }
        }
    }
}

fn unanswered(options: &SessionOptions, error: &io::Error) -> Loss {
    let words = match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            format!("{} closed the connection instead of answering CONNECT", options.server)
        }
        _ => format!("cannot connect to {}: {error}", options.server),
    };
    Loss::new(LossKind::Unreachable, words)
}

fn refused(options: &SessionOptions, code: u8, words: &str) -> Loss {
    let v5 = options.protocol == Protocol::V5;
    let kind = if reason::is_refusal(v5, code) { LossKind::Refused } else { LossKind::Unreachable };
    Loss::new(kind, format!("{} refused the connection: {words}", options.server))
}

async fn open(server: &Server) -> io::Result<Box<dyn Stream>> {
    match server {
        Server::Tcp { host, port } => Ok(Box::new(tcp(host, *port).await?)),
        Server::Tls { host, port, tls } => Ok(Box::new(tls.connect(host, tcp(host, *port).await?).await?)),
        Server::WebSocket { host, port, path, tls } => {
            let stream = tcp(host, *port).await?;
            Ok(match tls {
                None => Box::new(websocket::connect(stream, host, *port, path).await?),
                Some(tls) => {
                    let encrypted = tls.connect(host, stream).await?;
                    Box::new(websocket::connect(encrypted, host, *port, path).await?)
                }
            })
        }
        Server::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
    }
}

/// Tries every address of the name in turn.
async fn tcp(host: &str, port: u16) -> io::Result<Prompt> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in lookup_host((host, port)).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => return Prompt::new(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}
