//! How the work on a packet ended.

/// How the work went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PacketWork {
    /// The connection goes on.
    More,
    /// The client has said goodbye.
    Goodbye,
}
