//! The HTTP request that makes a connection a WebSocket (RFC 6455, section 4.2), judged and answered.

use super::framed::FramedStream;
use crate::broker::options::WebSocketOptions;
use crate::broker::server::connection::{FAREWELL_TIMEOUT, SMALL_READ};
use crate::broker::server::log_head;
use crate::broker::server::socket::SocketStream;
use async_tungstenite::tungstenite::handshake::machine::TryParse;
use async_tungstenite::tungstenite::handshake::server::{Request, Response, create_response, write_response};
use async_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use bytes::BytesMut;
use std::io;
use std::net::IpAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Bytes of a request at most: a browser sends the cookies of its host along.
const MAX_REQUEST: usize = 16 * 1024;
/// What MQTT is called here (MQTT 5.0, section 6).
const SUBPROTOCOL: &str = "mqtt";

/// Why a request gets no WebSocket.
#[derive(Debug, thiserror::Error)]
enum HandshakeRefusal {
    #[error("the request is over {MAX_REQUEST} bytes")]
    TooLong,
    #[error("the request cannot be read: {0}")]
    Unreadable(String),
    #[error("only MQTT over WebSocket is served here: {0}")]
    NoUpgrade(String),
    #[error("there is nothing at this path")]
    UnknownPath,
    #[error("pages of this origin may not connect")]
    ForeignOrigin(String),
    #[error("the subprotocol is not {SUBPROTOCOL}")]
    NoSubprotocol,
}

impl HandshakeRefusal {
    fn status(&self) -> StatusCode {
        match self {
            HandshakeRefusal::TooLong => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            HandshakeRefusal::Unreadable(_) | HandshakeRefusal::NoSubprotocol => StatusCode::BAD_REQUEST,
            HandshakeRefusal::NoUpgrade(_) => StatusCode::UPGRADE_REQUIRED,
            HandshakeRefusal::UnknownPath => StatusCode::NOT_FOUND,
            HandshakeRefusal::ForeignOrigin(_) => StatusCode::FORBIDDEN,
        }
    }
}

/// Makes the handshake; `None` when there is no WebSocket, which the client was told.
///
/// # Errors
/// What the socket says.
pub(crate) async fn accept(
    mut socket: SocketStream,
    options: &WebSocketOptions,
    address: IpAddr,
) -> io::Result<Option<FramedStream>> {
    match read_request(&mut socket).await?.and_then(|request| judge(&request, options)) {
        Ok(response) => {
            socket.write_all(&head(&response)?).await?;
            socket.flush().await?;
            Ok(Some(FramedStream::new(socket)))
        }
        Err(refusal) => {
            let origin = match &refusal {
                HandshakeRefusal::ForeignOrigin(origin) => Some(log_head(origin)),
                _ => None,
            };
            tracing::warn!(%address, origin, reason = %refusal, "refused a WebSocket");
            refuse(socket, &refusal).await?;
            Ok(None)
        }
    }
}

async fn read_request(socket: &mut SocketStream) -> io::Result<Result<Request, HandshakeRefusal>> {
    const END: &[u8] = b"\r\n\r\n";
    let mut bytes = BytesMut::with_capacity(SMALL_READ);
    // A client sends nothing more before it is answered.
    while !bytes.ends_with(END) {
        if bytes.len() >= MAX_REQUEST {
            return Ok(Err(HandshakeRefusal::TooLong));
        }
        bytes.reserve(SMALL_READ);
        if socket.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(match Request::try_parse(&bytes) {
        Ok(Some((end, request))) if end == bytes.len() => Ok(request),
        Ok(_) => Err(HandshakeRefusal::Unreadable("something comes behind it".to_owned())),
        Err(error) => Err(HandshakeRefusal::Unreadable(error.to_string())),
    })
}

/// The answer to a request that may have its WebSocket.
fn judge(request: &Request, options: &WebSocketOptions) -> Result<Response, HandshakeRefusal> {
    let mut response = create_response(request).map_err(|error| HandshakeRefusal::NoUpgrade(error.to_string()))?;
    if request.uri().path() != options.path {
        return Err(HandshakeRefusal::UnknownPath);
    }
    // Only browsers state one, and they let any page connect anywhere.
    if let Some(origin) = request.headers().get("Origin") {
        let origin = String::from_utf8_lossy(origin.as_bytes());
        let is_listed = |listed: &String| listed == "*" || listed.eq_ignore_ascii_case(&origin);
        if !options.origins.iter().any(is_listed) {
            return Err(HandshakeRefusal::ForeignOrigin(origin.into_owned()));
        }
    }
    let offered = request.headers().get_all("Sec-WebSocket-Protocol").into_iter();
    let mut offered = offered.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(',')).map(str::trim);
    if !offered.any(|name| name == SUBPROTOCOL) {
        return Err(HandshakeRefusal::NoSubprotocol);
    }
    response.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(SUBPROTOCOL));
    Ok(response)
}

fn head(response: &Response) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    write_response(&mut bytes, response).map_err(io::Error::other)?;
    Ok(bytes)
}

async fn refuse(mut socket: SocketStream, refusal: &HandshakeRefusal) -> io::Result<()> {
    let words = format!("{refusal}\n");
    let mut response = Response::new(());
    *response.status_mut() = refusal.status();
    let headers = response.headers_mut();
    headers.insert("Connection", HeaderValue::from_static("close"));
    headers.insert("Content-Type", HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert("Content-Length", HeaderValue::from(words.len()));
    if refusal.status() == StatusCode::UPGRADE_REQUIRED {
        headers.insert("Upgrade", HeaderValue::from_static("websocket"));
    }
    let answer = [head(&response)?, words.into_bytes()].concat();
    let goodbye = async {
        socket.write_all(&answer).await?;
        socket.shutdown().await
    };
    tokio::time::timeout(FAREWELL_TIMEOUT, goodbye).await.unwrap_or(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(changes: &[(&str, &str)], path: &str, origins: &[&str]) -> u16 {
        let mut lines: Vec<(&str, &str)> = vec![
            ("Host", "h"),
            ("Connection", "keep-alive, Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("Sec-WebSocket-Protocol", "chat, mqtt"),
        ];
        lines.retain(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
        lines.extend(changes);
        let lines: String = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!("GET {path} HTTP/1.1\r\n{lines}\r\n");
        let (_, request) = Request::try_parse(request.as_bytes()).unwrap().unwrap();
        let options = WebSocketOptions {
            origins: origins.iter().map(|&origin| origin.to_owned()).collect(),
            ..WebSocketOptions::default()
        };
        match judge(&request, &options) {
            Ok(response) => {
                assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "mqtt");
                assert_eq!(response.headers()["Sec-WebSocket-Accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
                response.status().as_u16()
            }
            Err(refusal) => refusal.status().as_u16(),
        }
    }

    #[test]
    fn a_request_is_refused_for_its_path_its_subprotocol_or_what_is_no_websocket() {
        assert_eq!(status(&[], "/mqtt", &[]), 101);
        assert_eq!(status(&[], "/mqtt?token=x", &[]), 101);
        for path in ["/", "/mqtt/", "/MQTT"] {
            assert_eq!(status(&[], path, &[]), 404, "{path}");
        }
        for protocol in ["", "chat", "mqttv3.1"] {
            assert_eq!(status(&[("Sec-WebSocket-Protocol", protocol)], "/mqtt", &[]), 400, "{protocol}");
        }
        for change in [("Upgrade", "h2c"), ("Connection", "close"), ("Sec-WebSocket-Version", "8")] {
            assert_eq!(status(&[change], "/mqtt", &[]), 426, "{change:?}");
        }
    }

    #[test]
    fn a_page_connects_only_from_an_origin_that_is_listed() {
        let from = |origin: &str, origins: &[&str]| status(&[("Origin", origin)], "/mqtt", origins);
        let listed = ["https://home.example", "http://dash.lan:8080"];
        for origin in ["https://home.example", "HTTPS://home.example", "http://dash.lan:8080"] {
            assert_eq!(from(origin, &listed), 101, "{origin}");
        }
        for origin in ["http://home.example", "https://home.example.evil", "http://dash.lan", "null", ""] {
            assert_eq!(from(origin, &listed), 403, "{origin}");
        }
        assert_eq!((from("http://h", &[]), from("null", &["null"]), from("http://any", &["*"])), (403, 101, 101));
    }
}
