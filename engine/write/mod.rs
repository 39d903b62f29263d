//! Writing a blob: the body of a PUT or of one part.
//!
//! Bytes are received directly into their place in a block ([`BlobWriter::space`]). A full block gets its trailer. Some
//! blocks at a time are hashed. A full buffer goes to the shards' sinks, which write it to extents reserved at the
//! blob's home core, with several writes in flight. The last blocks are hashed while the disk syncs them. A blob that
//! stays small is returned framed, to be stored together with the command that commits it.
//!
//! Promises: memory per request is bounded at any size ([`crate::limits`]), and a stalled body can be made to hold no
//! more than what has arrived of its current block ([`BlobWriter::park`]). A stored blob is durable and published when
//! [`BlobWriter::finish`] returns. A writer that is dropped at any point leaves nothing behind: its writes in flight
//! end before their space is free again. A stored blob is deleted again unless it is kept. Left to others: what is
//! committed, and whether the digests are those that the client declared.

mod sink;

use std::ops::Range;
use std::rc::Rc;

use futures_lite::future::zip;
use smallvec::SmallVec;

use crate::ack::{Decision, ShardState, decide};
use crate::budget::{Class as MemoryClass, Held, Holder};
use crate::buf::Buf;
use crate::error::{Error, Result};
use crate::format::BlobHeader;
use crate::frame::{BlockPlace, block_len, close_block, framed_len};
use crate::hash::{BodyHash, Digests, Plan, Ranges};
use crate::ids::DataId;
use crate::io::{self, ALIGNMENT, oneshot};
use crate::limits::{
    AMPLE_BODY_BYTES, BLOCK_BYTES, BLOCK_PAYLOAD_BYTES, BODY_BUDGET_BYTES, EXTENT_BLOCKS, EXTENT_BYTES,
    MAX_EXTENTS, PIECE_BLOCKS, SLICE_BLOCKS, SMALL_BLOB_BYTES,
};
use crate::peer::{BlobRef, ByteStore, SmallBlob};
use crate::placement::{Partition, Profile};
use sink::{ShardSink, Unhashed, Whole};

/// The most signed chunks that end in bytes not yet hashed.
const MAX_CHUNK_ENDS: usize = if cfg!(sim) { 3 } else { 64 };

/// Receives one blob.
pub struct BlobWriter {
    bytes: ByteStore,
    holder: Rc<Holder>,
    blob: BlobHeader,
    /// The exact payload size, if it was announced.
    size: Option<u64>,
    received: u64,
    closed_blocks: u64,
    filling: Option<Filling>,
    /// Maximum number of blocks in the next buffer: few after the body stalled, until it arrives steadily again.
    window: usize,
    sinks: SmallVec<[ShardSink; 1]>,
    hash: Option<BodyHash>,
    /// How many signed chunks have ended in what is not yet hashed.
    chunk_ends: usize,
    /// A buffer is on its way to the hashing service or to a sink. This is still true afterwards if that failed or the
    /// caller stopped waiting: then bytes are missing, and the writer refuses to continue.
    handing_off: bool,
}

/// The buffer being filled.
struct Filling {
    buf: Buf,
    held: Held,
    /// The buffer holds what has arrived and has no room for more.
    parked: bool,
    /// The start of the current block.
    start: usize,
    /// Payload bytes in the current block.
    fill: usize,
    /// Where the payload lies that is not yet hashed.
    unhashed: Ranges,
    /// Framed bytes after which the buffer goes to the sinks: whole blocks. A small blob never reaches it.
    limit: usize,
}

/// A blob whose bytes have all arrived.
pub enum Finished {
    /// Framed but not yet stored: it travels with the command that commits it. Its memory must be held until then.
    Small(SmallBlob, Option<Held>),
    /// Durable and published.
    Stored(StoredBlob),
}

impl Finished {
    /// The blob's name and layout.
    pub fn blob_ref(&self) -> BlobRef {
        match self {
            Finished::Small(small, _) => small.blob_ref(),
            Finished::Stored(stored) => stored.blob,
        }
    }
}

/// A stored blob that nobody has committed yet. It is deleted again when this is dropped, unless [`StoredBlob::keep`] is
/// called first.
pub struct StoredBlob {
    bytes: ByteStore,
    blob: BlobRef,
    kept: bool,
}

impl StoredBlob {
    /// Keeps the blob: it is about to be committed.
    pub fn keep(mut self) -> BlobRef {
        self.kept = true;
        self.blob
    }

    /// Deletes the blob.
    pub async fn discard(mut self) {
        self.kept = true;
        delete(&self.bytes, self.blob).await;
    }
}

impl Drop for StoredBlob {
    fn drop(&mut self) {
        if !self.kept {
            crate::reach!("stored-blob-dropped");
            let (bytes, blob) = (self.bytes.clone(), self.blob);
            io::spawn(async move { delete(&bytes, blob).await });
        }
    }
}

/// Deletes a blob to which nothing refers. If this fails, the next start sweeps it.
async fn delete(bytes: &ByteStore, blob: BlobRef) {
    if bytes.delete(blob.partition, vec![blob.data_id]).await.is_err() {
        bytes.home().segments().note_leftovers();
    }
}

/// Blocks in the next buffer: many while memory is plentiful, few otherwise, so that many slow clients share what is
/// left.
pub(crate) fn piece_blocks(budget_free: usize) -> usize {
    match budget_free {
        free if free >= BODY_BUDGET_BYTES / 2 => PIECE_BLOCKS,
        free if free >= BODY_BUDGET_BYTES / 4 => SLICE_BLOCKS,
        _ => 1,
    }
}

/// Blocks in the first buffer: few for a long blob, whose client may be slow, and one if many such clients seem to have
/// come.
pub(crate) fn first_window(size: u64, budget_free: usize) -> usize {
    if size <= (PIECE_BLOCKS * BLOCK_PAYLOAD_BYTES) as u64 {
        PIECE_BLOCKS
    } else if budget_free >= AMPLE_BODY_BYTES {
        SLICE_BLOCKS
    } else {
        1
    }
}

impl BlobWriter {
    /// A writer of the blob `data_id`, whose buffers belong to the holder. `size` is the blob's exact payload size, if
    /// it is known in advance; `plan` lists the digests to compute over it.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a profile with more than one shard; [`Error::Busy`] if no space is left to reserve,
    /// so that nothing is received and hashed in vain.
    pub fn new(
        bytes: &ByteStore,
        holder: &Rc<Holder>,
        partition: Partition,
        data_id: DataId,
        profile: Profile,
        size: Option<u64>,
        plan: Plan,
    ) -> Result<BlobWriter> {
        if profile != (Profile { k: 1, m: 0 }) {
            return Err(Error::Unsupported("a profile with more than one shard"));
        }
        if size.is_some_and(|size| framed_len(size) > MAX_EXTENTS as u64 * EXTENT_BYTES) {
            return Err(Error::Invalid("a blob of that size"));
        }
        if let Some(size) = size.filter(|size| *size > SMALL_BLOB_BYTES as u64) {
            holder.check_space(framed_len(size).min(EXTENT_BYTES) as usize)?;
        }
        let blob = BlobHeader {
            data_id,
            k: profile.k,
            m: profile.m,
            partition,
            created_ms: data_id.unix_ms(),
            ..BlobHeader::default()
        };
        let sinks = (0..profile.shards()).map(|shard| ShardSink::new(shard as u8)).collect();
        let hash = (plan != Plan::default()).then(|| bytes.hashes().open(plan));
        Ok(BlobWriter {
            bytes: bytes.clone(),
            holder: holder.clone(),
            blob,
            size,
            received: 0,
            closed_blocks: 0,
            filling: None,
            window: first_window(size.unwrap_or(u64::MAX), bytes.budget().free()),
            sinks,
            hash,
            chunk_ends: 0,
            handing_off: false,
        })
    }

    /// Payload bytes received.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The place for the next payload bytes: 1 to 65,504 of them, or none once the announced size is reached. Waits for
    /// a buffer if one is needed. The initial contents of the area are arbitrary.
    ///
    /// # Errors
    /// Errors of earlier writes; [`Error::Busy`] if no memory is available.
    pub async fn space(&mut self) -> Result<&mut [u8]> {
        self.check_intact()?;
        let left = self.size.map_or(u64::MAX, |size| size - self.received);
        if left == 0 {
            return Ok(&mut []);
        }
        if !self.has_buffer() {
            self.open_buffer(left).await?;
        }
        let filling = self.filling.as_mut().unwrap_or_else(|| unreachable!("opened above"));
        let room = (BLOCK_PAYLOAD_BYTES - filling.fill).min(usize::try_from(left).unwrap_or(usize::MAX));
        let from = filling.start + filling.fill;
        Ok(&mut filling.buf[from..from + room])
    }

    fn check_intact(&self) -> Result<()> {
        if self.handing_off {
            return Err(Error::Invalid("a blob that failed takes no more bytes"));
        }
        Ok(())
    }

    /// Whether [`BlobWriter::space`] needs no new memory.
    pub fn has_buffer(&self) -> bool {
        self.filling.as_ref().is_some_and(|filling| !filling.parked)
    }

    /// Whether everything that has arrived stays in one buffer, because the blob is small or may turn out to be.
    fn stays_together(&self) -> bool {
        self.size.unwrap_or(self.received) <= SMALL_BLOB_BYTES as u64
    }

    /// Opens a buffer for at most `left` bytes plus what was parked.
    async fn open_buffer(&mut self, left: u64) -> Result<()> {
        for sink in &mut self.sinks {
            sink.make_room().await?;
        }
        let (start, fill) = self.filling.as_ref().map_or((0, 0), |parked| (parked.start, parked.fill));
        let blocks = match self.size {
            // The blob may turn out small: then it must fit the first buffer.
            None if self.closed_blocks as usize * BLOCK_BYTES == start => SLICE_BLOCKS,
            _ => piece_blocks(self.bytes.budget().free()).min(self.window),
        };
        let left_in_extent = EXTENT_BLOCKS - self.closed_blocks as usize % EXTENT_BLOCKS;
        let limit = blocks.min(left_in_extent) * BLOCK_BYTES;
        let (class, limit, wanted) = match self.size {
            // A small blob stays in one buffer.
            Some(size) if size <= SMALL_BLOB_BYTES as u64 => {
                (MemoryClass::Small, usize::MAX, framed_len(size) as usize)
            }
            Some(_) => {
                let framed_left = usize::try_from(framed_len(fill as u64 + left)).unwrap_or(usize::MAX);
                (MemoryClass::Large, limit, limit.min(framed_left))
            }
            None => (MemoryClass::Large, limit, limit),
        };
        let wanted = wanted.max(ALIGNMENT).next_power_of_two();
        let held = self.holder.acquire(class, wanted).await?;
        let mut buf = Buf::with_capacity(wanted);
        buf.set_len(buf.capacity());
        if let Some(parked) = self.filling.take() {
            buf[..start + fill].copy_from_slice(&parked.buf[..start + fill]);
        }
        self.filling =
            Some(Filling { buf, held, parked: false, start, fill, unhashed: Ranges::new(), limit });
        Ok(())
    }

    /// Releases the memory that a stalled body does not need: whole blocks are written, and the rest moves to a buffer
    /// of its size.
    ///
    /// # Errors
    /// Errors of earlier writes.
    pub async fn park(&mut self) -> Result<()> {
        self.check_intact()?;
        self.window = 1;
        let hashes = !crate::canary!("parked-unhashed");
        if hashes && self.filling.as_ref().is_some_and(|filling| !filling.parked) {
            self.hash().await;
        }
        let together = self.stays_together();
        let Some(filling) = self.filling.as_mut().filter(|filling| !filling.parked) else { return Ok(()) };
        let blocks = filling.start;
        let kept = if together { 0..blocks + filling.fill } else { blocks..blocks + filling.fill };
        if kept.is_empty() && blocks == 0 {
            self.filling = None;
            return Ok(());
        }
        // The block may turn out to be complete.
        let needed = kept.len() - filling.fill + block_len(filling.fill);
        if blocks == 0 && needed.next_multiple_of(ALIGNMENT) >= filling.buf.capacity() {
            return Ok(());
        }
        let mut rest = Buf::with_capacity(needed);
        rest.extend_from_slice(&filling.buf[kept]);
        rest.set_len(rest.capacity());
        if together || blocks == 0 {
            filling.buf = rest;
            filling.held.shrink(filling.buf.capacity());
            filling.parked = true;
            crate::reach!("upload-parked");
            return Ok(());
        }
        crate::reach!("upload-parked-behind-its-whole-blocks");
        let (fill, limit) = (filling.fill, filling.limit);
        let held = filling.held.split(rest.capacity());
        self.handing_off = true;
        self.flush().await?;
        self.handing_off = false;
        self.filling = (fill > 0).then_some(Filling {
            buf: rest,
            held,
            parked: true,
            start: 0,
            fill,
            unhashed: Ranges::new(),
            limit,
        });
        Ok(())
    }

    /// Reports that the first `count` bytes of [`BlobWriter::space`] now hold payload.
    ///
    /// # Errors
    /// [`Error::Invalid`] for more bytes than there was space for; errors of earlier writes, including [`Error::Full`].
    /// The writer is unusable after an error.
    pub async fn advance(&mut self, count: usize) -> Result<()> {
        self.check_intact()?;
        if count == 0 {
            return Ok(());
        }
        let left = self.size.map_or(u64::MAX, |size| size - self.received);
        let Some(filling) = &mut self.filling else { return Err(Error::Invalid("bytes without space")) };
        if count > BLOCK_PAYLOAD_BYTES - filling.fill || count as u64 > left {
            return Err(Error::Invalid("more bytes than announced"));
        }
        let at = filling.start + filling.fill;
        match filling.unhashed.last_mut().filter(|range| range.end == at) {
            Some(range) => range.end += count,
            None => filling.unhashed.push(at..at + count),
        }
        filling.fill += count;
        self.received += count as u64;
        if filling.fill == BLOCK_PAYLOAD_BYTES {
            self.close_block().await?;
        }
        Ok(())
    }

    /// Writes the trailer of the current block, hashes the blocks that are due, and hands on a full buffer.
    async fn close_block(&mut self) -> Result<()> {
        let Some(filling) = &mut self.filling else { return Ok(()) };
        let place = BlockPlace { data_id: self.blob.data_id, shard: 0, block: self.closed_blocks as u32 };
        filling.start += close_block(&mut filling.buf[filling.start..], filling.fill, place);
        filling.fill = 0;
        self.closed_blocks += 1;
        let full = filling.start >= filling.limit;
        // The last blocks of a large blob are hashed later.
        let left = self.size.map(|size| size - self.received);
        let due = match left {
            _ if io::requests_in_flight() < 2 => true,
            Some(0) => false,
            Some(left) if left <= BLOCK_PAYLOAD_BYTES as u64 && !full => false,
            _ => full || filling.unhashed.len() >= SLICE_BLOCKS,
        };
        if due {
            self.hash().await;
        }
        if full && left != Some(0) {
            self.window = (self.window * SLICE_BLOCKS).min(PIECE_BLOCKS);
            self.handing_off = true;
            self.flush().await?;
            self.handing_off = false;
        }
        Ok(())
    }

    /// Notes that a signed chunk ends after the bytes received.
    pub async fn end_chunk(&mut self) {
        let Some(hash) = &mut self.hash else { return };
        let unhashed =
            self.filling.as_ref().map_or(0, |filling| filling.unhashed.iter().map(Range::len).sum());
        hash.end_chunk(unhashed);
        self.chunk_ends += 1;
        if self.chunk_ends >= MAX_CHUNK_ENDS {
            self.hash().await;
        }
    }

    /// The SHA-256 of the first signed chunk that has ended and was not returned before, if it is known.
    pub fn next_chunk(&mut self) -> Option<[u8; 32]> {
        self.hash.as_mut()?.next_chunk()
    }

    /// Hashes what has arrived.
    async fn hash(&mut self) {
        let Some(hash) = &mut self.hash else { return };
        let Some(mut filling) = self.filling.take() else { return };
        self.handing_off = true;
        filling.buf = hash.update(filling.buf, std::mem::take(&mut filling.unhashed), false).await;
        self.handing_off = false;
        self.chunk_ends = 0;
        self.filling = Some(filling);
    }

    async fn flush(&mut self) -> Result<()> {
        let Some(filling) = self.filling.take() else { return Ok(()) };
        if filling.start == 0 {
            return Ok(());
        }
        // One sink takes everything. For larger k, this is where slices would be distributed and parity added.
        let [sink] = &mut self.sinks[..] else { return Err(Error::Unsupported("more than one shard")) };
        let whole = Whole { partition: self.blob.partition, framed: self.size.map(framed_len) };
        let Filling { buf, held, start, mut unhashed, .. } = filling;
        if self.hash.is_none() {
            unhashed.clear();
        }
        sink.write(&self.bytes, &self.holder, whole, Unhashed { buf, held, ranges: unhashed }, start).await
    }

    /// Ends the payload.
    ///
    /// # Errors
    /// [`Error::Invalid`] for fewer bytes than announced.
    async fn end(&mut self) -> Result<()> {
        self.check_intact()?;
        if self.size.is_some_and(|size| size != self.received) {
            return Err(Error::Invalid("fewer bytes than announced"));
        }
        match &self.filling {
            Some(filling) if filling.fill > 0 => self.close_block().await,
            _ => Ok(()),
        }
    }

    /// Completes the blob and returns its digests: a small one is returned, any other is synced and published. If the
    /// caller stops waiting in the meantime, the blob is deleted again.
    ///
    /// # Errors
    /// [`Error::Invalid`] for fewer bytes than announced; [`Error::Full`], [`Error::Io`], [`Error::Busy`] if too few
    /// shards became durable.
    pub async fn finish(mut self) -> Result<(Finished, Digests)> {
        self.end().await?;
        self.blob.payload_bytes = self.received;
        if self.received <= SMALL_BLOB_BYTES as u64 {
            self.hash().await;
            let digests = self.hash.take().map(BodyHash::finish).unwrap_or_default();
            let (framed, held) = match self.filling.take() {
                Some(Filling { buf, mut held, start, .. }) => {
                    held.shrink(start);
                    (buf[..start].to_vec(), Some(held))
                }
                None => (Vec::new(), None),
            };
            let profile = Profile { k: self.blob.k, m: self.blob.m }.for_small();
            let header = BlobHeader {
                k: profile.k,
                m: profile.m,
                last: true,
                blocks: self.closed_blocks as u32,
                ..self.blob
            };
            return Ok((Finished::Small(SmallBlob { header, framed }, held), digests));
        }
        let (sender, finished) = oneshot();
        io::spawn(async move {
            let bytes = self.bytes.clone();
            let stored = self.store().await;
            sender.send(stored.map(|(blob, digests)| (StoredBlob { bytes, blob, kept: false }, digests)));
        });
        let (stored, digests) = finished.await.map_err(|_| Error::Closed)??;
        Ok((Finished::Stored(stored), digests))
    }

    async fn store(mut self) -> Result<(BlobRef, Digests)> {
        self.flush().await?;
        let profile = Profile { k: self.blob.k, m: self.blob.m };
        let (mut written, mut unhashed) = (SmallVec::<[Result<ShardSink>; 1]>::new(), None);
        for mut sink in std::mem::take(&mut self.sinks) {
            let result = sink.wait_for_all().await;
            written.push(result.map(|last| {
                unhashed = last;
                sink
            }));
        }
        let hash = self.hash.take();
        let hurry = hash.as_ref().map(BodyHash::hurry);
        let hashed = async {
            let Some(mut hash) = hash else { return Digests::default() };
            if let Some(Unhashed { buf, ranges, held }) = unhashed {
                drop(hash.update(buf, ranges, true).await);
                drop(held);
            }
            hash.finish()
        };
        let published = async {
            let mut states: SmallVec<[ShardState; 8]> = SmallVec::new();
            let mut failed = None;
            for sink in written {
                let result = async { sink?.publish(&self.bytes, self.blob).await };
                let error = result.await.err();
                states.push(if error.is_none() { ShardState::Durable } else { ShardState::Failed });
                failed = failed.or(error);
            }
            if let Some(hurry) = hurry {
                hurry.now();
            }
            match decide(profile, &states) {
                Decision::Acknowledge { .. } => Ok(()),
                _ => Err(failed.unwrap_or(Error::Busy("too few shards are durable"))),
            }
        };
        let (published, digests) = zip(published, hashed).await;
        published?;
        let blob = BlobRef {
            data_id: self.blob.data_id,
            partition: self.blob.partition,
            profile,
            codec: self.blob.codec,
            size: self.received,
        };
        Ok((blob, digests))
    }
}

#[cfg(test)]
mod tests;
