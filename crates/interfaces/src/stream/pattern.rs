//! Patterns for frames and templates for writes: literal text with `{name}` or `{name:kind}` in it.
//!
//! Matching is one pass without backtracking, so a hostile frame costs no more than a friendly one: a capture with a
//! kind takes the longest run that fits it, one without a kind takes everything up to the next literal, or the rest.
//!
//! | kind | in text frames | in hex frames |
//! | --- | --- | --- |
//! | none | one or more characters | one or more bytes, as hex |
//! | a number N | exactly N characters | exactly N bytes, as hex |
//! | `digits` `number` `word` | `0`–`9`; with sign and decimals; letters, digits, `_` and `-` | – |
//! | `u8 i8 u16be u16le i16be i16le u32be u32le i32be i32le` | – | an integer, as decimal |
//!
//! `{_}` takes and forgets. `{{` and `}}` are braces.

use super::error::{CommandRefusal, PatternError};
use super::value::ValueKind;
use crate::config::{FrameEncoding, parse_hex};

/// What was captured, in order.
pub(crate) type CapturedFields = Vec<(String, String)>;

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Literal(Vec<u8>),
    Value { name: String, kind: ValueKind },
}

/// A pattern of a whole frame or field.
#[derive(Clone, Debug)]
pub(crate) struct FramePattern {
    parts: Vec<Part>,
    encoding: FrameEncoding,
}

/// Bytes or text to be filled in.
#[derive(Clone, Debug)]
pub(crate) struct FrameTemplate {
    parts: Vec<Part>,
    encoding: FrameEncoding,
}

impl FramePattern {
    pub(crate) fn parse(text: &str, encoding: FrameEncoding) -> Result<Self, PatternError> {
        let parts = parse_parts(text, encoding)?;
        for pair in parts.windows(2) {
            if let [Part::Value { name, kind: ValueKind::Any }, Part::Value { name: next, .. }] = pair {
                return Err(PatternError::Unseparated { name: name.clone(), next: next.clone() });
            }
        }
        let names: Vec<_> = parts.iter().filter_map(Part::name).collect();
        if let Some((_, twice)) = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name)) {
            return Err(PatternError::Twice { name: (*twice).to_owned() });
        }
        Ok(FramePattern { parts, encoding })
    }

    /// The names that a match captures.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(Part::name)
    }

    /// Matches the whole frame, adding what it captures.
    pub(crate) fn capture(&self, frame: &[u8], captures: &mut CapturedFields) -> bool {
        let mut rest = frame;
        for (index, part) in self.parts.iter().enumerate() {
            match part {
                Part::Literal(literal) => match rest.strip_prefix(literal.as_slice()) {
                    Some(after) => rest = after,
                    None => return false,
                },
                Part::Value { name, kind } => {
                    let next = match self.parts.get(index + 1) {
                        Some(Part::Literal(literal)) => Some(literal.as_slice()),
                        Some(Part::Value { .. }) | None => None,
                    };
                    let Some(length) = kind.extent(rest, next, self.encoding) else { return false };
                    let (taken, after) = rest.split_at(length);
                    if name != "_" {
                        captures.push((name.clone(), kind.show(taken, self.encoding)));
                    }
                    rest = after;
                }
            }
        }
        rest.is_empty()
    }
}

impl FrameTemplate {
    pub(crate) fn parse(text: &str, encoding: FrameEncoding) -> Result<Self, PatternError> {
        let parts = parse_parts(text, encoding)?;
        if parts.iter().any(|part| matches!(part, Part::Value { name, .. } if name == "_")) {
            return Err(PatternError::Forgotten);
        }
        Ok(FrameTemplate { parts, encoding })
    }

    /// The names that it needs.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(Part::name)
    }

    /// Fills in a text whose values are taken as they are, whatever they hold.
    pub(crate) fn fill_text(&self, value: impl Fn(&str) -> String) -> String {
        self.parts.iter().fold(String::new(), |mut text, part| {
            match part {
                Part::Literal(literal) => text.push_str(&String::from_utf8_lossy(literal)),
                Part::Value { name, .. } => text.push_str(&value(name)),
            }
            text
        })
    }

    /// Fills it in; the error says which value is missing or does not fit.
    pub(crate) fn fill(&self, value: impl Fn(&str) -> Option<String>) -> Result<Vec<u8>, CommandRefusal> {
        let mut bytes = Vec::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => bytes.extend_from_slice(literal),
                Part::Value { name, kind } => {
                    let text = value(name).ok_or_else(|| CommandRefusal::Missing { name: name.clone() })?;
                    let written = kind
                        .write(&text, self.encoding)
                        .map_err(|problem| CommandRefusal::Unfit { name: name.clone(), problem })?;
                    bytes.extend_from_slice(&written);
                }
            }
        }
        Ok(bytes)
    }
}

impl Part {
    fn name(&self) -> Option<&str> {
        match self {
            Part::Literal(_) => None,
            Part::Value { name, .. } => (name != "_").then_some(name),
        }
    }
}

fn parse_parts(text: &str, encoding: FrameEncoding) -> Result<Vec<Part>, PatternError> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("{{").or_else(|| rest.strip_prefix("}}")) {
            literal.push(character);
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let end = after.find('}').ok_or_else(|| PatternError::Unclosed { text: text.to_owned() })?;
            push_literal(&mut parts, &mut literal, encoding)?;
            parts.push(parse_value(&after[..end], encoding)?);
            rest = &after[end + 1..];
        } else if character == '}' {
            return Err(PatternError::Unopened { text: text.to_owned() });
        } else {
            literal.push(character);
            rest = &rest[character.len_utf8()..];
        }
    }
    push_literal(&mut parts, &mut literal, encoding)?;
    Ok(parts)
}

fn push_literal(parts: &mut Vec<Part>, literal: &mut String, encoding: FrameEncoding) -> Result<(), PatternError> {
    let text = std::mem::take(literal);
    let bytes = match encoding {
        FrameEncoding::Text => text.into_bytes(),
        FrameEncoding::Hex => parse_hex(&text)?,
    };
    if !bytes.is_empty() {
        parts.push(Part::Literal(bytes));
    }
    Ok(())
}

fn parse_value(inner: &str, encoding: FrameEncoding) -> Result<Part, PatternError> {
    let (name, kind) = inner.split_once(':').unwrap_or((inner, ""));
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(fits) {
        return Err(PatternError::Unnamed { inner: inner.to_owned() });
    }
    let kind = if kind.is_empty() { ValueKind::Any } else { ValueKind::parse(kind, encoding)? };
    Ok(Part::Value { name: name.into(), kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(pattern: &str, encoding: FrameEncoding, frame: &[u8]) -> Option<String> {
        let mut captures = CapturedFields::new();
        let matched = FramePattern::parse(pattern, encoding).unwrap().capture(frame, &mut captures);
        matched
            .then(|| captures.iter().map(|(name, value)| format!("{name}={value} ")).collect::<String>().trim().into())
    }

    #[test]
    fn a_text_pattern_matches_the_whole_frame_and_captures_by_name() {
        let text = |pattern, frame: &str| captured(pattern, FrameEncoding::Text, frame.as_bytes());
        assert_eq!(text("11", "11"), Some(String::new()));
        assert_eq!(text("11", "110"), None);
        assert_eq!(text("T={t:number};H={h:digits}", "T=-21.50;H=48").unwrap(), "t=-21.50 h=48");
        assert_eq!(text("T={t:number}C", "T=21.C"), None);
        assert_eq!(text("{zone:2}{state}", "07on").unwrap(), "zone=07 state=on");
        assert_eq!(text("{who}: {what}", "Ørsted: é: x").unwrap(), "who=Ørsted what=é: x");
        assert_eq!(text("{c:1}!", "é!").unwrap(), "c=é");
        assert_eq!(text("{_} {id:word}", "noise a-1_b").unwrap(), "id=a-1_b");
        assert_eq!(text("{{{x}}}", "{a}").unwrap(), "x=a");
        assert_eq!(text("{x}", ""), None);
    }

    #[test]
    fn a_hex_pattern_reads_integers_in_either_byte_order() {
        let hex = |pattern, frame: &[u8]| captured(pattern, FrameEncoding::Hex, frame);
        assert_eq!(hex("02 {t:i16be} {raw:2} 03", &[2, 0xff, 0x38, 0xab, 0xcd, 3]).unwrap(), "t=-200 raw=abcd");
        assert_eq!(hex("{n:u32le}", &[1, 0, 0, 0x80]).unwrap(), "n=2147483649");
        assert_eq!(hex("{n:i8}{rest}", &[0x80, 1]).unwrap(), "n=-128 rest=01");
        assert_eq!(hex("02{n:u16be}", &[2, 1]), None);
    }

    #[test]
    fn a_template_writes_arguments_that_fit_and_refuses_the_others() {
        let fill = |template, encoding, value: &str| {
            FrameTemplate::parse(template, encoding).unwrap().fill(|_| Some(value.to_owned()))
        };
        assert_eq!(fill("L{level:digits}\r\n", FrameEncoding::Text, "75").unwrap(), b"L75\r\n");
        assert_eq!(fill("02 {t:i16be} 03", FrameEncoding::Hex, "-200").unwrap(), [2, 0xff, 0x38, 3]);
        assert_eq!(fill("{raw:2}", FrameEncoding::Hex, "AB cd").unwrap(), [0xab, 0xcd]);
        for (template, encoding, value, words) in [
            ("L{level:digits}", FrameEncoding::Text, "7x", "`level` must be digits"),
            ("L{level}", FrameEncoding::Text, "7\nGATE", "`level` holds a control character"),
            ("L{level}", FrameEncoding::Text, "", "`level` is empty"),
            ("{t:i8}", FrameEncoding::Hex, "128", "from -128 to 127"),
            ("{t:u8}", FrameEncoding::Hex, "warm", "from 0 to 255"),
            ("{raw:2}", FrameEncoding::Hex, "ab", "a length of 2"),
            ("{raw}", FrameEncoding::Hex, "x", "pairs of hex digits"),
        ] {
            let error = fill(template, encoding, value).unwrap_err().to_string();
            assert!(error.contains(words), "{template}: {error}");
        }
        let missing = FrameTemplate::parse("L{level}", FrameEncoding::Text).unwrap().fill(|_| None).unwrap_err();
        assert_eq!(missing.to_string(), "the argument `level` is missing");
    }

    #[test]
    fn a_pattern_that_can_not_work_is_refused_in_words() {
        for (pattern, encoding, words) in [
            ("{a}{b}", FrameEncoding::Text, "where {a} ends"),
            ("{a", FrameEncoding::Text, "never closed"),
            ("a}", FrameEncoding::Text, "never opened"),
            ("{}", FrameEncoding::Text, "needs a name"),
            ("{a:u8}", FrameEncoding::Text, "no kind of value here"),
            ("{a:digits}", FrameEncoding::Hex, "no kind of value here"),
            ("{a:0}", FrameEncoding::Text, "no kind of value here"),
            ("{a} {a}", FrameEncoding::Text, "twice"),
            ("0x02", FrameEncoding::Hex, "pairs of hex digits"),
        ] {
            let error = FramePattern::parse(pattern, encoding).unwrap_err().to_string();
            assert!(error.contains(words), "{pattern}: {error}");
        }
    }

    #[test]
    fn matching_any_bytes_never_panics() {
        let mut random = fastrand::Rng::with_seed(7);
        let patterns = ["{a:2}x{b}", "{a:number}{b:word}", "{a}é{b:1}", "{_}", "{a:digits}.{b}"];
        let patterns: Vec<_> =
            patterns.iter().map(|text| FramePattern::parse(text, FrameEncoding::Text).unwrap()).collect();
        for _ in 0..20_000 {
            let frame: Vec<u8> =
                (0..random.usize(0..12)).map(|_| *random.choice(b"x0-1.+\xc3\xa9a\xff").unwrap()).collect();
            for pattern in &patterns {
                pattern.capture(&frame, &mut CapturedFields::new());
            }
        }
    }
}
