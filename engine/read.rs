//! Reading a blob, or a range of it.
//!
//! Only the blocks that the range covers are read, up to 1 MiB at a time with the next piece read ahead, and each block
//! is verified before any of its bytes is handed out.
//!
//! Promises: a reader returns what was written, or an error; extents stay in place while they are read; memory per
//! request is bounded, and none is held after [`BlobReader::release`]. Left to others: which version is read, and
//! repair.

use std::ops::Range;
use std::rc::Rc;

use crate::budget::{Class as MemoryClass, Held, Holder};
use crate::buf::Buf;
use crate::error::{Corrupt, Error, Result};
use crate::frame::{BlockPlace, block_len, blocks_of, framed_len, payload_of_block, verify_block};
use crate::io::{self, JoinHandle, align_down, align_up};
use crate::limits::{
    BLOCK_BYTES, BLOCK_PAYLOAD_BYTES, BODY_BUDGET_BYTES, EXTENT_BLOCKS, PIECE_BLOCKS, SLICE_BLOCKS,
    SMALL_BLOB_BYTES,
};
use crate::peer::{BlobRef, ByteStore, Hold, Located};
use crate::placement::Profile;
use crate::segment::{Files, Location};
use crate::write::{first_window, piece_blocks};

/// Reads one range of one blob from front to back.
pub struct BlobReader {
    bytes: ByteStore,
    holder: Rc<Holder>,
    class: MemoryClass,
    blob: BlobRef,
    /// The part of the range that is still to be read.
    range: Range<u64>,
    located: Option<Rc<Located>>,
    /// Where a record was not found though the index named it: it has moved meanwhile, or is rotten.
    not_found_at: Option<Location>,
    /// The blocks still to be handed out.
    blocks: Range<u64>,
    piece: Option<Piece>,
    /// The verified bytes in the piece.
    verified: Range<usize>,
    /// Maximum number of blocks in the next piece: few at first and after a release, more while the bytes are consumed.
    window: usize,
    ahead: Option<JoinHandle<Result<Piece>>>,
}

/// A run of blocks in memory.
struct Piece {
    buf: Buf,
    /// The start of the first block.
    start: usize,
    blocks: Range<u64>,
    held: Held,
}

impl BlobReader {
    /// A reader of the payload bytes `range`, clipped to the blob's size, whose buffers belong to the holder. `located`
    /// is the location of the blob's first shard, if the caller knows it.
    pub fn new(
        bytes: &ByteStore,
        holder: &Rc<Holder>,
        blob: BlobRef,
        located: Option<Located>,
        range: Range<u64>,
    ) -> BlobReader {
        let range = range.start.min(blob.size)..range.end.min(blob.size);
        let off = BLOCK_PAYLOAD_BYTES as u64;
        let range = match range.start >= off && crate::canary!("range-off-by-one-block") {
            true => range.start - off..range.end - off,
            false => range,
        };
        let length = range.end.saturating_sub(range.start);
        BlobReader {
            bytes: bytes.clone(),
            holder: holder.clone(),
            class: if length <= SMALL_BLOB_BYTES as u64 { MemoryClass::Small } else { MemoryClass::Large },
            blob,
            located: located.map(Rc::new),
            not_found_at: None,
            blocks: blocks_of(range.clone()),
            range,
            piece: None,
            verified: 0..0,
            window: first_window(length, bytes.budget().free()),
            ahead: None,
        }
    }

    /// The next verified payload bytes, at most one block; none at the end of the range. The same bytes are returned
    /// until they are [consumed](BlobReader::consume).
    ///
    /// # Errors
    /// [`Error::Corrupt`] for rotten blocks, [`Error::NotFound`] if the blob is not stored (before the first byte it
    /// may have been deleted since it was resolved), [`Error::Busy`] if no memory is available, [`Error::Io`]. The same
    /// call may be retried.
    pub async fn fill(&mut self) -> Result<&[u8]> {
        if self.verified.is_empty() && !self.blocks.is_empty() {
            self.verified = self.load_verified().await?;
        }
        let bytes = self.verified.clone();
        Ok(self.piece.as_ref().map_or(&[], |piece| &piece.buf[bytes]))
    }

    /// Whether [`BlobReader::fill`] returns bytes without a read.
    pub fn is_loaded(&self) -> bool {
        self.piece.as_ref().is_some_and(|piece| piece.blocks.contains(&self.blocks.start))
    }

    /// Reports that the first `count` bytes that [`BlobReader::fill`] returned were consumed.
    pub fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.verified.len(), "more than was returned");
        self.verified.start += count;
        self.range.start += count as u64;
        if self.verified.is_empty() && count > 0 {
            self.blocks.start += 1;
        }
    }

    /// Releases all memory. What was not consumed is read again when it is needed, even if the blob is deleted
    /// meanwhile. A small blob that is gone already stays in memory: it could not be read again.
    pub async fn release(&mut self) {
        if self.hold().await.is_err() {
            crate::reach!("read-buffer-kept");
            return;
        }
        crate::reach!("read-buffer-released", !self.verified.is_empty());
        (self.piece, self.ahead, self.verified, self.window) = (None, None, 0..0, 1);
    }

    /// The accounting of the buffer that was read last, without the buffer.
    pub fn into_held(self) -> Option<Held> {
        self.piece.map(|piece| piece.held)
    }

    /// Like [`BlobReader::fill`], but consumes what it returns; `None` at the end.
    ///
    /// # Errors
    /// As [`BlobReader::fill`].
    pub async fn next(&mut self) -> Result<Option<&[u8]>> {
        self.fill().await?;
        let bytes = self.verified.clone();
        self.consume(bytes.len());
        Ok(self.piece.as_ref().map(|piece| &piece.buf[bytes]).filter(|bytes| !bytes.is_empty()))
    }

    /// Loads the next block, even if it has moved. Returns the place of the requested part of its payload in the piece.
    async fn load_verified(&mut self) -> Result<Range<usize>> {
        loop {
            match self.try_load_verified().await {
                Ok(bytes) => return Ok(bytes),
                Err(error) if self.may_have_moved(&error) => {
                    crate::reach!("record-located-again");
                    if let Some(stale) = self.located.take() {
                        // The file may be a different one by now, or removed and kept alive by the handle.
                        let files = self.bytes.files();
                        stale.locations.iter().for_each(|at| files.forget(stale.core, at.class, at.segment));
                        self.not_found_at = stale.locations.first().copied();
                    }
                    self.piece = None;
                }
                Err(error) => {
                    if matches!(error, Error::Corrupt(_)) {
                        self.bytes.note_corrupt_read();
                    }
                    self.piece = None;
                    return Err(error);
                }
            }
        }
    }

    /// Loads the next block, verifies it, and returns the place of the requested part of its payload in the piece.
    async fn try_load_verified(&mut self) -> Result<Range<usize>> {
        let block = self.blocks.start;
        if self.piece.as_ref().is_none_or(|piece| !piece.blocks.contains(&block)) {
            self.piece = None;
            self.piece = Some(self.load().await?);
        }
        let piece = self.piece.as_ref().unwrap_or_else(|| unreachable!("loaded above"));
        let start = piece.start + (block - piece.blocks.start) as usize * BLOCK_BYTES;
        let len = block_len(payload_of_block(self.blob.size, block));
        let framed = piece.buf.get(start..start + len).ok_or(Corrupt::Short)?;
        let place = BlockPlace { data_id: self.blob.data_id, shard: 0, block: block as u32 };
        let payload = verify_block(framed, place)?.len();
        if payload != payload_of_block(self.blob.size, block) {
            return Err(Corrupt::Block(block as u32).into());
        }
        let first = block * BLOCK_PAYLOAD_BYTES as u64;
        let from = self.range.start.saturating_sub(first) as usize;
        let to = payload.min((self.range.end - first) as usize);
        Ok(start + from..start + to)
    }

    /// A small blob's record is usually not pinned: it may have been rewritten elsewhere, and its segment reused, even
    /// more than once while its reader waits for a client.
    fn may_have_moved(&self, error: &Error) -> bool {
        let gone = match error {
            Error::Corrupt(_) | Error::NotFound => true,
            Error::Io { kind, .. } => *kind == std::io::ErrorKind::NotFound,
            _ => false,
        };
        let small = self.blob.size <= SMALL_BLOB_BYTES as u64;
        let place = self.located.as_ref().and_then(|located| located.locations.first().copied());
        gone && small && place.is_some() && place != self.not_found_at
    }

    async fn load(&mut self) -> Result<Piece> {
        let located = self.locate().await?;
        let piece = match self.ahead.take() {
            Some(ahead) => ahead.await.ok_or(Error::Closed)??,
            None => {
                let plan = self.plan(&located, self.blocks.start);
                let held = self.holder.acquire(self.class, plan.aligned()).await?;
                plan.read(self.bytes.files(), located.clone(), held).await?
            }
        };
        self.window = (self.window * SLICE_BLOCKS).min(PIECE_BLOCKS);
        self.read_ahead(&located, piece.blocks.end);
        Ok(piece)
    }

    /// Starts reading the next piece while memory is plentiful. A client that does not read its bytes must not hold two
    /// pieces when others wait.
    fn read_ahead(&mut self, located: &Rc<Located>, from: u64) {
        let plenty = self.bytes.budget().free() >= BODY_BUDGET_BYTES / 2 && self.window == PIECE_BLOCKS;
        if from >= self.blocks.end || !plenty {
            return;
        }
        let plan = self.plan(located, from);
        if let Some(held) = self.holder.try_acquire(self.class, plan.aligned()) {
            let (files, located) = (self.bytes.files(), located.clone());
            self.ahead = Some(io::spawn(async move { plan.read(files, located, held).await }));
        }
    }

    async fn locate(&mut self) -> Result<Rc<Located>> {
        if let Some(located) = &self.located {
            return Ok(located.clone());
        }
        let located = Rc::new(locate(&self.bytes, &self.blob, Hold::Extents).await?);
        self.located = Some(located.clone());
        Ok(located)
    }

    /// Keeps the blob in place until this reader is dropped, also the record of a small one: it is read late.
    async fn hold(&mut self) -> Result<()> {
        if self.located.as_ref().is_some_and(|located| !located.is_held()) {
            self.located = Some(Rc::new(locate(&self.bytes, &self.blob, Hold::All).await?));
        }
        Ok(())
    }

    /// The blocks that one read takes from `from` on: within the range and within one extent.
    fn plan(&self, located: &Located, from: u64) -> Plan {
        let blocks = piece_blocks(self.bytes.budget().free()).min(self.window) as u64;
        let extent = from / EXTENT_BLOCKS as u64;
        let mut end = self.blocks.end.min((extent + 1) * EXTENT_BLOCKS as u64);
        if self.blob.size > SMALL_BLOB_BYTES as u64 {
            // Later pieces start on a multiple of their size, whatever the first block of the range was.
            end = end.min(if blocks == PIECE_BLOCKS as u64 {
                (from / blocks + 1) * blocks
            } else {
                from + blocks
            });
        }
        let in_extent = (from % EXTENT_BLOCKS as u64) * BLOCK_BYTES as u64;
        let last = end - 1;
        let len =
            (last - from) * BLOCK_BYTES as u64 + block_len(payload_of_block(self.blob.size, last)) as u64;
        let extent_payload = (EXTENT_BLOCKS * BLOCK_PAYLOAD_BYTES) as u64;
        let expected = framed_len((self.blob.size - extent * extent_payload).min(extent_payload));
        let location = located.locations.get(extent as usize);
        let location = location.filter(|location| u64::from(location.length) == expected).copied();
        Plan { location, offset: in_extent, len: len as usize, blocks: from..end }
    }
}

/// One read.
struct Plan {
    /// `None` if the location found cannot hold the blob.
    location: Option<Location>,
    /// The start of the first block in the location.
    offset: u64,
    /// Framed bytes.
    len: usize,
    blocks: Range<u64>,
}

impl Plan {
    /// Maximum number of bytes that the aligned read takes.
    fn aligned(&self) -> usize {
        self.window().map_or(0, |(from, to)| (to - from) as usize)
    }

    fn window(&self) -> Option<(u64, u64)> {
        let start = self.location?.offset + self.offset;
        Some((align_down(start), align_up(start + self.len as u64)))
    }

    async fn read(self, files: Rc<Files>, located: Rc<Located>, held: Held) -> Result<Piece> {
        let (Some(location), Some((from, to))) = (self.location, self.window()) else {
            return Err(Corrupt::Field("length of an extent").into());
        };
        let file = files.get(located.core, location.class, location.segment).await?;
        let read = file.read_at(from, (to - from) as usize).await;
        let buf = read.map_err(|error| Error::io("read a blob", &error))?;
        let start = (location.offset + self.offset - from) as usize;
        Ok(Piece { buf, start, blocks: self.blocks, held })
    }
}

/// Finds the location of a blob. What `hold` names stays in place for as long as the result lives.
///
/// # Errors
/// [`Error::NotFound`] if the blob is not stored; [`Error::Unsupported`] for a profile with more than one shard.
pub async fn locate(bytes: &ByteStore, blob: &BlobRef, hold: Hold) -> Result<Located> {
    if blob.profile != (Profile { k: 1, m: 0 }) || blob.codec != 0 {
        return Err(Error::Unsupported("a profile with more than one shard"));
    }
    bytes.locate(blob.partition, blob.data_id, 0, hold).await
}

/// Reads a whole range into memory: for small documents and tests.
///
/// # Errors
/// As [`BlobReader::next`]; [`Error::Invalid`] if the range is longer than `limit` bytes.
pub async fn read_to_vec(
    bytes: &ByteStore,
    blob: BlobRef,
    located: Option<Located>,
    range: Range<u64>,
    limit: usize,
) -> Result<Vec<u8>> {
    let mut reader = BlobReader::new(bytes, &bytes.budget().holder(), blob, located, range);
    let len = reader.range.end.saturating_sub(reader.range.start);
    if len > limit as u64 {
        return Err(Error::Invalid("a range longer than the limit"));
    }
    let mut out = Vec::with_capacity(len as usize);
    while let Some(piece) = reader.next().await? {
        out.extend_from_slice(piece);
    }
    Ok(out)
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
