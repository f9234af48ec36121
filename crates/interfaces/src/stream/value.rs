//! The kinds of values in patterns and templates: how far they reach, and their forms as text and as bytes.

use super::error::{PatternError, ValueError};
use crate::config::{FrameEncoding, parse_hex};

/// What a value may be made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ValueKind {
    Any,
    Exactly(usize),
    Digits,
    Number,
    Word,
    Integer { bytes: usize, signed: bool, little_endian: bool },
}

impl ValueKind {
    pub(super) fn parse(word: &str, encoding: FrameEncoding) -> Result<ValueKind, PatternError> {
        let unknown = || {
            let kinds = match encoding {
                FrameEncoding::Text => "a number of characters, digits, number or word",
                FrameEncoding::Hex => {
                    "a number of bytes, u8, i8, u16be, u16le, i16be, i16le, u32be, u32le, i32be or i32le"
                }
            };
            PatternError::Kind { word: word.to_owned(), kinds }
        };
        if let Ok(count) = word.parse::<usize>() {
            return if (1..=4_096).contains(&count) { Ok(ValueKind::Exactly(count)) } else { Err(unknown()) };
        }
        let integer = |bytes, signed, little_endian| ValueKind::Integer { bytes, signed, little_endian };
        match (encoding, word) {
            (FrameEncoding::Text, "digits") => Ok(ValueKind::Digits),
            (FrameEncoding::Text, "number") => Ok(ValueKind::Number),
            (FrameEncoding::Text, "word") => Ok(ValueKind::Word),
            (FrameEncoding::Hex, "u8") => Ok(integer(1, false, false)),
            (FrameEncoding::Hex, "i8") => Ok(integer(1, true, false)),
            (FrameEncoding::Hex, "u16be") => Ok(integer(2, false, false)),
            (FrameEncoding::Hex, "u16le") => Ok(integer(2, false, true)),
            (FrameEncoding::Hex, "i16be") => Ok(integer(2, true, false)),
            (FrameEncoding::Hex, "i16le") => Ok(integer(2, true, true)),
            (FrameEncoding::Hex, "u32be") => Ok(integer(4, false, false)),
            (FrameEncoding::Hex, "u32le") => Ok(integer(4, false, true)),
            (FrameEncoding::Hex, "i32be") => Ok(integer(4, true, false)),
            (FrameEncoding::Hex, "i32le") => Ok(integer(4, true, true)),
            (FrameEncoding::Text | FrameEncoding::Hex, _) => Err(unknown()),
        }
    }

    /// How many bytes at the start of `rest` the value takes.
    pub(super) fn extent(self, rest: &[u8], next: Option<&[u8]>, encoding: FrameEncoding) -> Option<usize> {
        let run = |fits: fn(u8) -> bool| {
            Some(rest.iter().take_while(|byte| fits(**byte)).count()).filter(|length| *length > 0)
        };
        match self {
            ValueKind::Any => match next {
                None => Some(rest.len()).filter(|length| *length > 0),
                Some(literal) => (1..=rest.len()).find(|start| rest[*start..].starts_with(literal)),
            },
            ValueKind::Exactly(count) => match encoding {
                FrameEncoding::Hex => (rest.len() >= count).then_some(count),
                FrameEncoding::Text => {
                    let text = std::str::from_utf8(rest).ok()?;
                    let mut characters = text.char_indices().skip(count - 1);
                    characters.next().map(|(start, last)| start + last.len_utf8())
                }
            },
            ValueKind::Digits => run(|byte| byte.is_ascii_digit()),
            ValueKind::Number => number_extent(rest),
            ValueKind::Word => run(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'),
            ValueKind::Integer { bytes, .. } => (rest.len() >= bytes).then_some(bytes),
        }
    }

    /// The captured bytes as the text of an argument.
    pub(super) fn show(self, taken: &[u8], encoding: FrameEncoding) -> String {
        match (self, encoding) {
            (ValueKind::Integer { bytes, signed, little_endian }, _) => {
                integer(taken, bytes, signed, little_endian).to_string()
            }
            (_, FrameEncoding::Text) => String::from_utf8_lossy(taken).into_owned(),
            (_, FrameEncoding::Hex) => show_hex(taken),
        }
    }

    /// The text of an argument as bytes to write.
    pub(super) fn write(self, text: &str, encoding: FrameEncoding) -> Result<Vec<u8>, ValueError> {
        let bytes = match encoding {
            FrameEncoding::Text if text.chars().any(char::is_control) => return Err(ValueError::ControlCharacter),
            FrameEncoding::Text => text.as_bytes().to_vec(),
            FrameEncoding::Hex => match self {
                ValueKind::Integer { bytes, signed, little_endian } => {
                    return integer_bytes(text, bytes, signed, little_endian);
                }
                ValueKind::Any | ValueKind::Exactly(_) | ValueKind::Digits | ValueKind::Number | ValueKind::Word => {
                    parse_hex(text)?
                }
            },
        };
        if self.extent(&bytes, None, encoding) == Some(bytes.len()) {
            return Ok(bytes);
        }
        let text = text.to_owned();
        Err(match self {
            ValueKind::Any => ValueError::Empty,
            ValueKind::Exactly(length) => ValueError::Length { length, text },
            ValueKind::Digits => ValueError::Form { expected: "digits", text },
            ValueKind::Number => ValueError::Form { expected: "a number", text },
            ValueKind::Word => ValueError::Form { expected: "letters, digits, _ and -", text },
            ValueKind::Integer { .. } => ValueError::Form { expected: "an integer", text },
        })
    }
}

/// An optional sign, digits, and decimals if any.
fn number_extent(rest: &[u8]) -> Option<usize> {
    let digits = |from: usize| rest[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let sign = usize::from(matches!(rest.first(), Some(b'+' | b'-')));
    let whole = digits(sign);
    if whole == 0 {
        return None;
    }
    let end = sign + whole;
    let decimals = if rest.get(end) == Some(&b'.') { digits(end + 1) } else { 0 };
    Some(if decimals > 0 { end + 1 + decimals } else { end })
}

fn integer(taken: &[u8], bytes: usize, signed: bool, little_endian: bool) -> i64 {
    let fold = |value: i64, byte: &u8| value << 8 | i64::from(*byte);
    let value = if little_endian { taken.iter().rev().fold(0, fold) } else { taken.iter().fold(0, fold) };
    let bits = 8 * bytes;
    if signed && value >> (bits - 1) == 1 { value - (1 << bits) } else { value }
}

fn integer_bytes(text: &str, bytes: usize, signed: bool, little_endian: bool) -> Result<Vec<u8>, ValueError> {
    let bits = 8 * bytes;
    let (least, most) =
        if signed { (-(1i64 << (bits - 1)), (1i64 << (bits - 1)) - 1) } else { (0, (1i64 << bits) - 1) };
    let value = text.trim().parse::<i64>().ok().filter(|value| (least..=most).contains(value));
    let value = value.ok_or_else(|| ValueError::Range { least, most, text: text.to_owned() })?;
    let mut written = value.to_le_bytes()[..bytes].to_vec();
    if !little_endian {
        written.reverse();
    }
    Ok(written)
}

/// Lower-case hex digits.
pub(crate) fn show_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
