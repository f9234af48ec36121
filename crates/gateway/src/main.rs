//! The binary `hearthgate`.

fn main() {}
