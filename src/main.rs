//! The hamster binary.
fn main() {}
