//! The scanner: checks the grammar of RFC 8259 and marks out values, without recursion and without building anything.

use super::unescape::unescape;
use std::borrow::Cow;
use std::fmt;
use thiserror::Error;

/// How deep objects and arrays may be nested, the payload itself included.
pub const MAX_DEPTH: usize = 128;

/// Why a payload is no JSON object. Offsets count bytes from 0.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PayloadError {
    /// No byte at all.
    #[error("the payload is empty; a JSON object is needed")]
    Empty,
    /// RFC 3629.
    #[error("the payload is not UTF-8 from byte {offset} on")]
    NotUtf8 {
        /// The first byte that fits into no character.
        offset: usize,
    },
    /// Valid JSON, but not `{…}`.
    #[error("the payload is JSON, but {found} where an object is needed")]
    NotAnObject {
        /// What it is.
        found: JsonKind,
    },
    /// RFC 8259.
    #[error("the payload is not valid JSON at byte {offset}: expected {expected}")]
    Syntax {
        /// Where.
        offset: usize,
        /// What could have stood there.
        expected: &'static str,
    },
    /// A `\ud800` to `\udfff` without its other half: no character.
    #[error("the payload holds half of a surrogate pair at byte {offset}, which is no character")]
    LoneSurrogate {
        /// Where the escape begins.
        offset: usize,
    },
    /// More than [`MAX_DEPTH`].
    #[error("the payload is nested deeper than 128 levels at byte {offset}")]
    TooDeep {
        /// Where the first level too many begins.
        offset: usize,
    },
}

/// What a JSON value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JsonKind {
    /// `null`
    Null,
    /// `true`, `false`
    Boolean,
    /// A number without fraction and exponent.
    Integer,
    /// Any other number.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

impl fmt::Display for JsonKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            JsonKind::Null => "null",
            JsonKind::Boolean => "boolean",
            JsonKind::Integer => "integer",
            JsonKind::Number => "number",
            JsonKind::String => "string",
            JsonKind::Array => "array",
            JsonKind::Object => "object",
        })
    }
}

/// A valid JSON value, as it was sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RawJson<'a> {
    pub(super) text: &'a str,
    pub(super) kind: JsonKind,
    /// Nothing to resolve or to leave out: no escape, and in arrays and objects no blank between the parts.
    pub(super) plain: bool,
}

impl<'a> RawJson<'a> {
    /// Reads one value of any kind.
    ///
    /// # Errors
    /// The text is not valid JSON, or nested deeper than [`MAX_DEPTH`].
    pub fn parse(text: &'a str) -> Result<Self, PayloadError> {
        let mut scanner = JsonScanner::new(text);
        scanner.skip_blanks();
        let value = scanner.value(0)?;
        scanner.end()?;
        Ok(value)
    }

    /// The value's text, without blanks around it.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> JsonKind {
        self.kind
    }

    /// The characters of a string; nothing for other kinds.
    #[must_use]
    pub fn as_str(&self) -> Option<Cow<'a, str>> {
        (self.kind == JsonKind::String).then(|| string_content(self.text, self.plain))
    }

    /// The items of an array; nothing for other kinds.
    #[must_use]
    pub fn items(&self) -> Option<Vec<RawJson<'a>>> {
        if self.kind != JsonKind::Array {
            return None;
        }
        let mut items = Vec::new();
        let mut scanner = JsonScanner::new(self.text);
        loop {
            // Over the bracket, and over each comma.
            scanner.at += 1;
            scanner.skip_blanks();
            if matches!(scanner.peek(), Some(b']') | None) {
                return Some(items);
            }
            items.push(scanner.value(1).ok()?);
            scanner.skip_blanks();
        }
    }

    /// The members of an object in the order in which they were sent, repeated names included; nothing for other kinds.
    #[must_use]
    pub fn members(&self) -> Option<Vec<(Cow<'a, str>, RawJson<'a>)>> {
        let mut scanner = JsonScanner::new(self.text);
        if self.kind != JsonKind::Object {
            return None;
        }
        scanner.open_object().ok()?;
        let mut members = Vec::new();
        while let Some(member) = scanner.next_member().ok()? {
            members.push(member);
        }
        Some(members)
    }

    /// The value of a member of an object; of a repeated name the last one.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<RawJson<'a>> {
        let members = self.members()?;
        members.into_iter().rev().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// The value as serde_json has it: numbers as 64-bit integers or doubles.
    ///
    /// # Errors
    /// A number is out of the range of a double.
    pub fn to_value(&self) -> Result<serde_json::Value, serde_json::Error> {
        match self.as_str() {
            Some(text) => Ok(serde_json::Value::String(text.into_owned())),
            None => serde_json::from_str(self.text),
        }
    }
}

/// What stands between the quotes of a valid string.
fn string_content(quoted: &str, plain: bool) -> Cow<'_, str> {
    let inner = quoted.get(1..quoted.len() - 1).unwrap_or_default();
    if plain { Cow::Borrowed(inner) } else { Cow::Owned(unescape(inner)) }
}

pub(super) struct JsonScanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    first_member: bool,
    /// Blanks and escapes so far: a value over which it stays the same is plain.
    oddities: usize,
}

impl<'a> JsonScanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, bytes: text.as_bytes(), at: 0, first_member: true, oddities: 0 }
    }

    /// Steps over the `{` of the outermost object.
    pub(super) fn open_object(&mut self) -> Result<(), PayloadError> {
        self.skip_blanks();
        if self.peek() == Some(b'{') {
            self.at += 1;
            return Ok(());
        }
        let found = self.value(0)?.kind;
        self.end()?;
        Err(PayloadError::NotAnObject { found })
    }

    /// The next member of the outermost object, or nothing behind its `}`.
    pub(super) fn next_member(&mut self) -> Result<Option<(Cow<'a, str>, RawJson<'a>)>, PayloadError> {
        self.skip_blanks();
        match self.peek() {
            Some(b'}') => {
                self.at += 1;
                return Ok(None);
            }
            _ if self.first_member => self.first_member = false,
            Some(b',') => {
                self.at += 1;
                self.skip_blanks();
            }
            _ => return self.expected("`,` or `}`"),
        }
        let name = self.member_name()?;
        let value = self.value(1)?;
        Ok(Some((string_content(name.text, name.plain), value)))
    }

    /// Nothing but blanks may follow.
    pub(super) fn end(&mut self) -> Result<(), PayloadError> {
        self.skip_blanks();
        if self.at == self.bytes.len() { Ok(()) } else { self.expected("the end") }
    }

    pub(super) fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
            self.oddities += 1;
        }
    }

    /// A value inside of `depth` containers; blanks before it are skipped already.
    pub(super) fn value(&mut self, depth: usize) -> Result<RawJson<'a>, PayloadError> {
        let (start, oddities) = (self.at, self.oddities);
        let kind = match self.peek() {
            Some(b'"') => self.string()?,
            Some(b'{') => self.container(depth, JsonKind::Object)?,
            Some(b'[') => self.container(depth, JsonKind::Array)?,
            _ => self.scalar()?,
        };
        Ok(RawJson { text: &self.text[start..self.at], kind, plain: self.oddities == oddities })
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn expected<T>(&self, expected: &'static str) -> Result<T, PayloadError> {
        Err(PayloadError::Syntax { offset: self.at, expected })
    }

    /// A name, its colon, and the blanks behind it.
    fn member_name(&mut self) -> Result<RawJson<'a>, PayloadError> {
        let (start, oddities) = (self.at, self.oddities);
        if self.peek() != Some(b'"') {
            return self.expected("a name in double quotes");
        }
        let kind = self.string()?;
        let name = RawJson { text: &self.text[start..self.at], kind, plain: self.oddities == oddities };
        self.skip_blanks();
        if self.peek() != Some(b':') {
            return self.expected("`:`");
        }
        self.at += 1;
        self.skip_blanks();
        Ok(name)
    }

    /// An array or object with all that is in it.
    fn container(&mut self, depth: usize, kind: JsonKind) -> Result<JsonKind, PayloadError> {
        let mut open = Open { outside: depth, count: 0, objects: 0 };
        loop {
            // Before a value.
            match self.peek() {
                Some(opening @ (b'{' | b'[')) => {
                    if !open.push(opening == b'{') {
                        return Err(PayloadError::TooDeep { offset: self.at });
                    }
                    self.at += 1;
                    self.skip_blanks();
                    if self.peek() != Some(open.closing()) {
                        if open.in_object() {
                            self.member_name()?;
                        }
                        continue;
                    }
                }
                Some(b'"') => {
                    self.string()?;
                }
                _ => {
                    self.scalar()?;
                }
            }
            if !self.behind_value(&mut open)? {
                return Ok(kind);
            }
        }
    }

    /// Closes what ends here and steps to the next value; `false` when the outermost container is closed.
    fn behind_value(&mut self, open: &mut Open) -> Result<bool, PayloadError> {
        loop {
            self.skip_blanks();
            match self.peek() {
                Some(byte) if byte == open.closing() => {
                    self.at += 1;
                    open.pop();
                    if open.count == 0 {
                        return Ok(false);
                    }
                }
                Some(b',') => {
                    self.at += 1;
                    self.skip_blanks();
                    if open.in_object() {
                        self.member_name()?;
                    }
                    return Ok(true);
                }
                _ if open.in_object() => return self.expected("`,` or `}`"),
                _ => return self.expected("`,` or `]`"),
            }
        }
    }

    fn scalar(&mut self) -> Result<JsonKind, PayloadError> {
        match self.peek() {
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true", JsonKind::Boolean),
            Some(b'f') => self.literal("false", JsonKind::Boolean),
            Some(b'n') => self.literal("null", JsonKind::Null),
            _ => self.expected("a value"),
        }
    }

    fn literal(&mut self, literal: &'static str, kind: JsonKind) -> Result<JsonKind, PayloadError> {
        if !self.bytes[self.at..].starts_with(literal.as_bytes()) {
            return self.expected("a value");
        }
        self.at += literal.len();
        Ok(kind)
    }

    fn number(&mut self) -> Result<JsonKind, PayloadError> {
        let mut kind = JsonKind::Integer;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        // A leading zero stands alone; a digit behind it is no part of the number.
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
            kind = JsonKind::Number;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
            kind = JsonKind::Number;
        }
        Ok(kind)
    }

    fn digits(&mut self) -> Result<(), PayloadError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { self.expected("a digit") } else { Ok(()) }
    }

    /// A string with its quotes.
    fn string(&mut self) -> Result<JsonKind, PayloadError> {
        self.at += 1;
        loop {
            let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
            let rest = &self.bytes[self.at..];
            let length = rest.iter().position(ends).unwrap_or(rest.len());
            self.at += length;
            match rest.get(length) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(JsonKind::String);
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return self.expected("an escape instead of a control character"),
                None => return self.expected("`\"` at the end of a string"),
            }
        }
    }

    fn escape(&mut self) -> Result<(), PayloadError> {
        let start = self.at;
        self.oddities += 1;
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => match self.unicode_escape()? {
                0xd800..=0xdbff if self.bytes[self.at..].starts_with(b"\\u") => {
                    self.at += 1;
                    match self.unicode_escape()? {
                        0xdc00..=0xdfff => Ok(()),
                        _ => Err(PayloadError::LoneSurrogate { offset: start }),
                    }
                }
                0xd800..=0xdfff => Err(PayloadError::LoneSurrogate { offset: start }),
                _ => Ok(()),
            },
            _ => self.expected("one of \" \\ / b f n r t u after a backslash"),
        }
    }

    /// The `u` and its four digits.
    fn unicode_escape(&mut self) -> Result<u16, PayloadError> {
        self.at += 1;
        let mut unit = 0;
        for _ in 0..4 {
            match self.peek().and_then(|byte| char::from(byte).to_digit(16)) {
                Some(digit) => unit = unit << 4 | digit as u16,
                None => return self.expected("a hexadecimal digit"),
            }
            self.at += 1;
        }
        Ok(unit)
    }
}

/// The containers that are open, the innermost in the lowest bit; 128 bits for [`MAX_DEPTH`] levels.
struct Open {
    /// How many are open around the outermost of these.
    outside: usize,
    count: usize,
    objects: u128,
}

impl Open {
    /// `false` when that would be too deep.
    fn push(&mut self, object: bool) -> bool {
        if self.outside + self.count == MAX_DEPTH {
            return false;
        }
        self.count += 1;
        self.objects = self.objects << 1 | u128::from(object);
        true
    }

    fn pop(&mut self) {
        self.count -= 1;
        self.objects >>= 1;
    }

    fn in_object(&self) -> bool {
        self.objects & 1 == 1
    }

    fn closing(&self) -> u8 {
        if self.in_object() { b'}' } else { b']' }
    }
}
