//! What the log holds, in memory: where each entry lies, the latest entries themselves, the vote and the marks.

use std::collections::VecDeque;

use super::Place;
use super::record::Record;
use crate::types::{Entry, LogId, Payload, Vote};

/// Memory charged per entry besides its command's bytes.
const ENTRY_OVERHEAD_BYTES: usize = 160;

struct Slot {
    log_id: LogId,
    /// Where it lies once it is durable.
    place: Option<Place>,
}

/// The entries of the log after the last purge, and its state.
pub struct Index {
    slots: VecDeque<Slot>,
    /// The latest entries, without a gap up to the end.
    recent: VecDeque<Entry>,
    recent_bytes: usize,
    cache_bytes: usize,
    /// The last purged entry.
    pub purged: Option<LogId>,
    /// The vote.
    pub vote: Option<Vote>,
    /// The last entry known to be committed.
    pub committed: Option<LogId>,
}

/// Where to get an entry.
pub enum Lookup {
    /// From memory.
    Cached(Entry),
    /// From a segment file.
    OnDisk(LogId, Place),
}

fn bytes_of(entry: &Entry) -> usize {
    ENTRY_OVERHEAD_BYTES
        + match &entry.payload {
            Payload::Normal(proposal) => proposal.bytes().len(),
            Payload::Blank | Payload::Membership(_) => 0,
        }
}

impl Index {
    /// An empty log that keeps `cache_bytes` of entries in memory.
    pub fn new(cache_bytes: usize) -> Index {
        Index {
            slots: VecDeque::new(),
            recent: VecDeque::new(),
            recent_bytes: 0,
            cache_bytes,
            purged: None,
            vote: None,
            committed: None,
        }
    }

    /// The last entry, or the last that was purged.
    pub fn last(&self) -> Option<LogId> {
        self.slots.back().map(|slot| slot.log_id).or(self.purged)
    }

    /// The id of the entry at an index, the last purged one included.
    pub fn id_at(&self, index: u64) -> Option<LogId> {
        let purged = self.purged.filter(|purged| purged.index == index);
        let at = self.first_index().and_then(|first| usize::try_from(index.checked_sub(first)?).ok());
        purged.or_else(|| Some(self.slots.get(at?)?.log_id))
    }

    fn first_index(&self) -> Option<u64> {
        self.slots.front().map(|slot| slot.log_id.index)
    }

    /// Adds an entry, durable or not yet.
    ///
    /// # Errors
    /// It does not follow the last one.
    pub fn push(&mut self, entry: Entry, place: Option<Place>) -> Result<(), String> {
        let index = entry.log_id.index;
        let expected = self.last().map_or(0, |last| last.index + 1);
        // After a restart the purge mark may be older than the first entry that is still kept.
        if index != expected && !(self.slots.is_empty() && place.is_some() && index > expected) {
            return Err(format!("found entry {index} where entry {expected} belongs"));
        }
        self.slots.push_back(Slot { log_id: entry.log_id, place });
        self.recent_bytes += bytes_of(&entry);
        self.recent.push_back(entry);
        self.evict();
        Ok(())
    }

    /// Notes that an entry is durable, unless it was truncated or purged meanwhile.
    pub fn settle(&mut self, log_id: LogId, place: Place) {
        let Some(first) = self.first_index() else { return };
        let Some(at) = log_id.index.checked_sub(first) else { return };
        let slot = usize::try_from(at).ok().and_then(|at| self.slots.get_mut(at));
        if let Some(slot) = slot.filter(|slot| slot.log_id == log_id) {
            slot.place = Some(place);
        }
    }

    /// Drops the oldest entries from memory beyond the limit; one that is not durable yet stays.
    pub fn evict(&mut self) {
        while self.recent_bytes > self.cache_bytes && self.recent.len() > 1 {
            let oldest = self.slots.len() - self.recent.len();
            if self.slots[oldest].place.is_none() {
                return;
            }
            if let Some(entry) = self.recent.pop_front() {
                self.recent_bytes -= bytes_of(&entry);
            }
        }
    }

    /// Drops the entries after `last`; all of them for `None`.
    pub fn truncate_after(&mut self, last: Option<LogId>) {
        while self.slots.back().is_some_and(|slot| last.is_none_or(|last| slot.log_id.index > last.index)) {
            self.slots.pop_back();
            if let Some(entry) = self.recent.pop_back() {
                self.recent_bytes -= bytes_of(&entry);
            }
        }
    }

    /// Drops the entries up to `upto`.
    pub fn purge(&mut self, upto: LogId) {
        if self.purged.is_some_and(|purged| purged.index >= upto.index) {
            return;
        }
        self.purged = Some(upto);
        while self.slots.front().is_some_and(|slot| slot.log_id.index <= upto.index) {
            if self.recent.len() == self.slots.len()
                && let Some(entry) = self.recent.pop_front()
            {
                self.recent_bytes -= bytes_of(&entry);
            }
            self.slots.pop_front();
        }
    }

    /// The entries from `from` (inclusive) to `to` (exclusive), as far as they exist.
    pub fn range(&self, from: u64, to: u64) -> Vec<Lookup> {
        let Some(first) = self.first_index() else { return Vec::new() };
        let end = first + self.slots.len() as u64;
        let in_memory = end - self.recent.len() as u64;
        (from.max(first)..to.min(end))
            .filter_map(|index| {
                if let Some(at) = index.checked_sub(in_memory) {
                    return self.recent.get(usize::try_from(at).ok()?).cloned().map(Lookup::Cached);
                }
                let slot = self.slots.get(usize::try_from(index - first).ok()?)?;
                slot.place.map(|place| Lookup::OnDisk(slot.log_id, place))
            })
            .collect()
    }

    /// Applies a record that was read back.
    ///
    /// # Errors
    /// It does not fit what came before.
    pub fn replay(&mut self, record: Record, place: Place) -> Result<(), String> {
        match record {
            Record::Entry(entry) => {
                // From a segment that is due to be recycled: its entries are purged already.
                if self.purged.is_some_and(|purged| entry.log_id.index <= purged.index) {
                    return Ok(());
                }
                return self.push(entry, Some(place));
            }
            Record::Vote(vote) => self.vote = Some(vote),
            Record::Committed(committed) => self.committed = committed,
            Record::Truncate(last) => self.truncate_after(last),
            Record::Purge(upto) => self.purge(upto),
        }
        Ok(())
    }

    /// Checks the state after all records.
    ///
    /// # Errors
    /// Entries after the last purge are missing.
    pub fn finish_replay(&mut self) -> Result<(), String> {
        let expected = self.purged.map_or(0, |purged| purged.index + 1);
        if let Some(first) = self.first_index()
            && first != expected
        {
            return Err(format!("the log starts at entry {first}, not at {expected}"));
        }
        // The mark may be ahead of entries whose batch was torn.
        let last = self.last();
        if self.committed.map(|id| id.index) > last.map(|id| id.index) {
            engine::reach!("wal-committed-mark-moved-back");
            self.committed = last;
        }
        Ok(())
    }

    /// Size of the entries kept in memory, bytes.
    pub fn cached_bytes(&self) -> usize {
        self.recent_bytes
    }
}
