//! The actors, one file each, and all their messages.
