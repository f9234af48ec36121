//! Asking the gateway's HTTP API.

use std::io::{Error, Read, Result, Write};
use std::net::TcpStream;
use std::time::Duration;

/// One request to `port` on 127.0.0.1; the status and the body.
///
/// # Errors
/// Nobody answers.
pub fn request(port: u16, method: &str, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let path = path.replace(' ', "%20");
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| Error::other("the answer has no status"))?;
    let body = answer.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned());
    Ok((status, body))
}

/// Whether messages can go end to end.
#[must_use]
pub fn is_ready(port: u16) -> bool {
    request(port, "GET", "/readyz").is_ok_and(|(status, _)| status == 200)
}
