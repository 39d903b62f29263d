//! Every limit of the byte store, with the relations between them checked at compile time.
//!
//! A simulated node has smaller segments and less memory, so that even a short run fills, seals, compacts and reuses many
//! segments, and has requests wait for memory.

use std::time::Duration;

/// Largest payload of a block, bytes.
pub const BLOCK_PAYLOAD_BYTES: usize = 65_504;
/// Size of a block's trailer, bytes.
pub const BLOCK_TRAILER_BYTES: usize = 32;
/// Size of a full block with its trailer, bytes.
pub const BLOCK_BYTES: usize = BLOCK_PAYLOAD_BYTES + BLOCK_TRAILER_BYTES;
/// Maximum number of blocks in a slice.
pub const SLICE_BLOCKS: usize = 4;
/// Largest payload of a slice, bytes.
pub const SLICE_PAYLOAD_BYTES: usize = SLICE_BLOCKS * BLOCK_PAYLOAD_BYTES;

/// Largest payload that is stored as one record in a log segment, bytes.
pub const SMALL_BLOB_BYTES: usize = 128 << 10;
/// Blocks in an extent. The last extent of a blob may hold fewer.
pub const EXTENT_BLOCKS: usize = if cfg!(sim) { 32 } else { 1024 };
/// Largest framed size of an extent, bytes.
pub const EXTENT_BYTES: u64 = (EXTENT_BLOCKS * BLOCK_BYTES) as u64;
/// Maximum number of extents in one shard (a blob of 5 GiB has 81).
pub const MAX_EXTENTS: usize = 1 << 12;

/// Budget of one core for the bodies of all its requests (buffers, documents, long responses), bytes.
pub const BODY_BUDGET_BYTES: usize = if cfg!(sim) { 3 << 20 } else { 96 << 20 };
/// While less of [`BODY_BUDGET_BYTES`] than this is free, stalled requests are asked for their buffers and new long ones
/// start with a small one, bytes. It is more than requests need for buffers of full size, so that those whose clients
/// are fast keep them.
pub const AMPLE_BODY_BYTES: usize = BODY_BUDGET_BYTES / 4 * 3;
/// The part of [`BODY_BUDGET_BYTES`] reserved for bodies of at most [`SMALL_BLOB_BYTES`], bytes.
pub const SMALL_RESERVE_BYTES: usize = BODY_BUDGET_BYTES / 6;
/// Budget of one core for incomplete request heads and for input that arrives behind the request being served, bytes.
/// The first [`FREE_INPUT_BYTES`] of each connection are not counted.
pub const INPUT_BUDGET_BYTES: usize = if cfg!(sim) { 1 << 20 } else { 16 << 20 };
/// Input that each connection may hold outside [`INPUT_BUDGET_BYTES`], bytes.
pub const FREE_INPUT_BYTES: usize = 8 << 10;
/// Budget of one core for disk space that is reserved for bodies in progress and not yet written, bytes. Each body may
/// reserve a whole extent with its first block.
pub const SPACE_BUDGET_BYTES: usize = EXTENT_BYTES as usize * if cfg!(sim) { 16 } else { 128 };
/// The part of [`SPACE_BUDGET_BYTES`] that is kept for reservations of at most [`SMALL_SPACE_BYTES`], bytes.
pub const SMALL_SPACE_RESERVE_BYTES: usize = SPACE_BUDGET_BYTES / 4;
/// Largest reservation that may use [`SMALL_SPACE_RESERVE_BYTES`], bytes.
pub const SMALL_SPACE_BYTES: usize = EXTENT_BYTES as usize / 8;
/// A request that has waited this long for memory is refused.
pub const BUDGET_WAIT: Duration = Duration::from_secs(10);
/// When memory is short, a request whose client has neither read nor sent anything for this long gives its buffers
/// back.
pub const SHRINK_AFTER_STALL: Duration = Duration::from_millis(100);
/// When memory is still short after that, a request whose client has neither read nor sent anything for this long is
/// ended.
pub const END_AFTER_STALL: Duration = Duration::from_secs(1);
/// Maximum number of blocks that one write or read of a large blob moves.
pub const PIECE_BLOCKS: usize = if cfg!(sim) { 8 } else { 16 };
/// Maximum number of writes in flight for one request.
pub const WRITES_IN_FLIGHT: usize = 4;
/// Maximum number of blobs that one core copies at a time. A copy holds what it has read while it waits for room to
/// write, so too many copies could hold the whole budget and wait for one another.
pub const COPIES: usize = if cfg!(sim) { 1 } else { 16 };
/// The same for copies of at most [`SMALL_BLOB_BYTES`], which do not wait for long ones.
pub const SMALL_COPIES: usize = if cfg!(sim) { 2 } else { 64 };
/// Maximum number of parts of an object that one read locates and holds in place at a time. An object of no more parts
/// is read to its end even if it is replaced meanwhile; so many locations take 56 KiB.
pub const LOCATED_PARTS: usize = if cfg!(sim) { 3 } else { 1024 };
/// Approximate limit on the operations that all other cores together have open at one core.
pub const PEER_OPERATIONS: usize = 2048;
/// Lower and upper bound of the limit on operations that one core has open at another.
pub const PEER_OPERATIONS_PER_PAIR: (usize, usize) = (32, 1024);

/// Largest body of a record, bytes.
pub const MAX_RECORD_BODY_BYTES: usize = 256 << 10;
/// Largest group commit, bytes.
pub const MAX_BATCH_BYTES: usize = if cfg!(sim) { 512 << 10 } else { 1 << 20 };
/// Bytes queued for group commit on one core above which writers wait.
pub const MAX_QUEUED_BYTES: usize = if cfg!(sim) { 512 << 10 } else { 8 << 20 };
/// Maximum number of blobs named by one delete record.
pub const MAX_DELETES_PER_RECORD: usize = if cfg!(sim) { 3 } else { 4096 };
/// Maximum number of extents published by one call.
pub const MAX_PUBLISH: usize = MAX_EXTENTS;

/// Length of a log segment, bytes.
pub const LOG_SEGMENT_BYTES: u64 = if cfg!(sim) { 2 << 20 } else { 64 << 20 };
/// Length of an extent segment, bytes.
pub const EXTENT_SEGMENT_BYTES: u64 = if cfg!(sim) { 8 << 20 } else { 1 << 30 };
/// Step in which an extent segment grows, bytes.
pub const EXTENT_GROWTH_BYTES: u64 = EXTENT_BYTES;
/// Size of one write when a segment is zero-filled ahead of use, bytes.
pub const ZERO_FILL_BYTES: usize = 1 << 20;
/// Freed log segments kept for reuse; any more are removed.
pub const FREE_LOG_SEGMENTS: usize = 4;
/// Freed extent space kept allocated on disk for reuse, bytes; any more is punched out.
pub const KEPT_FREE_EXTENT_BYTES: u64 = if cfg!(sim) { 2 << 20 } else { 512 << 20 };
/// Free space of the file system that new data leaves for deletes and metadata, bytes.
pub const RESERVE_BYTES: u64 = if cfg!(sim) { 4 << 20 } else { 256 << 20 };
/// The part of [`RESERVE_BYTES`] that new log segments, which deletes need, leave for the metadata, bytes.
pub const METADATA_RESERVE_BYTES: u64 = RESERVE_BYTES / 2;
/// The part of [`METADATA_RESERVE_BYTES`] that the Raft log leaves for the metadata store, bytes.
pub const METADATA_STORE_RESERVE_BYTES: u64 = METADATA_RESERVE_BYTES / 2;
/// Maximum number of segment files that a core keeps open for reading.
pub const MAX_OPEN_FILES: usize = if cfg!(sim) { 8 } else { 256 };
/// A segment file that nobody has read for this long is closed, milliseconds: the file may have been removed, and an
/// open handle keeps its space allocated.
pub const CLOSE_IDLE_FILES_MS: u64 = 10_000;
/// Maximum number of damaged places that a report lists; all of them are counted.
pub const MAX_REPORTED_DAMAGE: usize = 1000;

const _: () = assert!(BLOCK_BYTES == 65_536);
const _: () =
    assert!(EXTENT_BLOCKS.is_multiple_of(PIECE_BLOCKS) && PIECE_BLOCKS.is_multiple_of(SLICE_BLOCKS));
// A body of unknown size can still be stored as a small blob while it fits its first buffer, which is one slice.
const _: () = assert!(SMALL_BLOB_BYTES < SLICE_PAYLOAD_BYTES);
const _: () = assert!(COPIES * 3 * PIECE_BLOCKS * BLOCK_BYTES <= BODY_BUDGET_BYTES / 2);
// Three blocks are read for what is written as one record.
const _: () = assert!(SMALL_COPIES * (4 * BLOCK_BYTES + MAX_RECORD_BODY_BYTES) <= BODY_BUDGET_BYTES / 2);
// A simulated node has room for fewer uploads.
const WIDE_UPLOADS: usize = if cfg!(sim) { 1 } else { 8 };
const _: () =
    assert!((WRITES_IN_FLIGHT + 1) * PIECE_BLOCKS * BLOCK_BYTES * WIDE_UPLOADS <= BODY_BUDGET_BYTES);
const _: () =
    assert!(2 * SMALL_BLOB_BYTES < SMALL_RESERVE_BYTES && SMALL_RESERVE_BYTES < BODY_BUDGET_BYTES / 4);
const _: () = assert!(SMALL_BLOB_BYTES + 3 * BLOCK_TRAILER_BYTES <= MAX_RECORD_BODY_BYTES);
const _: () = assert!(MAX_RECORD_BODY_BYTES * 2 <= MAX_BATCH_BYTES);
const _: () = assert!(MAX_DELETES_PER_RECORD * 24 <= MAX_RECORD_BODY_BYTES);
const _: () = assert!(MAX_BATCH_BYTES as u64 * 4 <= LOG_SEGMENT_BYTES);
const _: () = assert!(EXTENT_BYTES <= EXTENT_SEGMENT_BYTES);
const _: () = assert!(RESERVE_BYTES >= EXTENT_GROWTH_BYTES && RESERVE_BYTES >= LOG_SEGMENT_BYTES);
// Offsets are stored as u32 in units of 8 bytes.
const _: () = assert!(EXTENT_SEGMENT_BYTES <= 8 << 32 && LOG_SEGMENT_BYTES <= 8 << 32);
