//! A group commit that is being formed, and the outcome that its writers wait for. A record is copied once, into the
//! batch's buffer.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::index::Slot;
use crate::buf::Buf;
use crate::error::{Error, Result};
use crate::format::{BlobHeader, ENTRY_BYTES, Entry, HEADER_BYTES, Header, Kind, Salt, crc32c, record_bytes};
use crate::io;
use crate::limits::MAX_BATCH_BYTES;

/// The place where a batch became durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) segment: u32,
    pub(super) offset: u64,
}

/// The outcome of a batch or a sync, for any number of waiters.
pub(super) struct Outcome<T = Placed> {
    result: RefCell<Option<Result<T>>>,
    waiters: RefCell<Vec<Waker>>,
}

impl<T> Default for Outcome<T> {
    fn default() -> Outcome<T> {
        Outcome { result: RefCell::default(), waiters: RefCell::default() }
    }
}

impl<T: Clone> Outcome<T> {
    pub(super) fn set(&self, result: Result<T>) {
        *self.result.borrow_mut() = Some(result);
        for waker in std::mem::take(&mut *self.waiters.borrow_mut()) {
            waker.wake();
        }
    }

    pub(super) async fn get(&self) -> Result<T> {
        std::future::poll_fn(|cx| {
            if let Some(result) = &*self.result.borrow() {
                return Poll::Ready(result.clone());
            }
            self.waiters.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

/// The effect of a record in a batch once it is durable. `entry.record` counts from the batch's start.
pub(super) struct Pending {
    pub(super) entry: Entry,
    /// Set on a copy made by compaction: what the copy replaces, unless that has changed by then.
    pub(super) moved: Option<Moved>,
    /// Extents (segment, offset) whose space a tombstone frees.
    pub(super) frees: Vec<(u32, u64)>,
}

impl Pending {
    /// The pending effect of a new record.
    pub(super) fn fresh(entry: Entry) -> Pending {
        Pending { entry, moved: None, frees: Vec::new() }
    }
}

/// What a compaction's copy replaces.
#[derive(Debug, Clone, Copy)]
pub(super) enum Moved {
    /// A blob that lay in this slot.
    Blob(Slot),
    /// A publish record in this log segment.
    Publish(u32),
    /// A tombstone.
    Tombstone,
}

/// A record on its way into a batch.
pub(super) struct Record<'a> {
    pub(super) kind: Kind,
    pub(super) blob: BlobHeader,
    pub(super) body: &'a [&'a [u8]],
}

impl Record<'_> {
    pub(super) fn body_bytes(&self) -> usize {
        self.body.iter().map(|part| part.len()).sum()
    }

    pub(super) fn bytes(&self) -> usize {
        record_bytes(self.body_bytes())
    }
}

pub(super) struct Batch {
    buf: Buf,
    records: Vec<u32>,
    pub(super) pending: Vec<Pending>,
    pub(super) outcome: Rc<Outcome>,
    _room: Vec<io::Permit>,
}

/// Holds thirty small records, because growing means copying. The buffers are pooled, so a larger one costs no more.
const SMALLEST_BUFFER: usize = 128 << 10;

impl Batch {
    fn new() -> Batch {
        Batch {
            buf: Buf::with_capacity(SMALLEST_BUFFER),
            records: Vec::new(),
            pending: Vec::new(),
            outcome: Rc::default(),
            _room: Vec::new(),
        }
    }

    fn make_room(&mut self, more: usize) {
        let wanted = self.buf.len() + more;
        if wanted > self.buf.capacity() {
            let mut larger = Buf::with_capacity(wanted.max(self.buf.capacity() * 2).min(MAX_BATCH_BYTES));
            larger.extend_from_slice(&self.buf);
            self.buf = larger;
        }
    }

    /// Copies a record into the buffer and returns its offset.
    fn push(&mut self, record: &Record<'_>) -> u64 {
        let start = self.buf.len();
        self.make_room(record.bytes());
        self.buf.set_len(start + HEADER_BYTES);
        for part in record.body {
            self.buf.extend_from_slice(part);
        }
        let body_crc = crc32c(&self.buf[start + HEADER_BYTES..]);
        let header = Header {
            kind: record.kind,
            blob: record.blob,
            body_bytes: record.body_bytes() as u32,
            body_crc,
            batch: 0,
            batch_bytes: 0,
        };
        header.encode(Salt { segment: 0, generation: 0 }, &mut self.buf[start..]);
        self.buf.pad_to(crate::format::UNIT_BYTES as usize);
        self.records.push(start as u32);
        start as u64
    }

    /// Length on disk.
    pub(super) fn bytes(&self) -> u64 {
        io::align_up(self.buf.len() as u64)
    }

    /// Bytes that the batch adds to its segment's footer.
    pub(super) fn footer_bytes(&self) -> u64 {
        (self.pending.len() * ENTRY_BYTES) as u64
    }

    pub(super) fn records(&self) -> usize {
        self.records.len()
    }

    /// Puts the batch number and checksum on each record and returns the bytes to write, leaving an empty buffer.
    pub(super) fn seal(&mut self, salt: Salt, number: u32) -> Buf {
        let bytes = self.bytes() as u32;
        for (index, &start) in self.records.iter().enumerate() {
            let length = if index == 0 { bytes } else { 0 };
            Header::put_in_batch(&mut self.buf[start as usize..], salt, number, length);
        }
        self.buf.pad_to(io::ALIGNMENT);
        std::mem::replace(&mut self.buf, Buf::empty())
    }
}

/// Batches that wait to be written. All but the last are full.
pub(super) struct Queue {
    batches: RefCell<VecDeque<Batch>>,
    max_batch_bytes: usize,
    closed: Cell<bool>,
}

/// A record's place in its batch, and the batch's outcome.
pub(super) struct Ticket {
    pub(super) offset: u64,
    pub(super) outcome: Rc<Outcome>,
}

impl Queue {
    /// A queue whose batches hold up to `max_batch_bytes`, or more for a single larger record.
    pub(super) fn new(max_batch_bytes: usize) -> Queue {
        let max_batch_bytes = max_batch_bytes.min(MAX_BATCH_BYTES);
        Queue { batches: RefCell::default(), max_batch_bytes, closed: Cell::new(false) }
    }

    /// Number of queued records.
    pub(super) fn records(&self) -> usize {
        self.batches.borrow().iter().map(Batch::records).sum()
    }

    /// Copies a record into the batch being formed. `pending` receives the record's offset in the batch.
    pub(super) fn push(
        &self,
        record: &Record<'_>,
        room: io::Permit,
        pending: impl FnOnce(u64, &mut Vec<Pending>),
    ) -> Result<Ticket> {
        if self.closed.get() {
            return Err(Error::Closed);
        }
        let mut batches = self.batches.borrow_mut();
        let fits =
            batches.back().is_some_and(|batch| batch.buf.len() + record.bytes() <= self.max_batch_bytes);
        if !fits {
            batches.push_back(Batch::new());
        }
        let Some(batch) = batches.back_mut() else { return Err(Error::Closed) };
        let offset = batch.push(record);
        pending(offset, &mut batch.pending);
        batch._room.push(room);
        Ok(Ticket { offset, outcome: batch.outcome.clone() })
    }

    pub(super) fn take(&self) -> Option<Batch> {
        self.batches.borrow_mut().pop_front()
    }

    /// Refuses further records.
    pub(super) fn close(&self) {
        self.closed.set(true);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.get()
    }
}
