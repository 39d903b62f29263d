//! A core's knowledge of its segments, and how each record changes it: one set of rules for records that have just
//! become durable and for records replayed at start. Pure.

use std::collections::BTreeMap;

use super::batch::{Moved, Pending};
use super::extent::Extents;
use super::index::{Index, Key, Slot};
use super::logs::Logs;
use crate::format::{Entry, EntryKind, HEADER_BYTES, Publish, UNIT_BYTES, record_bytes};
use crate::ids::DataId;

/// Length of a publish record.
pub(super) const PUBLISH_RECORD_BYTES: u64 = record_bytes(Publish::BYTES) as u64;

#[derive(Default)]
pub(super) struct State {
    pub(super) index: Index,
    pub(super) logs: Logs,
    pub(super) extents: Extents,
    /// Number of copies of each blob that compactions have queued and that are not durable yet.
    queued_copies: BTreeMap<DataId, usize>,
    /// Deletes whose tombstones failed: the blobs are out of the index, and their extents wait for the delete to be
    /// retried.
    failed_deletes: BTreeMap<DataId, Deletion>,
}

/// The decision to delete a blob: the range of its tombstone, and the extents to free once the tombstone is durable.
#[derive(Debug, Default)]
pub(super) struct Deletion {
    pub(super) range: Option<(u32, u32)>,
    pub(super) extents: Vec<(u32, u64)>,
}

impl Deletion {
    fn widen(&mut self, oldest: u32, newest: u32) {
        let (first, last) = self.range.unwrap_or((oldest, newest));
        self.range = Some((first.min(oldest), last.max(newest)));
    }
}

pub(super) fn blob_bytes(length: u32) -> u64 {
    record_bytes(length as usize) as u64
}

pub(super) fn key_of(entry: &Entry) -> Key {
    Key { data_id: entry.data_id, shard: entry.shard, extent: entry.extent }
}

/// The index slot of a blob record in a log segment.
pub(super) fn blob_slot(entry: &Entry, segment: u32, length: u32) -> Slot {
    let offset = ((entry.record + HEADER_BYTES as u64) / UNIT_BYTES) as u32;
    Slot { segment, offset, length, in_extent: false, last: entry.last }
}

/// The index slot of an extent.
pub(super) fn extent_slot(entry: &Entry, at: Publish) -> Slot {
    let offset = (at.offset / UNIT_BYTES) as u32;
    Slot { segment: at.segment, offset, length: at.length, in_extent: true, last: entry.last }
}

pub(super) fn slot_offset(slot: Slot) -> u64 {
    u64::from(slot.offset) * UNIT_BYTES
}

impl State {
    /// Applies a record of this process that became durable in log segment `log`.
    pub(super) fn durable(&mut self, pending: &Pending, log: u32) {
        let entry = &pending.entry;
        let key = key_of(entry);
        match (entry.kind, pending.moved) {
            (EntryKind::Blob { length }, None) => self.add(key, blob_slot(entry, log, length), log),
            (EntryKind::Blob { length }, Some(moved)) => {
                self.copy_done(entry.data_id);
                let Moved::Blob(from) = moved else { return };
                match self.index.get(&key) {
                    Some(at) if at == from => {
                        self.index.insert(key, blob_slot(entry, log, length));
                        self.logs.dead(from.segment, blob_bytes(from.length));
                        self.logs.live(log, blob_bytes(length));
                    }
                    Some(_) => self.logs.shadow(log),
                    None => crate::reach!("copied-blob-deleted-in-the-meantime"),
                }
            }
            (EntryKind::Publish(at), None) => {
                self.extents.published(at.segment, at.offset, u64::from(at.length), key, log);
                self.add(key, extent_slot(entry, at), log);
            }
            (EntryKind::Publish(at), Some(moved)) => {
                self.copy_done(entry.data_id);
                let Moved::Publish(from) = moved else { return };
                match self.extents.publisher(at.segment, at.offset) {
                    Some(publisher) if publisher == (key, from) => {
                        crate::reach!("publish-record-copied");
                        self.extents.republished(at.segment, at.offset, log);
                        self.logs.dead(from, PUBLISH_RECORD_BYTES);
                        self.logs.live(log, PUBLISH_RECORD_BYTES);
                    }
                    Some((other, _)) if other == key => self.logs.shadow(log),
                    _ => {}
                }
            }
            (EntryKind::Tombstone { oldest, newest }, _) => {
                crate::reach!("tombstone-copied", pending.moved.is_some());
                self.logs.add_tombstone(log, (oldest, newest));
                for &(segment, offset) in &pending.frees {
                    self.extents.end_delete(segment, offset);
                }
            }
        }
    }

    /// Handles a record of this process that failed to become durable.
    pub(super) fn failed(&mut self, pending: &Pending) {
        let data_id = pending.entry.data_id;
        match (pending.entry.kind, pending.moved) {
            // The rewrite fails as a whole: the segment keeps the tombstone.
            (_, Some(Moved::Tombstone)) => crate::reach!("copy-of-a-tombstone-failed"),
            (_, Some(_)) => {
                crate::reach!("copy-of-a-record-failed");
                self.copy_done(data_id);
            }
            (EntryKind::Tombstone { oldest, newest }, None) => {
                crate::reach!("delete-failed");
                let failed = self.failed_deletes.entry(data_id).or_default();
                failed.widen(oldest, newest);
                failed.extents.extend_from_slice(&pending.frees);
            }
            _ => {}
        }
    }

    /// Notes that a compaction has queued a copy of one record of a blob. Until the copy is durable, its segment is
    /// unknown.
    pub(super) fn copy_queued(&mut self, data_id: DataId) {
        *self.queued_copies.entry(data_id).or_default() += 1;
    }

    /// Notes that one of a blob's copies is durable or has failed.
    fn copy_done(&mut self, data_id: DataId) {
        match self.queued_copies.get_mut(&data_id) {
            Some(copies @ 2..) => *copies -= 1,
            _ => drop(self.queued_copies.remove(&data_id)),
        }
    }

    /// Replays a record of an earlier process in log segment `log`. Segments are replayed in the order of their ids.
    pub(super) fn replay(&mut self, entry: &Entry, log: u32) {
        let key = key_of(entry);
        match entry.kind {
            EntryKind::Blob { length } => self.add(key, blob_slot(entry, log, length), log),
            EntryKind::Publish(at) => {
                let slot = extent_slot(entry, at);
                let gone = self.extents.replay(at.segment, at.offset, u64::from(at.length), key, log);
                for (old, publisher) in gone {
                    crate::reach!("overlapping-extents-replayed");
                    self.logs.dead(publisher, PUBLISH_RECORD_BYTES);
                    self.logs.shadow(publisher);
                    let at_old = self.index.get(&old);
                    if at_old.is_some_and(|old| old.in_extent && old.segment == at.segment) {
                        self.index.remove(&old);
                    }
                }
                self.add(key, slot, log);
            }
            EntryKind::Tombstone { oldest, newest } => {
                for (_, slot) in self.index.remove_blob(entry.data_id) {
                    self.forget(slot, true);
                }
                self.logs.add_tombstone(log, (oldest, newest));
            }
        }
    }

    /// Indexes a record. A record that it replaces is dead, and stays in its segment as an older copy.
    fn add(&mut self, key: Key, slot: Slot, log: u32) {
        self.logs.live(log, if slot.in_extent { PUBLISH_RECORD_BYTES } else { blob_bytes(slot.length) });
        let Some(old) = self.index.insert(key, slot) else { return };
        if (old.segment, old.offset, old.in_extent) == (slot.segment, slot.offset, slot.in_extent) {
            return;
        }
        if let Some(holder) = self.forget(old, true)
            && holder != log
        {
            crate::reach!("older-copy-replayed");
            self.logs.shadow(holder);
        }
    }

    /// Counts the record at `slot` as dead and returns the log segment that holds it. `durably`: its space may be
    /// reused at once.
    fn forget(&mut self, slot: Slot, durably: bool) -> Option<u32> {
        if !slot.in_extent {
            self.logs.dead(slot.segment, blob_bytes(slot.length));
            return Some(slot.segment);
        }
        let offset = slot_offset(slot);
        let publisher = if durably {
            self.extents.replay_delete(slot.segment, offset)
        } else {
            self.extents.begin_delete(slot.segment, offset)
        }?;
        self.logs.dead(publisher, PUBLISH_RECORD_BYTES);
        Some(publisher)
    }

    /// Removes a blob from the index. Readers no longer find it; its space stays taken until the tombstone is durable.
    /// If there is no record of it here, there is no range and nothing to write. A delete that failed is decided again.
    pub(super) fn delete(&mut self, data_id: DataId) -> Deletion {
        crate::reach!("failed-delete-retried", self.failed_deletes.contains_key(&data_id));
        crate::reach!("delete-while-a-copy-is-queued", self.queued_copies.contains_key(&data_id));
        let mut deletion = self.failed_deletes.remove(&data_id).unwrap_or_default();
        for (_, slot) in self.index.remove_blob(data_id) {
            if let Some(holder) = self.forget(slot, false) {
                deletion.widen(holder, holder);
            }
            if slot.in_extent {
                deletion.extents.push((slot.segment, slot_offset(slot)));
            }
        }
        deletion.range = deletion.range.map(|(oldest, newest)| {
            let (oldest, newest) = self.logs.tombstone_range(oldest, newest);
            // A queued copy lands before the tombstone, in a segment that is not known yet: use the widest range.
            (oldest, if self.queued_copies.contains_key(&data_id) { u32::MAX } else { newest })
        });
        deletion
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
