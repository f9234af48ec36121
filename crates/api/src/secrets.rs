//! Random secrets, and their hashes: whatever is kept of a secret is its hash.

use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};

/// Bytes of a secret before they become text; so many cannot be guessed, and need no slow hash.
const SECRET_BYTES: usize = 32;

/// A new secret, 64 hexadecimal digits.
///
/// # Errors
/// The system has no randomness.
pub(crate) fn new_secret() -> io::Result<String> {
    let mut bytes = [0; SECRET_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(hex(&bytes))
}

/// SHA-256 in hexadecimal digits.
pub(crate) fn hash(secret: &[u8]) -> String {
    hex(&Sha256::digest(secret))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
