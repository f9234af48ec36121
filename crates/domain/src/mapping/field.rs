//! The fields of a message that a map translates.

use std::fmt;

/// What a keyword map translates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MapField {
    /// Topic level 2.
    Function,
    /// Topic level 3.
    Gateway,
    /// Topic level 4.
    Location,
    /// Topic level 5.
    Device,
    /// Topic level 6.
    Sender,
    /// The action.
    Action,
    /// Names of arguments.
    ArgKey,
    /// Values of arguments.
    ArgValue,
}

impl MapField {
    /// All of them, in the order of the topic.
    pub const ALL: [MapField; 8] = [
        MapField::Function,
        MapField::Gateway,
        MapField::Location,
        MapField::Device,
        MapField::Sender,
        MapField::Action,
        MapField::ArgKey,
        MapField::ArgValue,
    ];

    /// Its name in a map file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            MapField::Function => "function",
            MapField::Gateway => "gateway",
            MapField::Location => "location",
            MapField::Device => "device",
            MapField::Sender => "sender",
            MapField::Action => "action",
            MapField::ArgKey => "argkey",
            MapField::ArgValue => "argvalue",
        }
    }
}

impl fmt::Display for MapField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
