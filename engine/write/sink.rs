//! Writes one shard of a blob to extents of its home core.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::budget::{Held, Holder};
use crate::buf::Buf;
use crate::error::{Error, Result};
use crate::format::BlobHeader;
use crate::frame::{block_of, framed_len};
use crate::hash::Ranges;
use crate::io::{self, ALIGNMENT, File, JoinHandle};
use crate::limits::{BLOCK_PAYLOAD_BYTES, EXTENT_BLOCKS, EXTENT_BYTES, WRITES_IN_FLIGHT};
use crate::peer::{ByteStore, Place, WrittenExtent};
use crate::placement::Partition;
use crate::segment::Class;

/// What a sink must know about the whole blob.
#[derive(Clone, Copy)]
pub(super) struct Whole {
    pub(super) partition: Partition,
    /// Framed bytes of the shard, if known in advance.
    pub(super) framed: Option<u64>,
}

/// Writes one shard to extents of its home core.
pub(super) struct ShardSink {
    shard: u8,
    extents: Vec<Extent>,
    framed: u64,
    writes: VecDeque<JoinHandle<std::io::Result<Option<Unhashed>>>>,
}

/// A buffer some of whose payload is still to be hashed.
pub(super) struct Unhashed {
    pub(super) buf: Buf,
    pub(super) held: Held,
    pub(super) ranges: Ranges,
}

struct Extent {
    /// What is reserved and not yet written.
    space: Held,
    /// Shared with the writes in flight: the space is released when the last of them has ended.
    place: Rc<Place>,
    file: Rc<File>,
    framed: u64,
}

impl ShardSink {
    pub(super) fn new(shard: u8) -> ShardSink {
        ShardSink { shard, extents: Vec::new(), framed: 0, writes: VecDeque::new() }
    }

    /// Waits until another write may be started.
    pub(super) async fn make_room(&mut self) -> Result<()> {
        while self.writes.len() >= WRITES_IN_FLIGHT {
            self.wait_for_one().await?;
        }
        Ok(())
    }

    /// Waits for the oldest write in flight. Returns its buffer if that is still to be hashed.
    async fn wait_for_one(&mut self) -> Result<Option<Unhashed>> {
        let Some(write) = self.writes.pop_front() else { return Ok(None) };
        let result = write.await.ok_or(Error::Closed)?;
        result.map_err(|error| Error::io("write an extent", &error))
    }

    /// Waits for all writes in flight. Returns the last buffer if it is still to be hashed.
    pub(super) async fn wait_for_all(&mut self) -> Result<Option<Unhashed>> {
        let mut last = None;
        while !self.writes.is_empty() {
            last = self.wait_for_one().await?;
        }
        Ok(last)
    }

    /// Starts writing the first `len` bytes of a buffer, whole blocks, after what came before. The space of a new
    /// extent is charged to `holder`.
    pub(super) async fn write(
        &mut self,
        bytes: &ByteStore,
        holder: &Rc<Holder>,
        whole: Whole,
        buffer: Unhashed,
        len: usize,
    ) -> Result<()> {
        let Unhashed { mut buf, held, ranges } = buffer;
        self.make_room().await?;
        if self.extents.last().is_none_or(|extent| extent.framed == EXTENT_BYTES) {
            let left = whole.framed.map_or(EXTENT_BYTES, |total| total - self.framed);
            let length = left.min(EXTENT_BYTES);
            let space = holder.reserve_space(length as usize, bytes.disk_share())?;
            let place = bytes.reserve(whole.partition, length).await?;
            let file = bytes.files().get(place.core, Class::Extent, place.at.segment).await?;
            self.extents.push(Extent { space, place: Rc::new(place), file, framed: 0 });
        }
        let extent = self.extents.last_mut().unwrap_or_else(|| unreachable!("pushed above"));
        buf.set_len(len);
        buf.pad_to(ALIGNMENT);
        assert!(extent.framed + buf.len() as u64 <= extent.place.at.length, "an extent fits its place");
        let (file, place) = (extent.file.clone(), extent.place.clone());
        let position = place.at.offset + extent.framed;
        extent.framed += len as u64;
        extent.space.shrink(extent.space.bytes().saturating_sub(len));
        self.framed += len as u64;
        self.writes.push_back(io::spawn(async move {
            let result = file.write_at(buf, position).await;
            drop(place);
            let buf = result?;
            Ok((!ranges.is_empty()).then_some(Unhashed { buf, held, ranges }))
        }));
        Ok(())
    }

    /// Has the home core sync and publish the extents, all of which have been written.
    pub(super) async fn publish(self, bytes: &ByteStore, blob: BlobHeader) -> Result<()> {
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
