//! Reclaims space: rewrites log segments that are mostly dead, reuses them, and punches out free extents.
//!
//! A segment is rewritten by appending what is still needed of it through ordinary group commits. It is reused only
//! when all of that is durable and its last reader has finished. In the meantime it is shadowed, and extends the range
//! of new tombstones ([`super::logs`]).

use std::rc::Rc;

use super::batch::{Moved, Outcome, Pending, Record};
use super::files::{Framed, read_range};
use super::log::Shared;
use super::logs::Stage;
use super::recovery::Damage;
use super::state::{blob_slot, key_of};
use super::{Class, open};
use crate::error::{Corrupt, Error, Result};
use crate::format::{
    Entry, EntryKind, HEADER_BYTES, Header, Kind, Salt, Tombstone, encode_tombstones, record_bytes,
};
use crate::io::{self, File};
use crate::limits::{MAX_BATCH_BYTES, MAX_DELETES_PER_RECORD};

/// A log segment is rewritten when less than this share of it is needed.
const REWRITE_PERCENT: u64 = 50;
/// As [`REWRITE_PERCENT`], while space is short.
const REWRITE_PERCENT_SHORT: u64 = 90;
/// Free log segments kept while space is short: deletes and rewriting need them.
const FREE_SEGMENTS_SHORT: usize = 2;

impl Shared {
    /// Reclaims what can be reclaimed now, rewriting at most one segment. Returns whether it reclaimed anything.
    pub(super) async fn reclaim_once(self: &Rc<Self>) -> Result<bool> {
        let _one = self.reclaiming.acquire(1).await;
        let short = self.low_on_space();
        let mut done = self.reuse_dead().await?;
        let victim =
            self.state.borrow().logs.victim(if short { REWRITE_PERCENT_SHORT } else { REWRITE_PERCENT });
        // When space is short, the remaining space belongs to deletes: rewriting may only use room that already exists.
        let fits = |id| {
            let logs = &self.state.borrow().logs;
            !short || self.pool.has_spare() || logs.needed_bytes(id) <= logs.active_room() / 2
        };
        if let Some(victim) = victim.filter(|id| fits(*id)) {
            self.compact(victim).await?;
            self.reuse_dead().await?;
            done = true;
        }
        if short {
            crate::reach!("space-reclaimed-while-short");
            self.shrink_pool(FREE_SEGMENTS_SHORT).await?;
        }
        done |= self.punch(short).await?;
        if done {
            self.config.disk.expire_reading();
        }
        if self.pool.is_starved() {
            done |= self.prepare_ahead().await.is_ok();
        }
        Ok(done)
    }

    async fn reuse_dead(&self) -> Result<bool> {
        let reusable = self.state.borrow().logs.reusable();
        let mut result = Ok(!reusable.is_empty());
        for id in reusable {
            let found = self.state.borrow().logs.get(id).map(|segment| segment.length);
            let Some(length) = found else { continue };
            self.files.forget(self.config.core, Class::Log, id);
            crate::reach!("dead-log-retired");
            match self.retire(id, length).await {
                Ok(()) => drop(self.state.borrow_mut().logs.remove(id)),
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }

    async fn punch(&self, short: bool) -> Result<bool> {
        let keep = if short { 0 } else { self.config.kept_free_extent_bytes };
        let ranges = self.state.borrow_mut().extents.take_for_punching(keep, short);
        let any = !ranges.is_empty();
        for at in ranges {
            // A range that can't be punched is still free.
            if let Ok(file) = self.files.get(self.config.core, Class::Extent, at.segment).await {
                let punched = file.punch_hole(at.offset, at.length).await;
                let _ = punched
                    .inspect(|()| crate::reach!("hole-punched"))
                    .inspect_err(|_| crate::reach!("hole-not-punched"));
            }
            self.state.borrow_mut().extents.add_hollow(at);
        }
        Ok(any)
    }

    /// Rewrites a log segment. On failure it stays as it was.
    async fn compact(self: &Rc<Self>, id: u32) -> Result<()> {
        let (stage, generation, length) = {
            let mut state = self.state.borrow_mut();
            let Some(segment) = state.logs.get_mut(id) else { return Ok(()) };
            let before = segment.stage;
            segment.stage = Stage::Compacting;
            let found = (before, segment.generation, segment.length);
            state.logs.shadow(id);
            found
        };
        crate::reach!("compaction-begun");
        let result = self.rewrite(id, Salt { segment: id, generation }, length).await;
        let mut state = self.state.borrow_mut();
        match result {
            Ok(()) => {
                crate::reach!("compaction-finished");
                crate::reach!("compacted-log-still-read", state.logs.get(id).is_some_and(|log| log.pins > 0));
                state.logs.set_stage(id, Stage::Dead);
                drop(state);
                self.counters.borrow_mut().compactions += 1;
                Ok(())
            }
            // Damage stays where it is, for repair; what could be copied has been copied.
            Err(Error::Corrupt(_)) => {
                crate::reach!("compaction-found-damage");
                state.logs.set_stage(id, Stage::Damaged);
                Ok(())
            }
            Err(error) => {
                crate::reach!("compaction-aborted");
                state.logs.set_stage(id, stage);
                Err(error)
            }
        }
    }

    async fn rewrite(&self, id: u32, salt: Salt, length: u64) -> Result<()> {
        if self.state.borrow().logs.needed_bytes(id) == 0 {
            return Ok(());
        }
        let file = self.files.get(self.config.core, Class::Log, id).await?;
        let loaded = open::load_batches(&file, salt, length).await?;
        let mut outcomes: Vec<Rc<Outcome>> = Vec::new();
        let mut tombstones = Vec::new();
        let mut damaged = None;
        let mut window = Window { end: length, start: 0, bytes: None };
        for entry in &loaded.entries {
            if let EntryKind::Tombstone { oldest, newest } = entry.kind {
                tombstones.push(Tombstone { data_id: entry.data_id, oldest, newest: newest.min(id) });
                continue;
            }
            if self.origin(entry, id).is_none() {
                continue;
            }
            match self.copy(&file, &mut window, entry, salt).await {
                Ok(Some(outcome)) if !outcomes.last().is_some_and(|last| Rc::ptr_eq(last, &outcome)) => {
                    outcomes.push(outcome);
                }
                Ok(_) => {}
                Err(error @ Error::Corrupt(what)) => {
                    let data_id = Some(entry.data_id);
                    self.damage(Damage { segment: id, offset: entry.record, data_id, what });
                    damaged = Some(error);
                }
                Err(error) => return Err(error),
            }
            io::yield_if_needed().await;
        }
        for some in tombstones.chunks(MAX_DELETES_PER_RECORD) {
            outcomes.extend(self.copy_tombstones(id, some).await?);
        }
        for outcome in outcomes {
            outcome.get().await?;
        }
        if damaged.is_none() && self.state.borrow().logs.get(id).is_some_and(|segment| segment.live > 0) {
            // Something that is live in this segment was not found.
            loaded.bad.into_iter().for_each(|damage| self.damage(damage));
            damaged = Some(Corrupt::Body.into());
        }
        damaged.map_or(Ok(()), Err)
    }

    pub(super) fn damage(&self, damage: Damage) {
        self.counters.borrow_mut().damaged += 1;
        self.report.borrow_mut().add(damage);
    }

    /// What a copy of the record would replace; `None` if the record is dead.
    fn origin(&self, entry: &Entry, id: u32) -> Option<Moved> {
        let state = self.state.borrow();
        let key = key_of(entry);
        match entry.kind {
            EntryKind::Blob { length } => {
                let slot = blob_slot(entry, id, length);
                (state.index.get(&key) == Some(slot)).then_some(Moved::Blob(slot))
            }
            EntryKind::Publish(at) => (state.extents.publisher(at.segment, at.offset) == Some((key, id)))
                .then_some(Moved::Publish(id)),
            EntryKind::Tombstone { .. } => None,
        }
    }

    async fn copy(
        &self,
        file: &File,
        window: &mut Window,
        entry: &Entry,
        salt: Salt,
    ) -> Result<Option<Rc<Outcome>>> {
        let body_bytes = match entry.kind {
            EntryKind::Blob { length } => length as usize,
            _ => crate::format::Publish::BYTES,
        };
        let bytes = window.read(file, entry.record, record_bytes(body_bytes)).await?;
        let header = Header::decode(bytes, salt)?;
        let body = header.check_body(&bytes[HEADER_BYTES..])?;
        if header.blob.data_id != entry.data_id || body.len() != body_bytes {
            return Err(Corrupt::Field("record").into());
        }
        let record = Record { kind: header.kind, blob: header.blob, body: &[body] };
        let room = self.permit(&record).await;
        // The wait may have been long: only what is still live may follow the tombstones written in the meantime.
        let Some(moved) = self.origin(entry, salt.segment) else {
            crate::reach!("record-died-before-its-copy");
            return Ok(None);
        };
        let ticket = self.push(&record, room, |offset, pending| {
            pending.push(Pending {
                entry: Entry { record: offset, ..*entry },
                moved: Some(moved),
                frees: Vec::new(),
            });
        })?;
        self.state.borrow_mut().copy_queued(entry.data_id);
        Ok(Some(ticket.outcome))
    }

    async fn copy_tombstones(&self, id: u32, tombstones: &[Tombstone]) -> Result<Option<Rc<Outcome>>> {
        let needed = |tombstone: &&Tombstone| {
            let state = self.state.borrow();
            // A blob that was stored again under its id must not be deleted by a copy written after it.
            state.logs.tombstone_needed(id, (tombstone.oldest, tombstone.newest))
                && !state.index.contains(tombstone.data_id)
        };
        let tombstones: Vec<Tombstone> = tombstones.iter().filter(needed).copied().collect();
        if tombstones.is_empty() {
            return Ok(None);
        }
        let body = encode_tombstones(&tombstones);
        let record = Record { kind: Kind::Delete, blob: Default::default(), body: &[&body] };
        let room = self.permit(&record).await;
        let ticket = self.push(&record, room, |offset, pending| {
            pending.extend(tombstones.iter().map(|tombstone| Pending {
                moved: Some(Moved::Tombstone),
                ..Pending::fresh(Entry::tombstone(*tombstone, offset))
            }));
        })?;
        Ok(Some(ticket.outcome))
    }
}

/// Reads a file from front to back in large pieces.
struct Window {
    end: u64,
    start: u64,
    bytes: Option<Framed>,
}

impl Window {
    async fn read(&mut self, file: &File, offset: u64, length: usize) -> Result<&[u8]> {
        let held = self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
        if offset < self.start || offset + length as u64 > self.start + held {
            self.bytes = None;
            let start = io::align_down(offset);
            let wanted = (MAX_BATCH_BYTES as u64)
                .max(offset - start + length as u64)
                .min(self.end.saturating_sub(start));
            self.bytes = Some(read_range(file, start, wanted as usize).await?);
            self.start = start;
        }
        let from = (offset - self.start) as usize;
        let bytes = self.bytes.as_deref().and_then(|bytes| bytes.get(from..from + length));
        bytes.ok_or(Error::Corrupt(Corrupt::Short))
    }
}
