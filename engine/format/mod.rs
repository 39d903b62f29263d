//! The on-disk formats of segments, as pure functions between values and bytes. Everything is little-endian.
//!
//! A log segment is a [`SegmentHeader`] page, followed by batches, and by a footer if the segment is sealed:
//!
//! ```text
//! 0        4096                                            length - 4096
//! | header | batch | batch | ... | batch | footer entries ... | footer trailer |
//! ```
//!
//! A batch is one group commit. It starts and ends on a page boundary and is a run of records, each with a [`Header`]
//! of 96 bytes and a body padded to 8 bytes; zeros fill its last page. An extent segment has no structure of its own:
//! publish records in log segments describe its extents.
//!
//! Evolution: bytes that are zero here may get a meaning later, and readers of this version ignore them. A change that
//! readers must not ignore raises the version or adds a kind, which they refuse. [`crate::frame`] defines what a blob's
//! body holds.

mod body;
mod footer;
mod header;
mod segment_header;

pub use body::{Publish, Tombstone, decode_tombstones, encode_tombstones};
pub use footer::{
    ENTRY_BYTES, Entry, EntryKind, FooterTrailer, TRAILER_BYTES, decode_entries, encode_entries,
};
pub use header::{BlobHeader, HEADER_BYTES, Header, Kind, Salt};
pub use segment_header::{SEGMENT_HEADER_BYTES, SegmentHeader};

/// Page size of the formats, bytes.
pub const PAGE_BYTES: usize = 4096;
/// Unit of offsets inside a segment, bytes.
pub const UNIT_BYTES: u64 = 8;

/// Length of a record on disk: header and body, padded to whole units.
pub const fn record_bytes(body_bytes: usize) -> usize {
    (HEADER_BYTES + body_bytes).next_multiple_of(UNIT_BYTES as usize)
}

/// CRC-32C (Castagnoli).
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

fn id_at(bytes: &[u8], at: usize) -> [u8; 16] {
    let mut id = [0; 16];
    id.copy_from_slice(&bytes[at..at + 16]);
    id
}

#[cfg(test)]
mod tests;
