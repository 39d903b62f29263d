//! One core's share of the disk: log segments, extent segments, and the index of what lies in them.
//!
//! Promises: what [`Store::append_blob`], [`Store::publish`] and [`Store::delete`] answered is durable; after a
//! crash the index holds what was answered, and of the rest each record wholly or not at all. Damage is
//! reported and left for repair, never silently dropped. A full disk refuses new bytes and still deletes.
//!
//! It leaves to others: what the bytes mean ([`crate::frame`]), which core owns a key ([`crate::placement`]),
//! and which blobs are still wanted (metadata, by [`Store::delete`] and the sweep).

mod index;

pub use index::{Index, Key, Slot};
