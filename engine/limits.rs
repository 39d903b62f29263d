//! Every limit of the byte store, with the relations between them checked at compile time.
//!
//! A simulated node has smaller segments, so that a short run fills, seals, compacts and reuses many.

use std::time::Duration;

/// Payload of a block at most, bytes.
pub const BLOCK_PAYLOAD_BYTES: usize = 65_504;
/// A block's trailer, bytes.
pub const BLOCK_TRAILER_BYTES: usize = 32;
/// A full block with its trailer, bytes.
pub const BLOCK_BYTES: usize = BLOCK_PAYLOAD_BYTES + BLOCK_TRAILER_BYTES;
/// Blocks of a slice at most.
pub const SLICE_BLOCKS: usize = 4;
/// Payload of a slice at most, bytes.
pub const SLICE_PAYLOAD_BYTES: usize = SLICE_BLOCKS * BLOCK_PAYLOAD_BYTES;

/// Largest payload that is stored as one record in a log segment, bytes.
pub const SMALL_BLOB_BYTES: usize = 128 << 10;
/// Blocks of an extent; the last one of a blob may hold fewer.
pub const EXTENT_BLOCKS: usize = if cfg!(sim) { 32 } else { 1024 };
/// Framed bytes of an extent at most.
pub const EXTENT_BYTES: u64 = (EXTENT_BLOCKS * BLOCK_BYTES) as u64;
/// Extents of one shard at most (a blob of 5 GiB has 81).
pub const MAX_EXTENTS: usize = 1 << 12;

/// Bytes that the bodies of all requests of one core may hold: buffers, documents, long answers.
pub const BODY_BUDGET_BYTES: usize = 96 << 20;
/// Of them, bytes that only bodies of [`SMALL_BLOB_BYTES`] at most may hold.
pub const SMALL_RESERVE_BYTES: usize = BODY_BUDGET_BYTES / 6;
/// Bytes that incomplete heads, and what came behind a request that is served, may hold on one core. What a connection
/// holds of this up to [`FREE_INPUT_BYTES`] is not counted.
pub const INPUT_BUDGET_BYTES: usize = 16 << 20;
/// See [`INPUT_BUDGET_BYTES`].
pub const FREE_INPUT_BYTES: usize = 8 << 10;
/// A request that waits so long for memory is refused.
pub const BUDGET_WAIT: Duration = Duration::from_secs(10);
/// A request whose client has neither taken nor sent anything for so long gives its buffers back when memory is short.
pub const SHRINK_AFTER_STALL: Duration = Duration::from_millis(100);
/// A request whose client has neither taken nor sent anything for so long is ended when memory is still short then.
pub const LEAVE_AFTER_STALL: Duration = Duration::from_secs(1);
/// Blocks that one write or read of a large blob moves at most.
pub const PIECE_BLOCKS: usize = 16;
/// Writes of one request in flight at most.
pub const WRITES_IN_FLIGHT: usize = 4;
/// Blobs that one core copies into others at a time. A copy holds what it read while it waits for room to write:
/// too many could hold the whole budget and wait for one another.
pub const COPIES: usize = 16;
/// Operations that all other cores together have open at one core, about.
pub const PEER_OPERATIONS: usize = 2048;
/// Operations that one core has open at another one, at least and at most.
pub const PEER_OPERATIONS_A_PAIR: (usize, usize) = (32, 1024);

/// Bytes after a record's header at most.
pub const MAX_RECORD_BODY_BYTES: usize = 256 << 10;
/// Bytes of one group commit at most.
pub const MAX_BATCH_BYTES: usize = if cfg!(sim) { 512 << 10 } else { 1 << 20 };
/// Bytes waiting for their group commit on one core, beyond which writers wait.
pub const MAX_QUEUED_BYTES: usize = 8 << 20;
/// Blobs named by one delete record at most.
pub const MAX_DELETES_PER_RECORD: usize = 4096;
/// Extents published by one call at most.
pub const MAX_PUBLISH: usize = MAX_EXTENTS;

/// Length of a log segment, bytes.
pub const LOG_SEGMENT_BYTES: u64 = if cfg!(sim) { 2 << 20 } else { 64 << 20 };
/// Length of an extent segment, bytes.
pub const EXTENT_SEGMENT_BYTES: u64 = if cfg!(sim) { 8 << 20 } else { 1 << 30 };
/// Step by which an extent segment grows, bytes.
pub const EXTENT_GROWTH_BYTES: u64 = EXTENT_BYTES;
/// Zero-filling ahead of use goes in pieces of this size, bytes.
pub const ZERO_FILL_BYTES: usize = 1 << 20;
/// Freed log segments that are kept for reuse; more are removed.
pub const FREE_LOG_SEGMENTS: usize = 4;
/// Freed extent bytes that keep their space on disk for reuse; more are punched out.
pub const KEPT_FREE_EXTENT_BYTES: u64 = if cfg!(sim) { 2 << 20 } else { 512 << 20 };
/// Free bytes of the file system that new bytes leave to deletes and metadata.
pub const RESERVE_BYTES: u64 = if cfg!(sim) { 4 << 20 } else { 256 << 20 };
/// Of these, bytes that new log segments, which deletes need, leave to the metadata.
pub const METADATA_RESERVE_BYTES: u64 = RESERVE_BYTES / 2;
/// Of these, bytes that the Raft log leaves to the metadata store.
pub const METADATA_STORE_RESERVE_BYTES: u64 = METADATA_RESERVE_BYTES / 2;
/// Open segment files that a core keeps at most for reading.
pub const MAX_OPEN_FILES: usize = if cfg!(sim) { 8 } else { 256 };
/// A segment file that nobody read for so long is closed: it may be gone, and a handle keeps its space, milliseconds.
pub const CLOSE_IDLE_FILES_MS: u64 = 10_000;
/// Damaged places that a report lists at most; all are counted.
pub const MAX_REPORTED_DAMAGE: usize = 1000;

const _: () = assert!(BLOCK_BYTES == 65_536);
const _: () =
    assert!(EXTENT_BLOCKS.is_multiple_of(PIECE_BLOCKS) && PIECE_BLOCKS.is_multiple_of(SLICE_BLOCKS));
// A body of unknown size may turn out small as long as it is in its first buffer, of one slice.
const _: () = assert!(SMALL_BLOB_BYTES < SLICE_PAYLOAD_BYTES);
const _: () = assert!(COPIES * 3 * PIECE_BLOCKS * BLOCK_BYTES <= BODY_BUDGET_BYTES / 2);
const _: () = assert!((WRITES_IN_FLIGHT + 1) * PIECE_BLOCKS * BLOCK_BYTES * 8 <= BODY_BUDGET_BYTES);
const _: () =
    assert!(2 * SMALL_BLOB_BYTES < SMALL_RESERVE_BYTES && SMALL_RESERVE_BYTES < BODY_BUDGET_BYTES / 4);
const _: () = assert!(SMALL_BLOB_BYTES + 3 * BLOCK_TRAILER_BYTES <= MAX_RECORD_BODY_BYTES);
const _: () = assert!(MAX_RECORD_BODY_BYTES * 2 <= MAX_BATCH_BYTES);
const _: () = assert!(MAX_DELETES_PER_RECORD * 24 <= MAX_RECORD_BODY_BYTES);
const _: () = assert!(MAX_BATCH_BYTES as u64 * 4 <= LOG_SEGMENT_BYTES);
const _: () = assert!(EXTENT_BYTES <= EXTENT_SEGMENT_BYTES);
const _: () = assert!(RESERVE_BYTES >= EXTENT_GROWTH_BYTES && RESERVE_BYTES >= LOG_SEGMENT_BYTES);
// Offsets are kept as u32 in units of 8 bytes.
const _: () = assert!(EXTENT_SEGMENT_BYTES <= 8 << 32 && LOG_SEGMENT_BYTES <= 8 << 32);
