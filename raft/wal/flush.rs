//! Writes batches in order, one in flight at a time, and manages the segments that they go to.

use std::io;
use std::time::Duration;

use engine::buf::Buf;
use engine::io::{ALIGNMENT, align_up, now, remove_file, sleep, spawn, sync_dir};
use engine::limits::METADATA_STORE_RESERVE_BYTES;

use super::record::Record;
use super::segment::{self, HEADER_PAGE, Header, Segment};
use super::{BATCH_BYTES, MAX_SPARES, Pending, Place, Waiter, Wal};
use crate::types::LogId;

/// Pause between attempts to make a segment on a full disk.
const FULL_PAUSE: Duration = Duration::from_millis(500);

/// Records to be written together, and who waits for them.
struct Batch {
    records: Vec<Record>,
    bytes: usize,
    waiters: Vec<Waiter>,
}

impl Wal {
    /// Writes whatever has gathered, for as long as the executor lives.
    pub(super) async fn flush_loop(self) {
        loop {
            self.0.work.wait().await;
            self.0.pacer.wait(self.pending_records()).await;
            while let Some(batch) = self.take_batch() {
                self.0.pacer.started();
                let result = if batch.records.is_empty() {
                    Ok(())
                } else {
                    self.write_batch(&batch).await.map_err(|error| format!("log write: {error}"))
                };
                if let Err(why) = &result {
                    self.fail(why);
                }
                for waiter in batch.waiters {
                    waiter.tell(&result);
                }
                if result.is_err() {
                    return;
                }
                if let queued @ 1.. = self.pending_records() {
                    self.0.pacer.wait(queued).await;
                }
            }
        }
    }

    /// Marks the log as failed and tells all waiters.
    fn fail(&self, why: &str) {
        let pending = {
            let mut state = self.0.state.borrow_mut();
            if state.failed.is_some() {
                return;
            }
            engine::reach!("wal-failed");
            state.failed = Some(why.to_owned());
            state.pending_records = 0;
            std::mem::take(&mut state.pending)
        };
        (self.0.on_fatal)(why);
        for pending in pending {
            if let Pending::Waiter(waiter) = pending {
                waiter.tell(&Err(why.to_owned()));
            }
        }
        self.0.prepared.notify();
    }

    pub(super) fn pending_records(&self) -> usize {
        self.0.state.borrow().pending_records
    }

    fn take_batch(&self) -> Option<Batch> {
        let limit = BATCH_BYTES.min(usize::try_from(self.0.config.segment_bytes / 4).unwrap_or(BATCH_BYTES));
        let state = &mut *self.0.state.borrow_mut();
        if state.pending.is_empty() || state.failed.is_some() {
            return None;
        }
        let mut batch =
            Batch { records: Vec::with_capacity(state.pending.len()), bytes: 0, waiters: Vec::new() };
        if std::mem::take(&mut state.committed_dirty) {
            batch.push(Record::Committed(state.index.committed));
        }
        while let Some(pending) = state.pending.pop_front() {
            match pending {
                Pending::Waiter(waiter) => batch.waiters.push(waiter),
                Pending::Record(record) => {
                    if !batch.records.is_empty() && batch.bytes + record.encoded_len() > limit {
                        state.pending.push_front(Pending::Record(record));
                        break;
                    }
                    batch.push(record);
                    state.pending_records -= 1;
                }
            }
        }
        Some(batch)
    }

    async fn write_batch(&self, batch: &Batch) -> io::Result<()> {
        let started = now();
        let fresh = self.make_room(batch.bytes).await?;
        let (file, id, header, position) = {
            let state = self.0.state.borrow();
            let Some(active) = state.segments.back() else {
                return Err(io::Error::other("no log segment is active"));
            };
            let header = Header { first_sequence: state.sequence, log_salt: state.salt };
            (active.file.clone(), active.id, header, state.position)
        };
        let checkpoint = if fresh { self.checkpoint() } else { Vec::new() };
        let (buf, places) = lay_out(&checkpoint, &batch.records, id, header, position, fresh);
        let len = buf.len() as u64;
        let start = if fresh { 0 } else { position };
        file.write_at(buf, start).await?;
        let skipped =
            engine::canary!("ack-before-commit") || fresh && engine::canary!("sync-skipped-on-switch");
        if !skipped {
            file.sync_data().await?;
        }
        let state = &mut *self.0.state.borrow_mut();
        state.sequence += 1;
        state.position = start + len;
        for (log_id, place) in places {
            state.index.settle(log_id, place);
            if let Some(active) = state.segments.back_mut() {
                active.max_index = active.max_index.max(log_id.index);
            }
        }
        state.index.evict();
        let stats = &mut state.stats;
        stats.batches += 1;
        stats.syncs += 1;
        stats.records += batch.records.len() as u64;
        stats.bytes += len;
        stats.flush_us += u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// The vote and the marks, with which each segment starts.
    fn checkpoint(&self) -> Vec<Record> {
        let state = self.0.state.borrow();
        let index = &state.index;
        let vote = index.vote.map(Record::Vote);
        let purge = index.purged.map(Record::Purge);
        vote.into_iter().chain(purge).chain([Record::Committed(index.committed)]).collect()
    }

    /// Makes sure that the active segment has room for a batch; true if it is a new one.
    async fn make_room(&self, bytes: usize) -> io::Result<bool> {
        let fits = {
            let state = self.0.state.borrow();
            let end = state.position + align_up(bytes as u64);
            !state.segments.is_empty() && end <= self.0.config.segment_bytes
        };
        if fits {
            return Ok(false);
        }
        let mut waited = false;
        let blank = loop {
            let blank = self.usable()?.next.take();
            if let Some(blank) = blank {
                break blank;
            }
            if !waited {
                engine::reach!("wal-waits-for-a-segment");
                waited = true;
                self.0.state.borrow_mut().stats.segment_waits += 1;
            }
            self.prepare_next();
            self.0.prepared.wait().await;
            if self.usable()?.next.is_none() && !self.0.preparing.get() {
                engine::reach!("wal-waits-for-space");
                sleep(FULL_PAUSE).await;
            }
        };
        {
            let mut state = self.0.state.borrow_mut();
            engine::reach!("wal-segment-switched", !state.segments.is_empty());
            state.segments.push_back(Segment { id: blank.id, file: blank.file, max_index: 0 });
            state.position = HEADER_PAGE;
        }
        self.prepare_next();
        Ok(true)
    }

    /// Starts preparing the next segment and removing surplus ones, unless that is done or under way.
    pub(super) fn prepare_next(&self) {
        let nothing_to_do = {
            let state = self.0.state.borrow();
            state.next.is_some() && state.spares.len() <= MAX_SPARES
        };
        if nothing_to_do || self.0.preparing.replace(true) {
            return;
        }
        let wal = self.clone();
        spawn(async move {
            let result = wal.prepare().await;
            wal.0.preparing.set(false);
            wal.0.starved.set(false);
            match result {
                // Room may come back; whoever needs the segment tries again.
                Err(error) if error.kind() == io::ErrorKind::StorageFull => wal.0.starved.set(true),
                Err(error) => wal.fail(&format!("log segment: {error}")),
                Ok(()) => {}
            }
            wal.0.prepared.notify();
        });
    }

    /// One file at a time and oldest first, so that the files left by a crash have consecutive ids.
    async fn prepare(&self) -> io::Result<()> {
        let config = &self.0.config;
        loop {
            let surplus = {
                let mut state = self.0.state.borrow_mut();
                if state.spares.len() > MAX_SPARES { state.spares.pop_front() } else { None }
            };
            let Some(surplus) = surplus else { break };
            engine::reach!("wal-spare-removed");
            remove_file(&segment::path(&config.directory, surplus.id)).await?;
            sync_dir(&config.directory).await?;
        }
        let (id, spare) = {
            let mut state = self.0.state.borrow_mut();
            if state.next.is_some() {
                return Ok(());
            }
            (state.next_id, state.spares.pop_front())
        };
        let blank = match spare {
            Some(spare) => {
                engine::reach!("wal-segment-recycled");
                segment::recycle(&config.directory, spare, id).await?
            }
            None => {
                let claim = config.disk.claim(config.segment_bytes, METADATA_STORE_RESERVE_BYTES);
                let _growth = claim.ok_or(io::ErrorKind::StorageFull)?;
                segment::create(&config.directory, id, config.segment_bytes).await?
            }
        };
        let mut state = self.0.state.borrow_mut();
        // Only now: a skipped id would look like a lost segment.
        state.next_id = id + 1;
        state.next = Some(blank);
        Ok(())
    }

    /// Retires segments that hold only purged entries, oldest first.
    pub(super) fn release_purged(&self) {
        {
            let state = &mut *self.0.state.borrow_mut();
            let Some(purged) = state.index.purged else { return };
            while state.segments.len() > 1 && state.segments[0].max_index <= purged.index {
                state.spares.extend(state.segments.pop_front());
            }
        }
        self.prepare_next();
    }
}

impl Batch {
    fn push(&mut self, record: Record) {
        self.bytes += record.encoded_len();
        self.records.push(record);
    }
}

/// The bytes of a batch, padded to whole pages, and where its entries lie. `header` is the segment's if the batch
/// is its first one; otherwise it carries the batch's sequence number.
fn lay_out(
    checkpoint: &[Record],
    records: &[Record],
    segment: u64,
    header: Header,
    position: u64,
    fresh: bool,
) -> (Buf, Vec<(LogId, Place)>) {
    let mut bytes = Vec::new();
    let mut places = Vec::new();
    let salt = segment::salt(header.log_salt, segment);
    let all = checkpoint.len() + records.len();
    for (number, record) in checkpoint.iter().chain(records).enumerate() {
        let start = bytes.len();
        record.encode(salt, header.first_sequence, number + 1 == all, &mut bytes);
        if let Record::Entry(entry) = record {
            let offset = u32::try_from(position + start as u64).unwrap_or(u32::MAX);
            let len = u32::try_from(bytes.len() - start).unwrap_or(u32::MAX);
            places.push((entry.log_id, Place { segment, offset, len }));
        }
    }
    let mut buf = Buf::with_capacity(bytes.len() + ALIGNMENT);
    if fresh {
        buf.extend_from_slice(&segment::header(segment, header));
    }
    buf.extend_from_slice(&bytes);
    buf.pad_to(ALIGNMENT);
    (buf, places)
}
