//! The footer of a sealed log segment. It summarises the segment's records, so that they need not be read at start.
//!
//! The trailer is the last page of the file; the entries are a run of pages before it:
//!
//! ```text
//! trailer: 0 magic "HMFT"  4 version u8  5 zeros  8 CRC u32  12 segment u32  16 generation u32
//!          20 entries u32  24 offset of the entries u64  32 entries' CRC u32  36 zeros to 64
//! entry:   0 data id [16]  16 kind u8  17 shard u8  18 extent u16  20 flags u8  21 zeros
//!          24 record offset u32 (units)  28 length u32  32 a u32  36 b u32
//! ```
//! Entry kinds: 1 blob (length: body), 2 tombstone (a: oldest, b: newest), 3 publish (length: framed, a: extent
//! segment, b: offset in units). The trailer's CRC covers its 64 bytes with the CRC as zero.

use super::{PAGE_BYTES, Publish, Salt, Tombstone, UNIT_BYTES, crc32c, id_at, u16_at, u32_at, u64_at};
use crate::error::{Corrupt, Error, Result};
use crate::ids::DataId;

/// Length of one entry.
pub const ENTRY_BYTES: usize = 40;
/// Length of the trailer; the rest of its page is zero.
pub const TRAILER_BYTES: usize = 64;

const MAGIC: [u8; 4] = *b"HMFT";
const VERSION: u8 = 1;
const FLAG_LAST: u8 = 1;

/// The effect of a record on the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A small blob's shard, with the length of its framed bytes, which follow the header.
    Blob {
        /// Framed length, bytes.
        length: u32,
    },
    /// A delete.
    Tombstone {
        /// See [`Tombstone::oldest`].
        oldest: u32,
        /// See [`Tombstone::newest`].
        newest: u32,
    },
    /// An extent of a large blob.
    Publish(Publish),
}

/// One entry of a footer. A delete record has one entry for each tombstone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The blob.
    pub data_id: DataId,
    /// The shard of the blob.
    pub shard: u8,
    /// The extent of the shard.
    pub extent: u16,
    /// Whether it is the shard's last extent.
    pub last: bool,
    /// Offset of the record's header in the segment, bytes.
    pub record: u64,
    /// The effect of the record.
    pub kind: EntryKind,
}

impl Entry {
    /// The entry of a tombstone in the record at `record`.
    pub fn tombstone(tombstone: Tombstone, record: u64) -> Entry {
        let Tombstone { data_id, oldest, newest } = tombstone;
        Entry {
            data_id,
            shard: 0,
            extent: 0,
            last: false,
            record,
            kind: EntryKind::Tombstone { oldest, newest },
        }
    }
}

/// The location of a footer's entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FooterTrailer {
    /// The segment's salt.
    pub salt: Salt,
    /// Number of entries.
    pub entries: u32,
    /// Offset of the first entry, bytes. It is also the end of the batches.
    pub offset: u64,
    /// CRC-32C of the entries.
    pub entries_crc: u32,
}

impl FooterTrailer {
    /// The trailer's bytes.
    pub fn encode(&self) -> [u8; TRAILER_BYTES] {
        let mut out = [0; TRAILER_BYTES];
        out[..4].copy_from_slice(&MAGIC);
        out[4] = VERSION;
        out[12..16].copy_from_slice(&self.salt.segment.to_le_bytes());
        out[16..20].copy_from_slice(&self.salt.generation.to_le_bytes());
        out[20..24].copy_from_slice(&self.entries.to_le_bytes());
        out[24..32].copy_from_slice(&self.offset.to_le_bytes());
        out[32..36].copy_from_slice(&self.entries_crc.to_le_bytes());
        let crc = crc32c(&out);
        out[8..12].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the trailer of the segment with the given salt and length.
    ///
    /// # Errors
    /// [`Corrupt::Magic`] if there is no trailer (or one of an earlier use), other faults if there is one.
    pub fn decode(bytes: &[u8], salt: Salt, segment_bytes: u64) -> Result<FooterTrailer> {
        let mut trailer = [0; TRAILER_BYTES];
        trailer.copy_from_slice(bytes.get(..TRAILER_BYTES).ok_or(Corrupt::Short)?);
        let found = Salt { segment: u32_at(&trailer, 12), generation: u32_at(&trailer, 16) };
        if trailer[..4] != MAGIC || found != salt {
            return Err(Corrupt::Magic.into());
        }
        let stored = u32_at(&trailer, 8);
        trailer[8..12].fill(0);
        if stored != crc32c(&trailer) {
            return Err(Corrupt::Header.into());
        }
        if trailer[4] != VERSION {
            return Err(Error::Unsupported("a footer version"));
        }
        let entries = u32_at(&trailer, 20);
        let offset = u64_at(&trailer, 24);
        let end = offset.saturating_add(u64::from(entries) * ENTRY_BYTES as u64);
        if !offset.is_multiple_of(PAGE_BYTES as u64)
            || offset < PAGE_BYTES as u64
            || end > segment_bytes.saturating_sub(PAGE_BYTES as u64)
        {
            return Err(Corrupt::Field("footer offset").into());
        }
        Ok(FooterTrailer { salt, entries, offset, entries_crc: u32_at(&trailer, 32) })
    }
}

/// Writes entries one after the other.
pub fn encode_entries(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.len() * ENTRY_BYTES);
    for entry in entries {
        let (kind, length, a, b) = match entry.kind {
            EntryKind::Blob { length } => (1, length, 0, 0),
            EntryKind::Tombstone { oldest, newest } => (2, 0, oldest, newest),
            EntryKind::Publish(at) => (3, at.length, at.segment, (at.offset / UNIT_BYTES) as u32),
        };
        out.extend_from_slice(&entry.data_id.0);
        out.extend_from_slice(&[kind, entry.shard]);
        out.extend_from_slice(&entry.extent.to_le_bytes());
        out.extend_from_slice(&[if entry.last { FLAG_LAST } else { 0 }, 0, 0, 0]);
        for word in [(entry.record / UNIT_BYTES) as u32, length, a, b] {
            out.extend_from_slice(&word.to_le_bytes());
        }
    }
    out
}

/// Reads what [`encode_entries`] wrote. `bytes` holds exactly that.
///
/// # Errors
/// [`Error::Corrupt`] for a partial entry, [`Error::Unsupported`] for an unknown kind.
pub fn decode_entries(bytes: &[u8]) -> Result<Vec<Entry>> {
    if !bytes.len().is_multiple_of(ENTRY_BYTES) {
        return Err(Corrupt::Short.into());
    }
    bytes.chunks_exact(ENTRY_BYTES).map(decode_entry).collect()
}

fn decode_entry(bytes: &[u8]) -> Result<Entry> {
    let (length, a, b) = (u32_at(bytes, 28), u32_at(bytes, 32), u32_at(bytes, 36));
    let kind = match bytes[16] {
        1 => EntryKind::Blob { length },
        2 => EntryKind::Tombstone { oldest: a, newest: b },
        3 => EntryKind::Publish(Publish { segment: a, offset: u64::from(b) * UNIT_BYTES, length }),
        _ => return Err(Error::Unsupported("a footer entry")),
    };
    Ok(Entry {
        data_id: DataId(id_at(bytes, 0)),
        shard: bytes[17],
        extent: u16_at(bytes, 18),
        last: bytes[20] & FLAG_LAST != 0,
        record: u64::from(u32_at(bytes, 24)) * UNIT_BYTES,
        kind,
    })
}
