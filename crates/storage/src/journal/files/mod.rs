//! The files of the journal on disk: the active segment, the slot files, damaged segments set aside.

pub(crate) mod active_segment;
pub(crate) mod quarantine;
pub(crate) mod slots;
