//! The gateway's HTTP API, asked as a script would.

use std::io::{Read, Write};
use std::net::TcpStream;

/// One request to the gateway's HTTP API; the status and the body.
///
/// # Panics
/// When there is no answer.
#[must_use]
pub fn request(port: u16, method: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the HTTP API");
    let path = path.replace(' ', "%20");
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    .expect("asking");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    let body = answer.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned());
    (status, body)
}
