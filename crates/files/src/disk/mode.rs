//! Ways to open a file.

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// For reading; it must be there.
    Read,
    /// For reading and writing; it must be there.
    Write,
    /// For reading and writing; made if it is not there, else left as it is.
    Keep,
    /// For reading and writing; made if it is not there, else emptied.
    Replace,
    /// For writing; it must not be there.
    New,
}
