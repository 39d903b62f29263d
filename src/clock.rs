//! Time and ids, for the commands that run before a core does.
#![allow(clippy::disallowed_methods)]
use crate::identity::Id;

/// Milliseconds since 1970.
pub fn unix_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

/// Fills with random bytes.
pub fn fill_random(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the kernel has randomness");
}

/// A fresh id: time first, then randomness (RFC 9562, version 7).
pub fn uuid_v7() -> Id {
    let mut id = [0; 16];
    fill_random(&mut id);
    id[..6].copy_from_slice(&unix_ms().to_be_bytes()[2..]);
    id[6] = id[6] & 0x0f | 0x70;
    id[8] = id[8] & 0x3f | 0x80;
    Id(id)
}
