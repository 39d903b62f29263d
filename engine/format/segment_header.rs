//! The first page of a log segment.
//!
//! ```text
//! 0 magic "HMSG"   4 version u8   5 zeros   8 CRC u32   12 segment u32   16 generation u32   20 core u32
//! 24 segment length u64   32 created ms u64   40 zeros to 64
//! ```
//! The CRC covers the 64 bytes with its own field as zero.

use super::{crc32c, u32_at, u64_at};
use crate::error::{Corrupt, Error, Result};

/// Length of the header; the rest of its page is zero.
pub const SEGMENT_HEADER_BYTES: usize = 64;

const MAGIC: [u8; 4] = *b"HMSG";
const VERSION: u8 = 1;

/// The description of a log segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The segment's id, also in the file's name. This core never reuses it.
    pub segment: u32,
    /// Random number for each use of the file. It is part of the salt of its records' checksums.
    pub generation: u32,
    /// The core that owns the segment.
    pub core: u32,
    /// Length of the file, bytes.
    pub length: u64,
    /// When this use of the file began, milliseconds since 1970.
    pub created_ms: u64,
}

impl SegmentHeader {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut out = [0; SEGMENT_HEADER_BYTES];
        out[..4].copy_from_slice(&MAGIC);
        out[4] = VERSION;
        out[12..16].copy_from_slice(&self.segment.to_le_bytes());
        out[16..20].copy_from_slice(&self.generation.to_le_bytes());
        out[20..24].copy_from_slice(&self.core.to_le_bytes());
        out[24..32].copy_from_slice(&self.length.to_le_bytes());
        out[32..40].copy_from_slice(&self.created_ms.to_le_bytes());
        let crc = crc32c(&out);
        out[8..12].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a header.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or, for a later version, [`Error::Unsupported`].
    pub fn decode(bytes: &[u8]) -> Result<SegmentHeader> {
        let mut header = [0; SEGMENT_HEADER_BYTES];
        header.copy_from_slice(bytes.get(..SEGMENT_HEADER_BYTES).ok_or(Corrupt::Short)?);
        if header[..4] != MAGIC {
            return Err(Corrupt::Magic.into());
        }
        let stored = u32_at(&header, 8);
        header[8..12].fill(0);
        if stored != crc32c(&header) {
            return Err(Corrupt::Header.into());
        }
        if header[4] != VERSION {
            return Err(Error::Unsupported("a segment version"));
        }
        Ok(SegmentHeader {
            segment: u32_at(&header, 12),
            generation: u32_at(&header, 16),
            core: u32_at(&header, 20),
            length: u64_at(&header, 24),
            created_ms: u64_at(&header, 32),
        })
    }
}
