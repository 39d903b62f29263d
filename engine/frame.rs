//! Blocks: the on-disk framing of payload bytes, in pieces that are checked, sealed and read one by one.
//!
//! A shard is a run of blocks. Each block but the last holds [`BLOCK_PAYLOAD_BYTES`] of payload and a trailer of
//! [`BLOCK_TRAILER_BYTES`], together 64 KiB. The last block holds the rest of the payload, padded with zeros to a
//! multiple of 8, followed directly by its trailer. An empty payload has no block.
//!
//! ```text
//! payload | zeros to 8 | crc32c u32 | payload length u32 | tag 16 B | version u8 | flags u8 | zeros 6 B
//! ```
//!
//! Integers are little-endian. The CRC-32C covers the whole block except itself, then the data id, shard and block
//! index. So no block can pass for another, and a block can move to another file unchanged. The tag is zero unless the
//! block is sealed (encrypted), which this version refuses.
//!
//! Promises: [`verify_block`] accepts only what [`close_block`] made for the same place. It is up to the caller where a
//! shard's first block lies.

use std::ops::Range;

use crc_fast::{CrcAlgorithm, Digest};

use crate::error::{Corrupt, Error, Result};
use crate::ids::DataId;
use crate::limits::{BLOCK_BYTES, BLOCK_PAYLOAD_BYTES, BLOCK_TRAILER_BYTES};

/// Version of the block's layout.
const BLOCK_VERSION: u8 = 1;
/// Flag: the payload is encrypted and the tag authenticates it.
const FLAG_SEALED: u8 = 1;
/// The last block's payload is padded to a multiple of this, bytes.
const PAYLOAD_ALIGN: usize = 8;

const CRC: Range<usize> = 0..4;
const LENGTH: Range<usize> = 4..8;
const VERSION: usize = 24;
const FLAGS: usize = 25;

/// The place of a block; part of its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockPlace {
    /// The blob.
    pub data_id: DataId,
    /// The shard of the blob.
    pub shard: u8,
    /// The index of the block in the shard, counted from 0.
    pub block: u32,
}

/// Length of a block with `payload` bytes, including padding and trailer; 0 for an empty payload.
pub const fn block_len(payload: usize) -> usize {
    if payload == 0 { 0 } else { payload.next_multiple_of(PAYLOAD_ALIGN) + BLOCK_TRAILER_BYTES }
}

/// Number of blocks in a shard of `payload` bytes.
pub const fn block_count(payload: u64) -> u64 {
    payload.div_ceil(BLOCK_PAYLOAD_BYTES as u64)
}

/// Length of a shard of `payload` bytes, including all padding and trailers.
pub const fn framed_len(payload: u64) -> u64 {
    let full = payload / BLOCK_PAYLOAD_BYTES as u64;
    full * BLOCK_BYTES as u64 + block_len((payload % BLOCK_PAYLOAD_BYTES as u64) as usize) as u64
}

/// Payload bytes in block `block` of a shard of `payload` bytes; 0 past its end.
pub fn payload_of_block(payload: u64, block: u64) -> usize {
    let start = block.saturating_mul(BLOCK_PAYLOAD_BYTES as u64);
    payload.saturating_sub(start).min(BLOCK_PAYLOAD_BYTES as u64) as usize
}

/// The block that holds the payload byte at `offset`, and the offset of that byte in the block.
pub const fn block_of(offset: u64) -> (u64, usize) {
    (offset / BLOCK_PAYLOAD_BYTES as u64, (offset % BLOCK_PAYLOAD_BYTES as u64) as usize)
}

/// The offset of block `block` in the framed shard.
pub const fn framed_offset(block: u64) -> u64 {
    block * BLOCK_BYTES as u64
}

/// The blocks that a range of the payload touches.
pub fn blocks_of(range: Range<u64>) -> Range<u64> {
    if range.is_empty() {
        return 0..0;
    }
    block_of(range.start).0..block_of(range.end - 1).0 + 1
}

fn checksum(covered: [&[u8]; 2], place: BlockPlace) -> u32 {
    let mut salt = [0; 21];
    salt[..16].copy_from_slice(&place.data_id.0);
    salt[16] = place.shard;
    salt[17..].copy_from_slice(&place.block.to_le_bytes());
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    for bytes in covered {
        digest.update(bytes);
    }
    digest.update(&salt);
    digest.finalize() as u32
}

/// Writes padding and trailer after the payload in the first `payload` bytes of `area`, and returns the block's length:
/// [`block_len`] of `payload`.
///
/// # Panics
/// If the payload is empty or too long, or `area` is too short.
pub fn close_block(area: &mut [u8], payload: usize, place: BlockPlace) -> usize {
    assert!((1..=BLOCK_PAYLOAD_BYTES).contains(&payload), "block of {payload} bytes");
    let len = block_len(payload);
    let (body, trailer) = area[..len].split_at_mut(len - BLOCK_TRAILER_BYTES);
    body[payload..].fill(0);
    trailer.fill(0);
    trailer[LENGTH].copy_from_slice(&(payload as u32).to_le_bytes());
    trailer[VERSION] = BLOCK_VERSION;
    let crc = checksum([body, &trailer[LENGTH.start..]], place);
    trailer[CRC].copy_from_slice(&crc.to_le_bytes());
    len
}

/// Checks the whole block `block` and returns its payload.
///
/// # Errors
/// [`Error::Corrupt`] if the block is not what was written at this place, [`Error::Unsupported`] if it is sealed or of
/// a later version.
pub fn verify_block(block: &[u8], place: BlockPlace) -> Result<&[u8]> {
    let corrupt = Error::Corrupt(Corrupt::Block(place.block));
    if block.len() <= BLOCK_TRAILER_BYTES || block.len() > BLOCK_BYTES {
        return Err(corrupt);
    }
    let (body, trailer) = block.split_at(block.len() - BLOCK_TRAILER_BYTES);
    let word = |range: Range<usize>| {
        trailer[range].iter().rev().fold(0u32, |word, byte| word << 8 | u32::from(*byte))
    };
    if word(CRC) != checksum([body, &trailer[LENGTH.start..]], place) {
        return Err(corrupt);
    }
    if trailer[VERSION] != BLOCK_VERSION {
        return Err(Error::Unsupported("a later block version"));
    }
    if trailer[FLAGS] & FLAG_SEALED != 0 {
        return Err(Error::Unsupported("an encrypted block"));
    }
    if trailer[FLAGS] != 0 {
        return Err(Error::Unsupported("an unknown block flag"));
    }
    let payload = word(LENGTH) as usize;
    if block_len(payload) != block.len() {
        return Err(corrupt);
    }
    Ok(&body[..payload])
}

/// Frames a whole payload: for small blobs and tests.
pub fn frame(payload: &[u8], data_id: DataId, shard: u8) -> Vec<u8> {
    let mut framed = vec![0; framed_len(payload.len() as u64) as usize];
    let mut at = 0;
    for (index, chunk) in payload.chunks(BLOCK_PAYLOAD_BYTES).enumerate() {
        framed[at..at + chunk.len()].copy_from_slice(chunk);
        at += close_block(&mut framed[at..], chunk.len(), BlockPlace { data_id, shard, block: index as u32 });
    }
    framed
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: DataId = DataId([7; 16]);
    const PLACE: BlockPlace = BlockPlace { data_id: ID, shard: 2, block: 5 };

    fn closed(payload: &[u8], place: BlockPlace) -> Vec<u8> {
        let mut area = vec![0xaa; block_len(payload.len())];
        area[..payload.len()].copy_from_slice(payload);
        close_block(&mut area, payload.len(), place);
        area
    }

    #[test]
    fn the_bytes_of_a_block_never_change() {
        let block = closed(b"hello", PLACE);
        let golden = concat!(
            "68656c6c6f000000",
            // Computed bit by bit from the definition of CRC-32C.
            "843479e0",
            "05000000",
            "00000000000000000000000000000000",
            "0100000000000000"
        );
        let hex: String = block.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, golden);
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let block = closed(b"some payload that is not a multiple", PLACE);
        for bit in 0..block.len() * 8 {
            let mut rotten = block.clone();
            rotten[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(verify_block(&rotten, PLACE), Err(Error::Corrupt(Corrupt::Block(5))), "bit {bit}");
        }
        assert!(verify_block(&block, PLACE).is_ok());
    }

    #[test]
    fn a_block_at_another_place_is_refused() {
        let block = closed(b"payload", PLACE);
        for place in [
            BlockPlace { block: 6, ..PLACE },
            BlockPlace { shard: 1, ..PLACE },
            BlockPlace { data_id: DataId([8; 16]), ..PLACE },
        ] {
            assert!(verify_block(&block, place).is_err());
        }
        for len in 0..block.len() {
            assert!(verify_block(&block[..len], PLACE).is_err());
        }
    }

    #[test]
    fn sealed_blocks_and_later_versions_are_refused_as_such() {
        for (at, value) in [(FLAGS, FLAG_SEALED), (FLAGS, 0x80), (VERSION, 2)] {
            let mut block = closed(b"payload.", PLACE);
            let trailer = block.len() - BLOCK_TRAILER_BYTES;
            block[trailer + at] = value;
            let (body, rest) = block.split_at(trailer);
            let crc = checksum([body, &rest[LENGTH.start..]], PLACE);
            block[trailer..trailer + 4].copy_from_slice(&crc.to_le_bytes());
            assert!(matches!(verify_block(&block, PLACE), Err(Error::Unsupported(_))));
        }
    }

    #[test]
    fn a_full_block_is_64_kib() {
        assert_eq!(block_len(BLOCK_PAYLOAD_BYTES), 65_536);
        assert_eq!(framed_len(0), 0);
        assert_eq!(framed_len(1), 40);
        assert_eq!(framed_len(65_504), 65_536);
        assert_eq!(framed_len(65_505), 65_536 + 40);
        assert_eq!(blocks_of(65_503..65_505), 0..2);
        assert_eq!(blocks_of(7..7), 0..0);
    }

    proptest! {
        #[test]
        fn a_framed_payload_reads_back_block_by_block(len in 0usize..300_000, seed: u8) {
            let payload: Vec<u8> = (0..len).map(|at| (at as u8).wrapping_mul(31) ^ seed).collect();
            let framed = frame(&payload, ID, 1);
            prop_assert_eq!(framed.len() as u64, framed_len(len as u64));
            let mut back = Vec::new();
            for block in 0..block_count(len as u64) {
                let start = framed_offset(block) as usize;
                let expected = payload_of_block(len as u64, block);
                let place = BlockPlace { data_id: ID, shard: 1, block: block as u32 };
                let bytes = verify_block(&framed[start..start + block_len(expected)], place).expect("verifies");
                prop_assert_eq!(bytes.len(), expected);
                back.extend_from_slice(bytes);
            }
            prop_assert_eq!(back, payload);
        }
    }
}
