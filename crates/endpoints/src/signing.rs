//! Signatures as the Standard Webhooks specification describes them (standardwebhooks.com, version 1.0.0).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;

/// Shortest key, in bytes.
const SHORTEST: usize = 24;
/// Longest key, in bytes.
const LONGEST: usize = 64;

/// A symmetric signing key, written `whsec_` and the base64 of 24 to 64 bytes.
#[derive(Clone, Debug)]
pub struct SigningSecret(SecretSlice<u8>);

/// Why a text is no signing secret. The text itself is not repeated.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SecretError {
    /// It has no prefix.
    #[error("a signing secret begins with whsec_")]
    Prefix,
    /// The rest is not base64.
    #[error("a signing secret is base64 after whsec_")]
    Base64,
    /// It is too short to be safe, or longer than endpoints accept.
    #[error("a signing secret has {SHORTEST} to {LONGEST} bytes, this one has {0}")]
    Length(usize),
}

impl SigningSecret {
    /// Reads `whsec_…`.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let encoded = text.trim().strip_prefix("whsec_").ok_or(SecretError::Prefix)?;
        let key = STANDARD.decode(encoded).map_err(|_| SecretError::Base64)?;
        if !(SHORTEST..=LONGEST).contains(&key.len()) {
            return Err(SecretError::Length(key.len()));
        }
        Ok(SigningSecret(key.into()))
    }

    /// The value of `webhook-signature`: `v1,` and the base64 of the HMAC-SHA256 over `id.timestamp.body`, the timestamp
    /// in seconds since 1970.
    #[must_use]
    pub fn sign(&self, message_id: &str, timestamp: u64, body: &[u8]) -> String {
        // HMAC takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.0.expose_secret()) else { return String::new() };
        mac.update(format!("{message_id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn the_published_example_is_signed_as_published() {
        let secret = SigningSecret::parse(SECRET).unwrap();
        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn what_is_no_secret_is_refused_without_repeating_it() {
        assert_eq!(SigningSecret::parse("MfKQ9r8G").unwrap_err(), SecretError::Prefix);
        assert_eq!(SigningSecret::parse("whsec_***").unwrap_err(), SecretError::Base64);
        assert_eq!(SigningSecret::parse("whsec_MfKQ9r8G").unwrap_err(), SecretError::Length(6));
        let shown = format!("{:?}", SigningSecret::parse(SECRET).unwrap());
        assert!(!shown.contains("MfKQ") && !shown.contains("49"), "{shown}");
    }
}
