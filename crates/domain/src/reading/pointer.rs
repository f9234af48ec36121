//! Where a value stands in a message.

use crate::payload::{JsonPointer, PointerError};
use std::fmt;

/// A pointer from the element, or, with `^` before it, from the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPointer {
    pub(super) is_from_payload: bool,
    pub(super) pointer: JsonPointer,
}

impl FieldPointer {
    /// Reads a pointer.
    ///
    /// # Errors
    /// What stands after `^`, if there is one, is no JSON Pointer.
    pub fn parse(text: &str) -> Result<Self, PointerError> {
        let (is_from_payload, pointer) = text.strip_prefix('^').map_or((false, text), |rest| (true, rest));
        Ok(FieldPointer { is_from_payload, pointer: JsonPointer::parse(pointer)? })
    }

    /// The pointer itself.
    #[must_use]
    pub fn pointer(&self) -> &JsonPointer {
        &self.pointer
    }
}

impl fmt::Display for FieldPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.is_from_payload { "^" } else { "" }, self.pointer)
    }
}
