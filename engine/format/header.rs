//! The header of a record in a log segment.
//!
//! ```text
//!  0 magic "HMRC"      4 version u8     5 kind u8        6 flags u16
//!  8 header CRC u32   12 body CRC u32  16 data id [16]
//! 32 shard u8         33 k u8          34 m u8          35 codec u8
//! 36 partition u16    38 extent u16    40 blocks u32    44 body length u32
//! 48 payload u64      56 created ms u64
//! 64 batch u32        68 batch length u32 (first record of a batch, else 0)
//! 72 zeros to 96
//! ```
//! The header CRC covers the 96 bytes with its own field as zero, followed by the segment's id and generation. So bytes
//! left over from an earlier use of a file never pass for live ones, nor does a body that looks like records. The body
//! CRC covers the body.

use super::{crc32c, id_at, u16_at, u32_at, u64_at};
use crate::error::{Corrupt, Error, Result};
use crate::ids::DataId;
use crate::limits::{MAX_BATCH_BYTES, MAX_RECORD_BODY_BYTES};

/// Length of a record's header.
pub const HEADER_BYTES: usize = 96;

const MAGIC: [u8; 4] = *b"HMRC";
const VERSION: u8 = 1;
const FLAG_SEALED: u16 = 1 << 0;
const FLAG_LAST: u16 = 1 << 1;
const FLAGS_KNOWN: u16 = FLAG_LAST;

/// The kind of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A small blob's shard; the body is its framed blocks.
    Blob,
    /// Deleted blobs; the body is a list of [`super::Tombstone`].
    Delete,
    /// An extent that holds blocks of a large blob; the body is a [`super::Publish`].
    Publish,
}

/// The salt of a record's checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Salt {
    /// Segment id.
    pub segment: u32,
    /// The random number of this use of the file.
    pub generation: u32,
}

/// The description of a blob's shard. The writer sets it, and it never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BlobHeader {
    /// The blob.
    pub data_id: DataId,
    /// Which of the k+m shards this is.
    pub shard: u8,
    /// Data shards.
    pub k: u8,
    /// Parity shards.
    pub m: u8,
    /// Erasure codec, 0 for copies.
    pub codec: u8,
    /// The blob's partition.
    pub partition: u16,
    /// Index of the extent in the shard, from 0.
    pub extent: u16,
    /// Whether this is the shard's last extent.
    pub last: bool,
    /// Blocks in this extent.
    pub blocks: u32,
    /// Payload bytes in this extent.
    pub payload_bytes: u64,
    /// Time of writing, milliseconds since 1970.
    pub created_ms: u64,
}

/// A record's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The kind of the record.
    pub kind: Kind,
    /// The blob that the record belongs to (unused for a delete).
    pub blob: BlobHeader,
    /// Length of the body, bytes.
    pub body_bytes: u32,
    /// CRC-32C of the body.
    pub body_crc: u32,
    /// Number of the batch in its segment, from 1.
    pub batch: u32,
    /// Length of the batch, on its first record; else 0.
    pub batch_bytes: u32,
}

impl Header {
    /// Writes the header, checksum included, to the first [`HEADER_BYTES`] of `out`.
    ///
    /// # Panics
    /// If `out` is shorter than that.
    pub fn encode(&self, salt: Salt, out: &mut [u8]) {
        let out = &mut out[..HEADER_BYTES];
        out.fill(0);
        out[..4].copy_from_slice(&MAGIC);
        out[4] = VERSION;
        out[5] = match self.kind {
            Kind::Blob => 1,
            Kind::Delete => 2,
            Kind::Publish => 3,
        };
        let flags = if self.blob.last { FLAG_LAST } else { 0 };
        out[6..8].copy_from_slice(&flags.to_le_bytes());
        out[12..16].copy_from_slice(&self.body_crc.to_le_bytes());
        out[16..32].copy_from_slice(&self.blob.data_id.0);
        out[32..36].copy_from_slice(&[self.blob.shard, self.blob.k, self.blob.m, self.blob.codec]);
        out[36..38].copy_from_slice(&self.blob.partition.to_le_bytes());
        out[38..40].copy_from_slice(&self.blob.extent.to_le_bytes());
        out[40..44].copy_from_slice(&self.blob.blocks.to_le_bytes());
        out[44..48].copy_from_slice(&self.body_bytes.to_le_bytes());
        out[48..56].copy_from_slice(&self.blob.payload_bytes.to_le_bytes());
        out[56..64].copy_from_slice(&self.blob.created_ms.to_le_bytes());
        reseal(out, salt, self.batch, self.batch_bytes);
    }

    /// Puts a record into a batch: sets the batch fields of an encoded header and recomputes its checksum.
    ///
    /// # Panics
    /// If `encoded` is shorter than a header.
    pub fn put_in_batch(encoded: &mut [u8], salt: Salt, batch: u32, batch_bytes: u32) {
        reseal(&mut encoded[..HEADER_BYTES], salt, batch, batch_bytes);
    }

    /// Reads a header and checks all that can be checked without the body.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the bytes are not a header of this segment; [`Error::Unsupported`] if they are one of a
    /// later version.
    pub fn decode(bytes: &[u8], salt: Salt) -> Result<Header> {
        let bytes = bytes.get(..HEADER_BYTES).ok_or(Corrupt::Short)?;
        if bytes[..4] != MAGIC {
            return Err(Corrupt::Magic.into());
        }
        if u32_at(bytes, 8) != salted_crc(bytes, salt) {
            return Err(Corrupt::Header.into());
        }
        if bytes[4] != VERSION {
            return Err(Error::Unsupported("a record version"));
        }
        let kind = match bytes[5] {
            1 => Kind::Blob,
            2 => Kind::Delete,
            3 => Kind::Publish,
            _ => return Err(Error::Unsupported("a record kind")),
        };
        let flags = u16_at(bytes, 6);
        if flags & FLAG_SEALED != 0 {
            return Err(Error::Unsupported("encryption"));
        }
        if flags & !FLAGS_KNOWN != 0 {
            return Err(Error::Unsupported("a record flag"));
        }
        let header = Header {
            kind,
            blob: BlobHeader {
                data_id: DataId(id_at(bytes, 16)),
                shard: bytes[32],
                k: bytes[33],
                m: bytes[34],
                codec: bytes[35],
                partition: u16_at(bytes, 36),
                extent: u16_at(bytes, 38),
                last: flags & FLAG_LAST != 0,
                blocks: u32_at(bytes, 40),
                payload_bytes: u64_at(bytes, 48),
                created_ms: u64_at(bytes, 56),
            },
            body_bytes: u32_at(bytes, 44),
            body_crc: u32_at(bytes, 12),
            batch: u32_at(bytes, 64),
            batch_bytes: u32_at(bytes, 68),
        };
        if header.body_bytes as usize > MAX_RECORD_BODY_BYTES {
            return Err(Corrupt::Field("body length").into());
        }
        if header.batch_bytes as usize > MAX_BATCH_BYTES
            || !(header.batch_bytes as usize).is_multiple_of(super::PAGE_BYTES)
        {
            return Err(Corrupt::Field("batch length").into());
        }
        Ok(header)
    }

    /// Checks the body that follows the header.
    ///
    /// # Errors
    /// [`Corrupt::Short`] or [`Corrupt::Body`].
    pub fn check_body<'a>(&self, after_header: &'a [u8]) -> Result<&'a [u8], Corrupt> {
        let body = after_header.get(..self.body_bytes as usize).ok_or(Corrupt::Short)?;
        if crc32c(body) == self.body_crc { Ok(body) } else { Err(Corrupt::Body) }
    }
}

fn reseal(header: &mut [u8], salt: Salt, batch: u32, batch_bytes: u32) {
    header[64..68].copy_from_slice(&batch.to_le_bytes());
    header[68..72].copy_from_slice(&batch_bytes.to_le_bytes());
    let crc = salted_crc(header, salt);
    header[8..12].copy_from_slice(&crc.to_le_bytes());
}

fn salted_crc(header: &[u8], salt: Salt) -> u32 {
    let mut covered = [0; HEADER_BYTES + 8];
    covered[..HEADER_BYTES].copy_from_slice(header);
    covered[8..12].fill(0);
    let salt = if crate::canary!("salt-ignored") { Salt { segment: 0, generation: 0 } } else { salt };
    covered[HEADER_BYTES..HEADER_BYTES + 4].copy_from_slice(&salt.segment.to_le_bytes());
    covered[HEADER_BYTES + 4..].copy_from_slice(&salt.generation.to_le_bytes());
    crc32c(&covered)
}
