//! When a certificate ends: the second date in the `validity` of RFC 5280, section 4.1.

use chrono::{DateTime, NaiveDateTime, Utc};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::path::Path;

const SEQUENCE: u8 = 0x30;
const EXPLICIT_VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The earliest end of all certificates of a PEM file; `None` where it holds none that can be read, which others tell.
pub(super) fn end_of_file(file: &Path) -> Option<DateTime<Utc>> {
    let certificates = CertificateDer::pem_file_iter(file).ok()?;
    certificates.filter_map(|certificate| end(&certificate.ok()?)).min()
}

fn end(certificate: &[u8]) -> Option<DateTime<Utc>> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut rest, _) = element(certificate, SEQUENCE)?;
    if rest.first() == Some(&EXPLICIT_VERSION) {
        rest = skip(rest)?;
    }
    // Serial number, signature algorithm, issuer.
    for _ in 0..3 {
        rest = skip(rest)?;
    }
    let (validity, _) = element(rest, SEQUENCE)?;
    time(skip(validity)?)
}

fn time(bytes: &[u8]) -> Option<DateTime<Utc>> {
    let (tag, content, _) = split(bytes)?;
    let text = std::str::from_utf8(content).ok()?;
    let text = match tag {
        // Two digits of the year, of 1950 to 2049.
        UTC_TIME => format!("{}{text}", if text.get(..2)? < "50" { "20" } else { "19" }),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    NaiveDateTime::parse_from_str(&text, "%Y%m%d%H%M%SZ").ok().map(|time| time.and_utc())
}

/// The content of the first element, which has this tag, and what follows it.
fn element(bytes: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    let (tag, content, rest) = split(bytes)?;
    (tag == wanted).then_some((content, rest))
}

fn skip(bytes: &[u8]) -> Option<&[u8]> {
    split(bytes).map(|(_, _, rest)| rest)
}

/// Tag and content of the first element, and what follows it.
fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, bytes) = bytes.split_first()?;
    let (&first, bytes) = bytes.split_first()?;
    let (length, bytes) = if first < 0x80 {
        (usize::from(first), bytes)
    } else {
        let (digits, bytes) = bytes.split_at_checked(usize::from(first & 0x7f).min(5))?;
        if digits.len() > 4 {
            return None;
        }
        (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), bytes)
    };
    let (content, rest) = bytes.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate without anything but what comes before and in its validity.
    fn certificate(end: &[u8]) -> Vec<u8> {
        let wrap = |tag: u8, content: &[u8]| [&[tag, u8::try_from(content.len()).unwrap()], content].concat();
        let begin = wrap(UTC_TIME, b"250101000000Z");
        let validity = wrap(SEQUENCE, &[&begin, end].concat());
        let head = [0xa0, 3, 2, 1, 2, 2, 1, 7, 0x30, 0, 0x30, 0];
        wrap(SEQUENCE, &wrap(SEQUENCE, &[&head[..], &validity].concat()))
    }

    #[test]
    fn the_end_is_read_in_both_forms_of_a_date() {
        let shown = |end: Option<DateTime<Utc>>| end.map(|end| end.to_rfc3339()).unwrap_or_default();
        assert_eq!(shown(end(&certificate(b"\x17\x0d491231235959Z"))), "2049-12-31T23:59:59+00:00");
        assert_eq!(shown(end(&certificate(b"\x18\x0f20501231235959Z"))), "2050-12-31T23:59:59+00:00");
    }

    #[test]
    fn what_is_cut_off_has_no_end_and_does_no_harm() {
        let whole = certificate(b"\x17\x0d491231235959Z");
        for length in 0..whole.len() {
            assert_eq!(end(&whole[..length]), None, "{length}");
        }
        assert_eq!(end(&[SEQUENCE, 0xff, 0xff]), None);
    }
}
