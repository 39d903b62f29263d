//! The writer of one core's log. It takes batches from the queue, writes and syncs each, and reports the outcome.
//!
//! One batch is in flight at a time, and the next forms meanwhile. A page that was synced is never written again. A
//! failed write or sync poisons the segment: the batch fails, nothing more is written to that segment (recovery scans
//! it), and the next batch goes to a new one.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;

use super::batch::{Batch, Outcome, Placed, Queue, Record, Ticket};
use super::files::Files;
use super::logs::Stage;
use super::prepare::{Fresh, Pool};
use super::recovery::Report;
use super::state::State;
use super::stats::Counters;
use super::syncs::Syncs;
use super::{Class, Config};
use crate::buf::Buf;
use crate::error::{Error, Result};
use crate::format::{Entry, FooterTrailer, PAGE_BYTES, Salt, crc32c, encode_entries};
use crate::io::{self, Event, File, Semaphore};
use crate::limits::{MAX_QUEUED_BYTES, ZERO_FILL_BYTES};

/// Maximum number of background tasks that touch files: more than there are segments to sync, seal or prepare at once.
const MAX_TASKS: usize = 1024;

/// The state that the tasks of one core's store share.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) dir: PathBuf,
    pub(super) state: RefCell<State>,
    pub(super) queue: Queue,
    /// Bytes that may still be queued.
    pub(super) room: Semaphore,
    /// The writers whose blobs or extents are about to reach the log.
    pub(super) writers: io::Writers,
    pacer: io::Pacer,
    /// A batch is waiting, or the queue was closed.
    pub(super) work: Event,
    /// There may be something to reclaim, or the queue was closed.
    pub(super) reclaim: Event,
    pub(super) files: Files,
    pub(super) pool: Pool,
    pub(super) next_id: Cell<u32>,
    pub(super) counters: RefCell<Counters>,
    /// Each background task that touches files holds a unit; shutdown waits for all of them.
    tasks: Semaphore,
    /// Held while an extent segment grows.
    pub(super) growing: Semaphore,
    /// Held while space is reclaimed.
    pub(super) reclaiming: Semaphore,
    /// Data syncs of extent segments.
    pub(super) syncs: Syncs,
    pub(super) report: RefCell<Report>,
    /// There may be blobs, or extents of them, that nothing refers to.
    pub(super) leftovers: Cell<bool>,
    /// Set when the writer has ended.
    pub(super) ended: Outcome,
    #[cfg(test)]
    pub(super) fail: Cell<Option<Fail>>,
    /// The next sync of an extent segment fails.
    #[cfg(test)]
    pub(super) fail_extent_sync: Cell<bool>,
    /// The next sync of the folder after a segment was retired fails.
    #[cfg(test)]
    pub(super) fail_dir_sync: Cell<bool>,
}

/// The failure that a test injects into the next flush.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fail {
    /// The write fails; nothing reaches the disk.
    Write,
    /// The write succeeds, the sync fails.
    Sync,
}

/// The segment that batches are appended to.
pub(super) struct Active {
    pub(super) id: u32,
    pub(super) generation: u32,
    pub(super) length: u64,
    pub(super) file: Rc<File>,
    /// Where the next batch goes.
    pub(super) tail: u64,
    /// Number of the last batch.
    pub(super) batch: u32,
    /// The entries of the future footer.
    pub(super) entries: Vec<Entry>,
}

impl Active {
    pub(super) fn new(fresh: Fresh) -> Active {
        let Fresh { id, generation, length, file } = fresh;
        Active { id, generation, length, file, tail: PAGE_BYTES as u64, batch: 0, entries: Vec::new() }
    }

    pub(super) fn salt(&self) -> Salt {
        Salt { segment: self.id, generation: self.generation }
    }

    /// Whether the batch and the footer that it entails fit.
    fn fits(&self, batch: &Batch) -> bool {
        let footer = encoded_bytes(self.entries.len()) + batch.footer_bytes();
        self.tail + batch.bytes() + io::align_up(footer) + PAGE_BYTES as u64 <= self.length
    }

    /// Bytes between the last batch and the footer that they have room for.
    #[cfg(sim)]
    fn room(&self) -> u64 {
        let footer = io::align_up(encoded_bytes(self.entries.len())) + PAGE_BYTES as u64;
        self.length.saturating_sub(self.tail + footer)
    }
}

fn encoded_bytes(entries: usize) -> u64 {
    (entries * crate::format::ENTRY_BYTES) as u64
}

impl Shared {
    pub(super) fn new(config: Config, dir: PathBuf, next_id: u32, state: State) -> Shared {
        let max_batch = (config.log_segment_bytes / 4) as usize;
        let writers = io::Writers::default();
        Shared {
            files: Files::new(config.data_dir.clone()),
            dir,
            state: RefCell::new(state),
            queue: Queue::new(max_batch),
            pacer: io::Pacer::new(writers.clone(), 1),
            writers,
            room: Semaphore::new(MAX_QUEUED_BYTES),
            work: Event::new(),
            reclaim: Event::new(),
            pool: Pool::default(),
            next_id: Cell::new(next_id),
            counters: RefCell::new(Counters::new()),
            tasks: Semaphore::new(MAX_TASKS),
            growing: Semaphore::new(1),
            reclaiming: Semaphore::new(1),
            syncs: Syncs::default(),
            report: RefCell::default(),
            leftovers: Cell::new(false),
            ended: Outcome::default(),
            #[cfg(test)]
            fail: Cell::new(None),
            #[cfg(test)]
            fail_extent_sync: Cell::new(false),
            #[cfg(test)]
            fail_dir_sync: Cell::new(false),
            config,
        }
    }

    pub(super) fn take_id(&self) -> u32 {
        let id = self.next_id.get();
        self.next_id.set(id.checked_add(1).unwrap_or_else(|| unreachable!("all 2^32 segment ids are used")));
        id
    }

    /// Starts a background task. Shutdown waits for it; the caller does not, since it may run for as long as others
    /// ask for more syncs.
    pub(super) async fn background(&self, task: impl Future<Output = ()> + 'static) {
        let permit = self.tasks.acquire(1).await;
        drop(io::spawn(async move {
            task.await;
            drop(permit);
        }));
    }

    /// Waits until no background task touches files.
    pub(super) async fn quiesce(&self) {
        drop(self.reclaiming.acquire(1).await);
        drop(self.tasks.acquire(MAX_TASKS).await);
    }

    /// Waits for room in the queue.
    pub(super) async fn permit(&self, record: &Record<'_>) -> io::Permit {
        self.room.acquire(record.bytes()).await
    }

    /// Puts a record into the batch being formed and wakes the writer.
    pub(super) fn push(
        &self,
        record: &Record<'_>,
        room: io::Permit,
        pending: impl FnOnce(u64, &mut Vec<super::batch::Pending>),
    ) -> Result<Ticket> {
        let ticket = self.queue.push(record, room, pending)?;
        self.pacer.queued(self.queue.records());
        self.work.notify();
        Ok(ticket)
    }

    /// Whether `bytes` of new data leave the reserve untouched.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        self.config.disk.unclaimed_bytes() >= self.config.reserve_bytes.saturating_add(bytes)
    }

    /// Whether there is too little space to grow by a whole step.
    pub(super) fn low_on_space(&self) -> bool {
        !self.has_room(self.config.extent_growth_bytes.max(self.config.log_segment_bytes))
    }
}

/// Runs until the queue is closed and empty.
pub(super) async fn run(shared: Rc<Shared>, mut active: Option<Active>) {
    loop {
        if let queued @ 1.. = shared.queue.records() {
            shared.pacer.wait(queued).await;
        }
        match shared.queue.take() {
            Some(batch) => {
                shared.pacer.started();
                flush(&shared, &mut active, batch).await;
            }
            None if shared.queue.is_closed() => break,
            None => shared.work.wait().await,
        }
    }
    shared.ended.set(Ok(Placed { segment: 0, offset: 0 }));
}

async fn flush(shared: &Rc<Shared>, active: &mut Option<Active>, mut batch: Batch) {
    let started = io::now();
    match write(shared, active, &mut batch).await {
        Ok(placed) => {
            let took_us = started.elapsed().as_micros() as u64;
            let records = batch.records();
            let mut state = shared.state.borrow_mut();
            let mut dead = false;
            for pending in &batch.pending {
                state.durable(pending, placed.segment);
                dead |= pending.moved.is_some() || !pending.frees.is_empty();
            }
            drop(state);
            shared.counters.borrow_mut().batch(records, placed_bytes(active, placed), took_us);
            batch.outcome.set(Ok(placed));
            if dead {
                shared.reclaim.notify();
            }
        }
        Err(error) => {
            crate::reach!("batch-failed");
            let mut state = shared.state.borrow_mut();
            batch.pending.iter().for_each(|pending| state.failed(pending));
            drop(state);
            shared.counters.borrow_mut().failed_batches += 1;
            // The next start may find its records all the same, or those of what it was to delete.
            shared.leftovers.set(true);
            batch.outcome.set(Err(error));
        }
    }
}

fn placed_bytes(active: &Option<Active>, placed: Placed) -> u64 {
    active.as_ref().map_or(0, |active| active.tail - placed.offset)
}

/// Writes and syncs a batch. On success its entries' offsets count from the segment's start.
async fn write(shared: &Rc<Shared>, active: &mut Option<Active>, batch: &mut Batch) -> Result<Placed> {
    if !active.as_ref().is_some_and(|active| active.fits(batch)) {
        rotate(shared, active).await?;
    }
    let Some(into) = active.as_mut().filter(|active| active.fits(batch)) else {
        return Err(Error::Invalid("a batch larger than a log segment"));
    };
    let (offset, bytes) = (into.tail, batch.bytes());
    let buf = batch.seal(into.salt(), into.batch + 1);
    match write_synced(shared, &into.file, buf, offset).await {
        Ok(()) => {
            into.tail += bytes;
            into.batch += 1;
            for pending in &mut batch.pending {
                pending.entry.record += offset;
                into.entries.push(pending.entry);
            }
            if let Some(segment) = shared.state.borrow_mut().logs.get_mut(into.id) {
                segment.used += bytes;
            }
            Ok(Placed { segment: into.id, offset })
        }
        Err(error) => {
            crate::reach!("log-abandoned");
            shared.state.borrow_mut().logs.set_stage(into.id, Stage::Unsealed);
            *active = None;
            Err(error)
        }
    }
}

async fn write_synced(_shared: &Shared, file: &File, buf: Buf, offset: u64) -> Result<()> {
    #[cfg(test)]
    let fail = _shared.fail.take();
    #[cfg(test)]
    if fail == Some(Fail::Write) {
        return Err(Error::io("write a log segment", &std::io::Error::other("injected")));
    }
    file.write_at(buf, offset).await.map_err(|error| Error::io("write a log segment", &error))?;
    #[cfg(test)]
    if fail == Some(Fail::Sync) {
        return Err(Error::io("sync a log segment", &std::io::Error::other("injected")));
    }
    if crate::canary!("ack-before-sync") {
        return Ok(());
    }
    file.sync_data().await.map_err(|error| Error::io("sync a log segment", &error))
}

/// Seals the active segment and opens the next.
async fn rotate(shared: &Rc<Shared>, active: &mut Option<Active>) -> Result<()> {
    if let Some(full) = active.take() {
        shared.state.borrow_mut().logs.set_stage(full.id, Stage::Sealing);
        shared.background(seal(shared.clone(), full)).await;
    }
    let fresh = shared.take_fresh().await?;
    shared.state.borrow_mut().logs.add(fresh.id, fresh.generation, fresh.length, Stage::Active);
    shared.files.insert((shared.config.core, Class::Log, fresh.id), fresh.file.clone());
    *active = Some(Active::new(fresh));
    prepare_in_background(shared).await;
    Ok(())
}

/// Prepares the segment after the active one.
pub(super) async fn prepare_in_background(shared: &Rc<Shared>) {
    let ahead = shared.clone();
    let task = async move {
        // If this fails, the next rotation retries and reports the error. Space reclaimed in the meantime may help.
        if ahead.prepare_ahead().await.is_err() {
            ahead.reclaim.notify();
        }
    };
    shared.background(task).await;
}

/// Writes a footer after the batches. Without it the segment is just as valid, only slower to open.
pub(super) async fn seal(shared: Rc<Shared>, full: Active) {
    let stage = if write_footer(&full).await.is_ok() { Stage::Sealed } else { Stage::Unsealed };
    crate::reach!("log-sealed", stage == Stage::Sealed);
    crate::reach!("log-sealed-to-the-brim", full.room() <= 2 * PAGE_BYTES as u64);
    crate::reach!("footer-failed", stage == Stage::Unsealed);
    shared.state.borrow_mut().logs.set_stage(full.id, stage);
    shared.reclaim.notify();
}

async fn write_footer(full: &Active) -> std::io::Result<()> {
    let skipped = usize::from(crate::canary!("index-entry-lost-at-seal"));
    let encoded = encode_entries(&full.entries[skipped..]);
    let mut at = full.tail;
    for piece in encoded.chunks(ZERO_FILL_BYTES) {
        let mut buf = Buf::with_capacity(io::align_up(piece.len() as u64) as usize);
        buf.extend_from_slice(piece);
        buf.pad_to(io::ALIGNMENT);
        let length = buf.len() as u64;
        full.file.write_at(buf, at).await?;
        at += length;
        io::yield_if_needed().await;
    }
    let trailer = FooterTrailer {
        salt: full.salt(),
        entries: (full.entries.len() - skipped) as u32,
        offset: full.tail,
        entries_crc: crc32c(&encoded),
    };
    let mut page = Buf::with_capacity(PAGE_BYTES);
    page.extend_from_slice(&trailer.encode());
    page.pad_to(PAGE_BYTES);
    full.file.write_at(page, full.length - PAGE_BYTES as u64).await?;
    full.file.sync_data().await
}
