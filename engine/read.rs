//! Reading a blob, or a range of it.
//!
//! Only the blocks that the range covers are read, up to 1 MiB at a time with the next piece read ahead, and
//! each block is verified before any of its bytes is handed out.
//!
//! Promises: what comes out is what was written, or an error; extents stay in place while they are read; memory
//! per request is bounded. It leaves to others which version is read, and repair.

use std::ops::Range;
use std::rc::Rc;

use crate::buf::Buf;
use crate::error::{Corrupt, Error, Result};
use crate::frame::{BlockPlace, block_len, blocks_of, framed_len, payload_of_block, verify_block};
use crate::io::{self, JoinHandle, Permit, align_down, align_up};
use crate::limits::{
    BLOCK_BYTES, BLOCK_PAYLOAD_BYTES, BODY_BUDGET_BYTES, EXTENT_BLOCKS, PIECE_BLOCKS, SMALL_BLOB_BYTES,
};
use crate::peer::{BlobRef, ByteStore, Hold, Located};
use crate::placement::Profile;
use crate::segment::Files;
use crate::write::piece_blocks;

/// Reads one range of one blob from front to back.
pub struct BlobReader {
    bytes: ByteStore,
    blob: BlobRef,
    range: Range<u64>,
    located: Option<Rc<Located>>,
    /// A record that moved was looked for again already.
    relocated: bool,
    /// The next block to hand out, and the end.
    blocks: Range<u64>,
    piece: Option<Piece>,
    ahead: Option<JoinHandle<Result<Piece>>>,
}

/// A run of blocks in memory.
struct Piece {
    buf: Buf,
    /// Where the first block starts.
    start: usize,
    blocks: Range<u64>,
    _permit: Permit,
}

impl BlobReader {
    /// A reader of the payload bytes `range`, cut to the blob's size. `located` is where its first shard lies, if
    /// the caller knows.
    pub fn new(bytes: &ByteStore, blob: BlobRef, located: Option<Located>, range: Range<u64>) -> BlobReader {
        let range = range.start.min(blob.size)..range.end.min(blob.size);
        let off = BLOCK_PAYLOAD_BYTES as u64;
        let range = match range.start >= off && crate::canary!("range-off-by-one-block") {
            true => range.start - off..range.end - off,
            false => range,
        };
        BlobReader {
            bytes: bytes.clone(),
            blob,
            located: located.map(Rc::new),
            relocated: false,
            blocks: blocks_of(range.clone()),
            range,
            piece: None,
            ahead: None,
        }
    }

    /// The next verified payload bytes, of one block at most; `None` at the end of the range.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for rotten blocks, [`Error::NotFound`] where the blob is not stored, [`Error::Io`]. The
    /// same call may be tried again.
    pub async fn next(&mut self) -> Result<Option<&[u8]>> {
        if self.blocks.is_empty() {
            return Ok(None);
        }
        let bytes = self.found().await?;
        self.blocks.start += 1;
        Ok(self.piece.as_ref().map(|piece| &piece.buf[bytes]))
    }

    /// Loads and verifies the next block, so that its reader knows that it is there before it promises it.
    ///
    /// # Errors
    /// As [`BlobReader::next`]. [`Error::NotFound`] may mean that the blob was deleted since it was resolved.
    pub async fn prime(&mut self) -> Result<()> {
        if !self.blocks.is_empty() {
            self.found().await?;
        }
        Ok(())
    }

    /// Loads the next block, also if it has moved; tells where the wanted part of its payload lies in the piece.
    async fn found(&mut self) -> Result<Range<usize>> {
        loop {
            match self.verified().await {
                Ok(bytes) => return Ok(bytes),
                Err(error) if self.may_have_moved(&error) => {
                    if let Some(stale) = &self.located {
                        // The file may be another one by now, or removed and kept alive by the handle.
                        let files = self.bytes.files();
                        stale.locations.iter().for_each(|at| files.forget(stale.core, at.class, at.segment));
                    }
                    (self.relocated, self.located, self.piece) = (true, None, None);
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

    /// Loads the next block, verifies it, and tells where the wanted part of its payload lies in the piece.
    async fn verified(&mut self) -> Result<Range<usize>> {
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

    /// A small blob's record is mostly not pinned: it may have been rewritten elsewhere, and its segment reused.
    fn may_have_moved(&self, error: &Error) -> bool {
        let gone = match error {
            Error::Corrupt(_) | Error::NotFound => true,
            Error::Io { kind, .. } => *kind == std::io::ErrorKind::NotFound,
            _ => false,
        };
        gone && self.located.is_some() && !self.relocated && self.blob.size <= SMALL_BLOB_BYTES as u64
    }

    async fn load(&mut self) -> Result<Piece> {
        let located = self.locate().await?;
        let piece = match self.ahead.take() {
            Some(ahead) => ahead.await.ok_or(Error::Closed)??,
            None => {
                let plan = self.plan(&located, self.blocks.start, self.bytes.budget_free());
                let permit = self.bytes.budget().acquire(plan.aligned()).await;
                plan.read(self.bytes.files(), located.clone(), permit).await?
            }
        };
        self.read_ahead(&located, piece.blocks.end);
        Ok(piece)
    }

    /// Starts reading the next piece while memory is plenty; a client that does not take its bytes must not hold
    /// two pieces when others wait.
    fn read_ahead(&mut self, located: &Rc<Located>, from: u64) {
        let free = self.bytes.budget_free();
        if from >= self.blocks.end || free < BODY_BUDGET_BYTES / 2 {
            return;
        }
        let plan = self.plan(located, from, free);
        if let Some(permit) = self.bytes.budget().try_acquire(plan.aligned()) {
            let (files, located) = (self.bytes.files(), located.clone());
            self.ahead = Some(io::spawn(async move { plan.read(files, located, permit).await }));
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

    /// The blocks from `from` on that one read takes: within the range and one extent.
    fn plan(&self, located: &Located, from: u64, budget_free: usize) -> Plan {
        let blocks = piece_blocks(budget_free) as u64;
        let extent = from / EXTENT_BLOCKS as u64;
        let mut end = self.blocks.end.min((extent + 1) * EXTENT_BLOCKS as u64);
        if self.blob.size > SMALL_BLOB_BYTES as u64 {
            // Later pieces start on a multiple of their size, whatever the range's first block was.
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
    /// `None` where the place found cannot hold the blob.
    location: Option<crate::segment::Location>,
    /// Where the first block starts in the location.
    offset: u64,
    /// Framed bytes.
    len: usize,
    blocks: Range<u64>,
}

impl Plan {
    /// Bytes that the aligned read takes at most.
    fn aligned(&self) -> usize {
        self.window().map_or(0, |(from, to)| (to - from) as usize)
    }

    fn window(&self) -> Option<(u64, u64)> {
        let start = self.location?.offset + self.offset;
        Some((align_down(start), align_up(start + self.len as u64)))
    }

    async fn read(self, files: Rc<Files>, located: Rc<Located>, permit: Permit) -> Result<Piece> {
        let (Some(location), Some((from, to))) = (self.location, self.window()) else {
            return Err(Corrupt::Field("length of an extent").into());
        };
        let file = files.get(located.core, location.class, location.segment).await?;
        let read = file.read_at(from, (to - from) as usize).await;
        let buf = read.map_err(|error| Error::io("read a blob", &error))?;
        let start = (location.offset + self.offset - from) as usize;
        Ok(Piece { buf, start, blocks: self.blocks, _permit: permit })
    }
}

/// Finds where a blob lies. What is to be held stays there while the answer lives.
///
/// # Errors
/// [`Error::NotFound`] where the blob is not stored; [`Error::Unsupported`] for a profile of more than one shard.
pub async fn locate(bytes: &ByteStore, blob: &BlobRef, hold: Hold) -> Result<Located> {
    if blob.profile != (Profile { k: 1, m: 0 }) || blob.codec != 0 {
        return Err(Error::Unsupported("a profile with more than one shard"));
    }
    bytes.locate(blob.partition, blob.data_id, 0, hold).await
}

/// Reads a whole range into memory: for small documents and tests.
///
/// # Errors
/// As [`BlobReader::next`]; [`Error::Invalid`] where the range is longer than `limit` bytes.
pub async fn read_to_vec(
    bytes: &ByteStore,
    blob: BlobRef,
    located: Option<Located>,
    range: Range<u64>,
    limit: usize,
) -> Result<Vec<u8>> {
    let mut reader = BlobReader::new(bytes, blob, located, range);
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
