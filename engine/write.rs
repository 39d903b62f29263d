//! Writing a blob: the body of a PUT or of one part.
//!
//! Bytes are received directly into their place in a block ([`BlobWriter::space`]). A full block is hashed and gets its
//! trailer. A full buffer goes to the shards' sinks, which write it to extents reserved at the blob's home core, with
//! several writes in flight. A blob that stays small is returned framed, to be stored together with the command that
//! commits it.
//!
//! Promises: memory per request is bounded at any size ([`crate::limits`]), and a stalled body can be made to hold no
//! more than what has arrived of its current block ([`BlobWriter::park`]). A stored blob is durable and published when
//! [`BlobWriter::finish`] returns. A writer that is dropped at any point leaves nothing behind: its writes in flight
//! end before their space is free again. Left to others: what is committed.

use std::collections::VecDeque;
use std::rc::Rc;

use smallvec::SmallVec;

use crate::ack::{Decision, ShardState, decide};
use crate::budget::{Class as MemoryClass, Held, Holder};
use crate::buf::Buf;
use crate::error::{Error, Result};
use crate::format::BlobHeader;
use crate::frame::{BlockPlace, block_len, block_of, close_block, framed_len};
use crate::hash::{BodyHash, Digests, Plan};
use crate::ids::DataId;
use crate::io::{self, ALIGNMENT, File, JoinHandle, oneshot};
use crate::limits::{
    BLOCK_BYTES, BLOCK_PAYLOAD_BYTES, BODY_BUDGET_BYTES, EXTENT_BLOCKS, EXTENT_BYTES, MAX_EXTENTS,
    PIECE_BLOCKS, SLICE_BLOCKS, SMALL_BLOB_BYTES, WRITES_IN_FLIGHT,
};
use crate::peer::{BlobRef, ByteStore, Place, SmallBlob, WrittenExtent};
use crate::placement::{Partition, Profile};
use crate::segment::Class;

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
    ended: bool,
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
    /// Framed bytes after which the buffer goes to the sinks: whole blocks. A small blob never reaches it.
    limit: usize,
}

/// A blob whose bytes have all arrived.
pub enum Finished {
    /// Framed but not yet stored: it travels with the command that commits it. Its memory must be held until then.
    Small(SmallBlob, Option<Held>),
    /// Durable and published.
    Stored(BlobRef),
}

impl Finished {
    /// The blob's name and layout.
    pub fn blob_ref(&self) -> BlobRef {
        match self {
            Finished::Small(small, _) => small.blob_ref(),
            Finished::Stored(blob) => *blob,
        }
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

/// Blocks in the first buffer: few for a long blob, whose client may be slow.
pub(crate) fn first_window(size: u64) -> usize {
    if size <= (PIECE_BLOCKS * BLOCK_PAYLOAD_BYTES) as u64 { PIECE_BLOCKS } else { SLICE_BLOCKS }
}

impl BlobWriter {
    /// A writer of the blob `data_id`, whose buffers belong to the holder. `size` is the blob's exact payload size, if
    /// it is known in advance; `plan` lists the digests to compute over it.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a profile with more than one shard.
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
            window: first_window(size.unwrap_or(u64::MAX)),
            sinks,
            hash,
            ended: false,
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
        if self.handing_off || self.ended {
            return Err(Error::Invalid("a blob that failed or ended takes no more bytes"));
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
        self.filling = Some(Filling { buf, held, parked: false, start, fill, limit });
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
            return Ok(());
        }
        let (fill, limit) = (filling.fill, filling.limit);
        let held = filling.held.split(rest.capacity());
        self.handing_off = true;
        self.flush().await?;
        self.handing_off = false;
        self.filling = (fill > 0).then_some(Filling { buf: rest, held, parked: true, start: 0, fill, limit });
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
        filling.fill += count;
        self.received += count as u64;
        if filling.fill == BLOCK_PAYLOAD_BYTES {
            self.close_block().await?;
        }
        Ok(())
    }

    /// Hashes the current block and writes its trailer; hands on a full buffer.
    async fn close_block(&mut self) -> Result<()> {
        let Some(mut filling) = self.filling.take() else { return Ok(()) };
        self.handing_off = true;
        let payload = filling.start..filling.start + filling.fill;
        if let Some(hash) = &mut self.hash {
            filling.buf = hash.update(filling.buf, payload).await;
        }
        let place = BlockPlace { data_id: self.blob.data_id, shard: 0, block: self.closed_blocks as u32 };
        filling.start += close_block(&mut filling.buf[filling.start..], filling.fill, place);
        filling.fill = 0;
        self.closed_blocks += 1;
        let full = filling.start >= filling.limit;
        self.filling = Some(filling);
        if full {
            self.window = (self.window * SLICE_BLOCKS).min(PIECE_BLOCKS);
            self.flush().await?;
        }
        self.handing_off = false;
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        let Some(filling) = self.filling.take() else { return Ok(()) };
        if filling.start == 0 {
            return Ok(());
        }
        // One sink takes everything. For larger k, this is where slices would be distributed and parity added.
        let [sink] = &mut self.sinks[..] else { return Err(Error::Unsupported("more than one shard")) };
        let whole = Whole { partition: self.blob.partition, framed: self.size.map(framed_len) };
        sink.write(&self.bytes, whole, filling.buf, filling.start, filling.held).await
    }

    /// Ends the payload and returns its digests, to be compared before [`BlobWriter::finish`].
    ///
    /// # Errors
    /// [`Error::Invalid`] for fewer bytes than announced.
    pub async fn end(&mut self) -> Result<Digests> {
        self.check_intact()?;
        if self.size.is_some_and(|size| size != self.received) {
            return Err(Error::Invalid("fewer bytes than announced"));
        }
        if self.filling.as_ref().is_some_and(|filling| filling.fill > 0) {
            self.close_block().await?;
        }
        self.ended = true;
        Ok(self.hash.take().map(BodyHash::finish).unwrap_or_default())
    }

    /// Completes the blob: a small one is returned, any other is synced and published. If the caller stops waiting in
    /// the meantime, the blob is deleted again.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Io`], [`Error::Busy`] if too few shards became durable.
    pub async fn finish(mut self) -> Result<Finished> {
        if !self.ended {
            self.end().await?;
        }
        self.blob.payload_bytes = self.received;
        if self.received <= SMALL_BLOB_BYTES as u64 {
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
            return Ok(Finished::Small(SmallBlob { header, framed }, held));
        }
        let (sender, finished) = oneshot();
        io::spawn(async move {
            let bytes = self.bytes.clone();
            sender.send(self.store().await.map(|blob| DeleteUnlessTaken { bytes, blob: Some(blob) }));
        });
        let stored = finished.await.map_err(|_| Error::Closed)??;
        Ok(Finished::Stored(stored.take()))
    }

    async fn store(mut self) -> Result<BlobRef> {
        self.flush().await?;
        let profile = Profile { k: self.blob.k, m: self.blob.m };
        let mut states: SmallVec<[ShardState; 8]> = SmallVec::new();
        let mut failed = None;
        for sink in std::mem::take(&mut self.sinks) {
            states.push(match sink.finish(&self.bytes, self.blob).await {
                Ok(()) => ShardState::Durable,
                Err(error) => {
                    failed = Some(error);
                    ShardState::Failed
                }
            });
        }
        match decide(profile, &states) {
            Decision::Acknowledge { .. } => Ok(BlobRef {
                data_id: self.blob.data_id,
                partition: self.blob.partition,
                profile,
                codec: self.blob.codec,
                size: self.received,
            }),
            _ => Err(failed.unwrap_or(Error::Busy("too few shards are durable"))),
        }
    }
}

/// A stored blob on its way to its writer. If the writer is gone, nobody will commit the blob: it is deleted when this
/// is dropped without being taken.
struct DeleteUnlessTaken {
    bytes: ByteStore,
    blob: Option<BlobRef>,
}

impl DeleteUnlessTaken {
    fn take(mut self) -> BlobRef {
        self.blob.take().unwrap_or_else(|| unreachable!("only this function takes it"))
    }
}

impl Drop for DeleteUnlessTaken {
    fn drop(&mut self) {
        let Some(blob) = self.blob.take() else { return };
        let bytes = self.bytes.clone();
        io::spawn(async move {
            // If this fails, the sweep finds the blob.
            if bytes.delete(blob.partition, vec![blob.data_id]).await.is_err() {
                bytes.home().segments().note_leftovers();
            }
        });
    }
}

/// What a sink must know about the whole blob.
#[derive(Clone, Copy)]
struct Whole {
    partition: Partition,
    /// Framed bytes of the shard, if known in advance.
    framed: Option<u64>,
}

/// Writes one shard to extents of its home core.
struct ShardSink {
    shard: u8,
    extents: Vec<Extent>,
    framed: u64,
    writes: VecDeque<JoinHandle<std::io::Result<()>>>,
}

struct Extent {
    /// Shared with the writes in flight: the space is released when the last of them has ended.
    place: Rc<Place>,
    file: Rc<File>,
    framed: u64,
}

impl ShardSink {
    fn new(shard: u8) -> ShardSink {
        ShardSink { shard, extents: Vec::new(), framed: 0, writes: VecDeque::new() }
    }

    /// Waits until another write may be started.
    async fn make_room(&mut self) -> Result<()> {
        while self.writes.len() >= WRITES_IN_FLIGHT {
            self.wait_for_one().await?;
        }
        Ok(())
    }

    async fn wait_for_one(&mut self) -> Result<()> {
        if let Some(write) = self.writes.pop_front() {
            let result = write.await.ok_or(Error::Closed)?;
            result.map_err(|error| Error::io("write an extent", &error))?;
        }
        Ok(())
    }

    /// Starts writing the first `len` bytes of `buf`, whole blocks, after what came before.
    async fn write(
        &mut self,
        bytes: &ByteStore,
        whole: Whole,
        mut buf: Buf,
        len: usize,
        held: Held,
    ) -> Result<()> {
        self.make_room().await?;
        if self.extents.last().is_none_or(|extent| extent.framed == EXTENT_BYTES) {
            let left = whole.framed.map_or(EXTENT_BYTES, |total| total - self.framed);
            let place = bytes.reserve(whole.partition, left.min(EXTENT_BYTES)).await?;
            let file = bytes.files().get(place.core, Class::Extent, place.at.segment).await?;
            self.extents.push(Extent { place: Rc::new(place), file, framed: 0 });
        }
        let extent = self.extents.last_mut().unwrap_or_else(|| unreachable!("pushed above"));
        buf.set_len(len);
        buf.pad_to(ALIGNMENT);
        assert!(extent.framed + buf.len() as u64 <= extent.place.at.length, "an extent fits its place");
        let (file, place) = (extent.file.clone(), extent.place.clone());
        let position = place.at.offset + extent.framed;
        extent.framed += len as u64;
        self.framed += len as u64;
        self.writes.push_back(io::spawn(async move {
            let result = file.write_at(buf, position).await;
            drop((place, held));
            result
        }));
        Ok(())
    }

    /// Waits for all writes, and has the home core sync and publish the extents.
    async fn finish(mut self, bytes: &ByteStore, blob: BlobHeader) -> Result<()> {
        while !self.writes.is_empty() {
            self.wait_for_one().await?;
        }
        let count = self.extents.len();
        let mut payload_left = blob.payload_bytes;
        let mut written = Vec::with_capacity(count);
        for (index, extent) in self.extents.into_iter().enumerate() {
            let payload = payload_left.min((EXTENT_BLOCKS * BLOCK_PAYLOAD_BYTES) as u64);
            payload_left -= payload;
            debug_assert_eq!(framed_len(payload), extent.framed);
            let header = BlobHeader {
                shard: self.shard,
                extent: index as u16,
                last: index + 1 == count,
                blocks: block_of(payload - 1).0 as u32 + 1,
                payload_bytes: payload,
                ..blob
            };
            let place = Rc::try_unwrap(extent.place).map_err(|_| Error::Busy("a write is in flight"))?;
            written.push(WrittenExtent { place, header, length: extent.framed as u32 });
        }
        bytes.publish(blob.partition, written).await
    }
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
