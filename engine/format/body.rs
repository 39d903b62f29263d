//! Bodies of delete and publish records.
//!
//! ```text
//! tombstone: 0 data id [16]  16 oldest u32  20 newest u32
//! publish:   0 segment u32    4 offset u32 (units of 8 bytes)   8 length u32   12 zeros to 16
//! ```

use super::{UNIT_BYTES, id_at, u32_at};
use crate::error::Corrupt;
use crate::ids::DataId;

/// Length of one tombstone.
pub const TOMBSTONE_BYTES: usize = 24;
/// Length of a publish record's body.
pub const PUBLISH_BYTES: usize = 16;

/// A deleted blob, with the log segments that may hold records of it.
///
/// The tombstone may be dropped once no log segment with an id in `oldest..=newest` is in use, except the segment that
/// holds the tombstone, which goes at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tombstone {
    /// The blob.
    pub data_id: DataId,
    /// Lowest id of a log segment that may hold a record of it.
    pub oldest: u32,
    /// Highest id of such a segment.
    pub newest: u32,
}

/// The location of an extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish {
    /// Extent segment.
    pub segment: u32,
    /// Offset of its first block, bytes; a multiple of 4096.
    pub offset: u64,
    /// Framed length, bytes.
    pub length: u32,
}

/// Writes tombstones one after the other.
pub fn encode_tombstones(tombstones: &[Tombstone]) -> Vec<u8> {
    let mut out = Vec::with_capacity(tombstones.len() * TOMBSTONE_BYTES);
    for tombstone in tombstones {
        out.extend_from_slice(&tombstone.data_id.0);
        out.extend_from_slice(&tombstone.oldest.to_le_bytes());
        out.extend_from_slice(&tombstone.newest.to_le_bytes());
    }
    out
}

/// Reads the body of a delete record.
///
/// # Errors
/// [`Corrupt::Field`] if it is not a whole number of tombstones.
pub fn decode_tombstones(body: &[u8]) -> Result<impl Iterator<Item = Tombstone>, Corrupt> {
    if !body.len().is_multiple_of(TOMBSTONE_BYTES) {
        return Err(Corrupt::Field("tombstones"));
    }
    Ok(body.chunks_exact(TOMBSTONE_BYTES).map(|chunk| Tombstone {
        data_id: DataId(id_at(chunk, 0)),
        oldest: u32_at(chunk, 16),
        newest: u32_at(chunk, 20),
    }))
}

impl Publish {
    /// Length of the body.
    pub const BYTES: usize = PUBLISH_BYTES;

    /// The body's bytes.
    ///
    /// # Panics
    /// If the offset is not a multiple of the unit, or beyond 32 GiB.
    pub fn encode(&self) -> [u8; PUBLISH_BYTES] {
        assert!(self.offset.is_multiple_of(UNIT_BYTES) && self.offset / UNIT_BYTES <= u64::from(u32::MAX));
        let mut out = [0; PUBLISH_BYTES];
        out[..4].copy_from_slice(&self.segment.to_le_bytes());
        out[4..8].copy_from_slice(&((self.offset / UNIT_BYTES) as u32).to_le_bytes());
        out[8..12].copy_from_slice(&self.length.to_le_bytes());
        out
    }

    /// Reads the body of a publish record.
    ///
    /// # Errors
    /// [`Corrupt::Short`].
    pub fn decode(body: &[u8]) -> Result<Publish, Corrupt> {
        if body.len() < PUBLISH_BYTES {
            return Err(Corrupt::Short);
        }
        Ok(Publish {
            segment: u32_at(body, 0),
            offset: u64::from(u32_at(body, 4)) * UNIT_BYTES,
            length: u32_at(body, 8),
        })
    }
}
