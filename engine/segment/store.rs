//! The store of one core: the interface for the rest of the engine.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use smallvec::SmallVec;

use super::batch::{Pending, Record};
use super::extent::Reservation;
use super::index::Slot;
use super::log::{Shared, prepare_in_background, run};
use super::names::{Role, file_name};
use super::recovery::Report;
use super::state::{blob_slot, slot_offset};
use super::stats::Stats;
use super::{Class, Config, Location, open};
use crate::error::{Corrupt, Error, Result};
use crate::format::{BlobHeader, Entry, EntryKind, Kind, Publish, Tombstone, UNIT_BYTES, encode_tombstones};
use crate::ids::DataId;
use crate::io::{self, File};
use crate::limits::{EXTENT_BYTES, MAX_DELETES_PER_RECORD, MAX_PUBLISH, MAX_RECORD_BODY_BYTES};

/// How often reclaiming checks for work without being notified.
const RECLAIM_EVERY: Duration = Duration::from_secs(1);

/// One core's store. It is cheap to clone and stays on its core.
#[derive(Clone)]
pub struct Store {
    shared: Rc<Shared>,
}

/// An extent to publish.
#[derive(Debug, Clone, Copy)]
pub struct PublishItem {
    /// The blob and extent that it holds.
    pub blob: BlobHeader,
    /// The reservation that it was written to.
    pub at: Reservation,
    /// Framed bytes written, at most the reservation's length.
    pub length: u32,
}

impl Store {
    /// Opens a core's folder, creating it if necessary, and recovers what it holds.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Unsupported`] if a newer version wrote to the folder. Damage is not an error:
    /// [`Store::report`] lists it.
    pub async fn open(config: Config) -> Result<Store> {
        let background = config.background;
        let (shared, active) = open::open(config).await?;
        io::spawn(run(shared.clone(), active));
        prepare_in_background(&shared).await;
        if background {
            io::spawn(reclaim_loop(shared.clone()));
        }
        Ok(Store { shared })
    }

    /// The findings of recovery, and damage found since.
    pub fn report(&self) -> Report {
        self.shared.report.borrow().clone()
    }

    /// Counts a writer whose blob or extents are certain to reach the log. Group commits wait for it.
    pub fn writer(&self) -> io::Writer {
        self.shared.writers.enter()
    }

    /// Stores one shard of a small blob. `parts`, concatenated, are its framed blocks. Returns when it is durable and
    /// indexed. Once it is in a batch, it is written even if the caller goes away.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Invalid`] for more than [`MAX_RECORD_BODY_BYTES`], [`Error::Io`], [`Error::Closed`].
    pub async fn append_blob(&self, blob: BlobHeader, parts: &[&[u8]]) -> Result<Location> {
        let shared = &self.shared;
        let record = Record { kind: Kind::Blob, blob, body: parts };
        let bytes = record.body_bytes();
        if bytes > MAX_RECORD_BODY_BYTES {
            return Err(Error::Invalid("a blob too large for a log record"));
        }
        if !self.has_room_in_log(bytes as u64) {
            crate::reach!("log-full");
            return Err(Error::Full);
        }
        let room = shared.permit(&record).await;
        let length = bytes as u32;
        let mut entry = entry_of(&blob, EntryKind::Blob { length });
        let ticket = shared.push(&record, room, |record, pending| {
            pending.push(Pending::fresh(Entry { record, ..entry }));
        })?;
        let placed = ticket.outcome.get().await?;
        entry.record = placed.offset + ticket.offset;
        let slot = blob_slot(&entry, placed.segment, length);
        Ok(location(blob.extent, slot))
    }

    /// Reserves space for an extent of up to `length` framed bytes. The space is held until it is published or
    /// released.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Invalid`] for 0 or more than [`EXTENT_BYTES`], [`Error::Io`], [`Error::Closed`].
    pub async fn reserve(&self, length: u64) -> Result<Reservation> {
        let shared = &self.shared;
        if length == 0 || length > EXTENT_BYTES.min(shared.config.extent_segment_bytes) {
            return Err(Error::Invalid("length of an extent"));
        }
        let mut growing = None;
        loop {
            if shared.queue.is_closed() {
                return Err(Error::Closed);
            }
            if let Some(found) = shared.state.borrow_mut().extents.reserve(length) {
                return Ok(found);
            }
            match growing {
                // Another task may make room in the meantime: look again, and keep the turn. A task that gave its turn
                // back and asked again would pass it around forever among the waiters.
                None => growing = Some(shared.growing.acquire(1).await),
                Some(_) => self.grow(length).await?,
            }
        }
    }

    /// Gets space on disk for an extent and those that follow it: a whole step if there is room for that.
    async fn grow(&self, length: u64) -> Result<()> {
        let shared = &self.shared;
        let config = &shared.config;
        let least = io::align_up(length);
        let most = config.extent_growth_bytes.clamp(least, config.extent_segment_bytes.max(least));
        let claim = |bytes| Some((bytes, config.disk.claim(bytes, config.reserve_bytes)?));
        let Some((step, _claim)) = claim(most).or_else(|| claim(least)) else {
            crate::reach!("no-space-for-an-extent");
            shared.reclaim.notify();
            return Err(Error::Full);
        };
        crate::reach!("extents-grow-by-less-than-a-step", step < most);
        let extend = |error: &std::io::Error| Error::io("extend an extent segment", error);
        let hollow = shared.state.borrow_mut().extents.take_hollow(least, step);
        if let Some(at) = hollow {
            let backed = async {
                let file = shared.files.get(config.core, Class::Extent, at.segment).await?;
                file.allocate(at.offset, at.length).await.map_err(|error| extend(&error))
            };
            let backed = backed.await;
            let extents = &mut shared.state.borrow_mut().extents;
            crate::reach!("hollow-range-backed", backed.is_ok());
            crate::reach!("hollow-range-not-backed", backed.is_err());
            match &backed {
                Ok(()) => extents.add_backed(at),
                Err(_) => extents.add_hollow(at),
            }
            return backed;
        }
        let found = shared.state.borrow().extents.growable(step, config.extent_segment_bytes);
        let (id, grown, file) = match found {
            Some((id, grown)) => {
                crate::reach!("extent-segment-grown");
                (id, grown, shared.files.get(config.core, Class::Extent, id).await?)
            }
            None => {
                crate::reach!("extent-segment-created");
                let id = shared.take_id();
                let path = shared.dir.join(file_name(Role::Extent, id));
                let file = File::create(&path)
                    .await
                    .map_err(|error| Error::io("create an extent segment", &error))?;
                io::sync_dir(&shared.dir).await.map_err(|error| Error::io("sync a data folder", &error))?;
                shared.state.borrow_mut().extents.add_segment(id, 0, false);
                let file = Rc::new(file);
                shared.files.insert((config.core, Class::Extent, id), file.clone());
                (id, 0, file)
            }
        };
        file.allocate(grown, step).await.map_err(|error| extend(&error))?;
        // A publish record may become durable before the bytes of its extent, but must not point beyond its file. The
        // sync is one of the shared rounds: if it fails, the bytes that others wrote to the file may be lost with it.
        shared.start_sync(id).await?.get().await?;
        shared.state.borrow_mut().extents.grow(id, grown + step);
        Ok(())
    }

    /// Releases a reservation whose writer has no write in flight any more. Returns false if it is not a reservation.
    pub fn release(&self, at: Reservation) -> bool {
        self.shared.state.borrow_mut().extents.release(at)
    }

    /// Makes written extents part of their blob, a shard's all at once. Returns when they are durable: the sync of their
    /// bytes and that of their publish records run side by side. Until then nobody may be told of the blob. After a
    /// crash in between, it may be found with unsynced bytes; nothing refers to it, so it is swept.
    ///
    /// Reservations whose records may have reached the disk in spite of an error can't be released: they stay taken
    /// until the next start.
    ///
    /// # Errors
    /// [`Error::Invalid`] for extents that are not reserved or exceed their reservation, [`Error::Io`],
    /// [`Error::Closed`]; [`Error::Busy`] if an earlier sync of their segment failed.
    pub async fn publish(&self, items: &[PublishItem]) -> Result<()> {
        let shared = &self.shared;
        if items.is_empty() || items.len() > MAX_PUBLISH {
            return Err(Error::Invalid("number of extents to publish"));
        }
        let fits = |item: &PublishItem| {
            item.length > 0
                && u64::from(item.length) <= item.at.length
                && shared.state.borrow().extents.is_reserved(item.at)
        };
        if !items.iter().all(fits) {
            return Err(Error::Invalid("an extent to publish"));
        }
        let segments: BTreeSet<u32> = items.iter().map(|item| item.at.segment).collect();
        let mut syncs = Vec::with_capacity(segments.len());
        for segment in segments {
            syncs.push(shared.start_sync(segment).await?);
        }
        let published = self.write_publish_records(items).await;
        let mut synced = Ok(());
        for sync in syncs {
            synced = synced.and(sync.get().await);
        }
        if synced.is_err() && published.is_ok() {
            crate::reach!("published-but-not-synced");
            // Nobody knows of the blob. If this fails, the next start sweeps it.
            let data_ids: BTreeSet<DataId> = items.iter().map(|item| item.blob.data_id).collect();
            if self.delete(&data_ids.into_iter().collect::<Vec<_>>()).await.is_err() {
                self.note_leftovers();
            }
        }
        published.and(synced)
    }

    /// Writes the records of extents to the log. On an error, some of them may be durable.
    async fn write_publish_records(&self, items: &[PublishItem]) -> Result<()> {
        let shared = &self.shared;
        let mut outcomes = Vec::new();
        let mut result = Ok(());
        for item in items {
            shared.state.borrow_mut().extents.publishing(item.at);
            let at = Publish { segment: item.at.segment, offset: item.at.offset, length: item.length };
            let body = at.encode();
            let record = Record { kind: Kind::Publish, blob: item.blob, body: &[&body] };
            let room = shared.permit(&record).await;
            let entry = entry_of(&item.blob, EntryKind::Publish(at));
            let ticket = shared
                .push(&record, room, |record, pending| {
                    pending.push(Pending::fresh(Entry { record, ..entry }));
                })
                // Earlier extents of the blob are on their way.
                .inspect_err(|_| self.note_leftovers())?;
            if !outcomes.last().is_some_and(|last| Rc::ptr_eq(last, &ticket.outcome)) {
                outcomes.push(ticket.outcome);
            }
        }
        for outcome in outcomes {
            result = result.and(outcome.get().await.map(drop));
        }
        result
    }

    /// The locations of a shard's extents, in order.
    ///
    /// # Errors
    /// [`Error::NotFound`] if none of the shard is here, [`Error::Corrupt`] if some of it is missing.
    pub fn locate(&self, data_id: DataId, shard: u8) -> Result<SmallVec<[Location; 1]>> {
        let found = self.shared.state.borrow().index.shard(data_id, shard);
        let Some((_, last)) = found.last() else { return Err(Error::NotFound) };
        let in_order = found.iter().enumerate().all(|(at, (extent, _))| at == usize::from(*extent));
        if !in_order || !last.last {
            return Err(Corrupt::Field("extents").into());
        }
        Ok(found.into_iter().map(|(extent, slot)| location(extent, slot)).collect())
    }

    /// Keeps locations from being reused while they are read. Call it in the same step as [`Store::locate`]. If one of
    /// them is gone, it returns false and pins none.
    pub fn pin(&self, locations: &[Location]) -> bool {
        let mut state = self.shared.state.borrow_mut();
        for (index, at) in locations.iter().enumerate() {
            let held = match at.class {
                Class::Log => state.logs.pin(at.segment),
                Class::Extent => state.extents.pin(at.segment, at.offset),
            };
            if !held {
                drop(state);
                self.unpin(&locations[..index]);
                return false;
            }
        }
        true
    }

    /// Unpins locations that were pinned.
    pub fn unpin(&self, locations: &[Location]) {
        let mut state = self.shared.state.borrow_mut();
        for at in locations {
            match at.class {
                Class::Log => {
                    if state.logs.unpin(at.segment) {
                        crate::reach!("dead-log-released-by-its-last-reader");
                        self.shared.reclaim.notify();
                    }
                }
                Class::Extent => state.extents.unpin(at.segment, at.offset),
            }
        }
    }

    /// Deletes those of the blobs that are here. Returns when that is durable. Readers no longer find them from now on;
    /// their bytes stay until the last reader has finished. A blob whose append has not returned yet is not here.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Io`], [`Error::Closed`]. The blobs may then be back after a restart, unless the delete
    /// is retried and succeeds.
    pub async fn delete(&self, ids: &[DataId]) -> Result<()> {
        let shared = &self.shared;
        let mut outcomes = Vec::new();
        for some in ids.chunks(MAX_DELETES_PER_RECORD) {
            // Room for the largest record that this may become: once the delete is deletion, the record must follow at
            // once.
            let room = shared.room.acquire(some.len() * 24 + 128).await;
            if shared.queue.is_closed() {
                return Err(Error::Closed);
            }
            let mut tombstones = Vec::with_capacity(some.len());
            let mut frees = Vec::with_capacity(some.len());
            for &data_id in some {
                let deletion = shared.state.borrow_mut().delete(data_id);
                if let Some((oldest, newest)) = deletion.range {
                    tombstones.push(Tombstone { data_id, oldest, newest });
                    frees.push(deletion.extents);
                }
            }
            if tombstones.is_empty() {
                continue;
            }
            let body = encode_tombstones(&tombstones);
            let blob = BlobHeader { created_ms: io::unix_ms(), ..BlobHeader::default() };
            let record = Record { kind: Kind::Delete, blob, body: &[&body] };
            let ticket = shared.push(&record, room, |record, pending| {
                pending.extend(tombstones.iter().zip(frees).map(|(tombstone, frees)| Pending {
                    frees,
                    ..Pending::fresh(Entry::tombstone(*tombstone, record))
                }));
            })?;
            outcomes.push(ticket.outcome);
        }
        // Wait for all of them, even after a failure: a retry must find every delete that failed.
        let mut result = Ok(());
        for outcome in outcomes {
            result = result.and(outcome.get().await.map(drop));
        }
        // The dead bytes of log segments were booked when the delete was decided.
        shared.reclaim.notify();
        result
    }

    /// The ids of all blobs, for checks in the simulator.
    #[cfg(sim)]
    pub fn data_ids(&self) -> std::collections::BTreeSet<DataId> {
        self.shared.state.borrow().index.iter().map(|(key, _)| key.data_id).collect()
    }

    /// Marks a blob as wanted. Returns whether it is here.
    pub fn mark(&self, data_id: DataId) -> bool {
        self.shared.state.borrow_mut().index.mark(data_id)
    }

    /// Deletes the blobs that were here when the store was opened and were never marked. Returns how many.
    ///
    /// # Errors
    /// As [`Store::delete`].
    pub async fn sweep_unmarked(&self) -> Result<usize> {
        let mut swept = 0;
        let tables = self.shared.state.borrow().index.tables();
        for table in 0..tables {
            let ids = self.shared.state.borrow().index.unmarked(table);
            swept += ids.len();
            crate::reach!("orphans-swept", !ids.is_empty());
            self.delete(&ids).await?;
            io::yield_if_needed().await;
        }
        Ok(swept)
    }

    /// Whether the log accepts new data: either the reserve is untouched and deletes have a segment to go to, or there
    /// are prepared segments beyond the one kept for deletes.
    fn has_room_in_log(&self, bytes: u64) -> bool {
        let pool = &self.shared.pool;
        (self.shared.has_room(bytes) && !pool.is_starved()) || pool.len() >= 2
    }

    /// Reclaims space now. Returns whether there was any to reclaim. This also runs in the background.
    ///
    /// # Errors
    /// [`Error::Io`]; what was not reclaimed is retried later.
    pub async fn reclaim(&self) -> Result<bool> {
        self.shared.reclaim_once().await
    }

    /// Notes that nothing may ever refer to a blob that was stored here.
    pub fn note_leftovers(&self) {
        self.shared.leftovers.set(true);
    }

    /// Whether this run may leave blobs, or extents of them, that nothing refers to: the next start should sweep.
    pub fn may_hold_leftovers(&self) -> bool {
        self.shared.leftovers.get()
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        let shared = &self.shared;
        let state = shared.state.borrow();
        let counters = shared.counters.borrow();
        let (extent_segments, extent_live_bytes, extent_free_bytes) = state.extents.totals();
        Stats {
            batches: counters.batches,
            records: counters.records,
            bytes: counters.bytes,
            batch_sizes: counters.batch_sizes,
            failed_batches: counters.failed_batches,
            extent_syncs: counters.extent_syncs,
            commit_us: counters.sync_us.clone(),
            log_segments: state.logs.iter().count(),
            free_log_segments: shared.pool.len(),
            log_used_bytes: state.logs.iter().map(|(_, segment)| segment.used).sum(),
            log_live_bytes: state.logs.iter().map(|(id, _)| state.logs.needed_bytes(id)).sum(),
            extent_segments,
            extent_live_bytes,
            extent_free_bytes,
            index_entries: state.index.len(),
            index_bytes: state.index.bytes(),
            compactions: counters.compactions,
            damaged: counters.damaged,
            free_bytes: shared.config.disk.unclaimed_bytes(),
        }
    }

    /// Free bytes of the file system, from a reading that may be a moment old.
    pub fn disk_free_bytes(&self) -> u64 {
        self.shared.config.disk.unclaimed_bytes()
    }

    /// Accepts no more calls, and returns when everything accepted is durable and no task touches the folder any more.
    pub async fn shutdown(&self) {
        self.shared.queue.close();
        self.shared.work.notify();
        self.shared.reclaim.notify();
        let _ = self.shared.ended.get().await;
        self.shared.quiesce().await;
    }

    /// Makes the next data sync of an extent segment fail.
    #[cfg(test)]
    pub(crate) fn fail_next_extent_sync(&self) {
        self.shared.fail_extent_sync.set(true);
    }

    #[cfg(test)]
    pub(super) fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }
}

async fn reclaim_loop(shared: Rc<Shared>) {
    let failures = Cell::new(0u32);
    while !shared.queue.is_closed() {
        let _ = io::timeout(RECLAIM_EVERY, shared.reclaim.wait()).await;
        while !shared.queue.is_closed() {
            match shared.reclaim_once().await {
                Ok(true) => failures.set(0),
                Ok(false) => break,
                Err(_) => {
                    // The disk fails: wait longer each time, up to a minute.
                    failures.set((failures.get() + 1).min(6));
                    io::sleep(RECLAIM_EVERY * (1 << failures.get())).await;
                    break;
                }
            }
        }
    }
}

fn entry_of(blob: &BlobHeader, kind: EntryKind) -> Entry {
    let BlobHeader { data_id, shard, extent, last, .. } = *blob;
    Entry { data_id, shard, extent, last, record: 0, kind }
}

fn location(extent: u16, slot: Slot) -> Location {
    let class = if slot.in_extent { Class::Extent } else { Class::Log };
    let offset = slot_offset(slot);
    debug_assert!(offset.is_multiple_of(UNIT_BYTES));
    Location { class, segment: slot.segment, offset, length: slot.length, extent }
}
