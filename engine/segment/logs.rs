//! What each log segment holds that is still needed. Pure bookkeeping.
//!
//! A segment is rewritten when less than half of it is live. Live records are blobs and publish records that the index
//! points to, and tombstones that are still needed. *A tombstone is needed while a log segment other than its own that
//! may hold a record of the deleted blob is in use.* The range of such segments is written with the tombstone. Usually
//! it is only the segment of the deleted record. Segments that hold *older copies* (a segment that is being rewritten,
//! or was when the process ended) are called shadowed, and extend the range.

use std::collections::{BTreeMap, BTreeSet};

/// The stage of a log segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Being appended to.
    Active,
    /// Full. Its footer is being written, so the file must not be reused yet.
    Sealing,
    /// Full, with a footer.
    Sealed,
    /// Abandoned after a failed write. Recovery scans it.
    Unsealed,
    /// Damaged: reported, never rewritten or reused, left for repair.
    Damaged,
    /// Being rewritten.
    Compacting,
    /// Nothing in it is needed. It waits for its readers.
    Dead,
}

#[derive(Debug)]
pub(super) struct LogSegment {
    pub(super) generation: u32,
    pub(super) length: u64,
    pub(super) stage: Stage,
    /// Bytes of batches.
    pub(super) used: u64,
    /// Bytes of records that the index points to.
    pub(super) live: u64,
    tombstones: BTreeMap<(u32, u32), u64>,
    pub(super) pins: u32,
}

#[derive(Default)]
pub(super) struct Logs {
    segments: BTreeMap<u32, LogSegment>,
    shadowed: BTreeSet<u32>,
}

const TOMBSTONE_COST: u64 = 24;

impl Logs {
    pub(super) fn add(&mut self, id: u32, generation: u32, length: u64, stage: Stage) {
        let segment =
            LogSegment { generation, length, stage, used: 0, live: 0, tombstones: BTreeMap::new(), pins: 0 };
        let old = self.segments.insert(id, segment);
        assert!(old.is_none(), "log segment {id} is added only once");
    }

    pub(super) fn get(&self, id: u32) -> Option<&LogSegment> {
        self.segments.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut LogSegment> {
        self.segments.get_mut(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &LogSegment)> {
        self.segments.iter().map(|(id, segment)| (*id, segment))
    }

    pub(super) fn set_stage(&mut self, id: u32, stage: Stage) {
        if let Some(segment) = self.segments.get_mut(&id) {
            segment.stage = stage;
        }
    }

    /// Removes a segment whose file is no longer a log segment.
    pub(super) fn remove(&mut self, id: u32) -> Option<LogSegment> {
        self.shadowed.remove(&id);
        self.segments.remove(&id)
    }

    pub(super) fn live(&mut self, id: u32, bytes: u64) {
        if let Some(segment) = self.segments.get_mut(&id) {
            segment.live += bytes;
        }
    }

    pub(super) fn dead(&mut self, id: u32, bytes: u64) {
        if let Some(segment) = self.segments.get_mut(&id) {
            assert!(segment.live >= bytes, "segment {id}: {} live bytes, {bytes} die", segment.live);
            segment.live -= bytes;
        }
    }

    pub(super) fn shadow(&mut self, id: u32) {
        if self.segments.contains_key(&id) {
            self.shadowed.insert(id);
        }
    }

    /// The range for a tombstone of a blob whose records lie in `oldest..=newest`.
    pub(super) fn tombstone_range(&self, oldest: u32, newest: u32) -> (u32, u32) {
        match (self.shadowed.first(), self.shadowed.last()) {
            (Some(&first), Some(&last)) => (oldest.min(first), newest.max(last)),
            _ => (oldest, newest),
        }
    }

    pub(super) fn add_tombstone(&mut self, id: u32, range: (u32, u32)) {
        if let Some(segment) = self.segments.get_mut(&id) {
            *segment.tombstones.entry((range.0, range.1.min(id))).or_default() += TOMBSTONE_COST;
        }
    }

    /// Whether a tombstone in segment `id` with this range is still needed once `id` is gone.
    pub(super) fn tombstone_needed(&self, id: u32, (oldest, newest): (u32, u32)) -> bool {
        oldest <= newest && self.segments.range(oldest..=newest).any(|(other, _)| *other != id)
    }

    /// Bytes that the active segment still has for batches and its footer.
    pub(super) fn active_room(&self) -> u64 {
        let mut active = self.segments.values().filter(|segment| segment.stage == Stage::Active);
        active.next().map_or(0, |segment| segment.length.saturating_sub(segment.used))
    }

    /// Bytes of a segment that a rewrite would have to copy.
    pub(super) fn needed_bytes(&self, id: u32) -> u64 {
        let Some(segment) = self.segments.get(&id) else { return 0 };
        let tombstones: u64 = segment
            .tombstones
            .iter()
            .filter(|(range, _)| self.tombstone_needed(id, **range))
            .map(|(_, bytes)| bytes)
            .sum();
        segment.live + tombstones
    }

    /// The segment that is most worth rewriting, if less than `percent` percent of any segment is needed.
    pub(super) fn victim(&self, percent: u64) -> Option<u32> {
        self.segments
            .iter()
            .filter(|(_, segment)| matches!(segment.stage, Stage::Sealed | Stage::Unsealed))
            .map(|(id, segment)| (self.needed_bytes(*id), segment.used, *id))
            .filter(|(needed, used, _)| needed * 100 < used * percent || *needed == 0)
            .min_by_key(|(needed, used, id)| (needed * 1000 / (*used).max(1), *id))
            .map(|(_, _, id)| id)
    }

    pub(super) fn pin(&mut self, id: u32) -> bool {
        self.segments.get_mut(&id).is_some_and(|segment| {
            segment.pins += 1;
            true
        })
    }

    /// Removes a reader. Returns whether the segment can now be reused.
    pub(super) fn unpin(&mut self, id: u32) -> bool {
        let Some(segment) = self.segments.get_mut(&id) else { return false };
        assert!(segment.pins > 0, "log segment {id} has a pin for each unpin");
        segment.pins -= 1;
        segment.pins == 0 && segment.stage == Stage::Dead
    }

    /// Segments that nobody needs and nobody reads.
    pub(super) fn reusable(&self) -> Vec<u32> {
        self.iter()
            .filter(|(_, segment)| segment.stage == Stage::Dead && segment.pins == 0)
            .map(|(id, _)| id)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logs(ids: &[u32]) -> Logs {
        let mut logs = Logs::default();
        for &id in ids {
            logs.add(id, 1, 1 << 20, Stage::Sealed);
        }
        logs
    }

    #[test]
    fn a_tombstone_is_needed_while_another_segment_may_hold_a_record_of_the_blob() {
        let mut logs = logs(&[1, 2, 3]);
        assert!(logs.tombstone_needed(3, (1, 1)));
        assert!(!logs.tombstone_needed(3, (3, 3)), "a record in the tombstone's own segment goes with it");
        assert!(logs.tombstone_needed(3, (2, 3)));
        logs.remove(1);
        assert!(!logs.tombstone_needed(3, (1, 1)));
    }

    #[test]
    fn a_segment_being_rewritten_extends_the_range_of_new_tombstones() {
        let mut logs = logs(&[1, 2, 3, 4]);
        assert_eq!(logs.tombstone_range(3, 3), (3, 3));
        logs.shadow(2);
        assert_eq!(logs.tombstone_range(3, 3), (2, 3));
        assert_eq!(logs.tombstone_range(1, 1), (1, 2));
        logs.remove(2);
        assert_eq!(logs.tombstone_range(3, 3), (3, 3));
    }

    #[test]
    fn the_emptiest_segment_below_half_is_rewritten_first_and_a_damaged_one_never_is() {
        let mut logs = logs(&[1, 2, 3, 4]);
        for (id, live) in [(1, 50), (2, 40), (3, 10), (4, 0)] {
            let segment = logs.get_mut(id).expect("added");
            (segment.used, segment.live) = (100, live);
        }
        logs.set_stage(4, Stage::Damaged);
        assert_eq!(logs.victim(50), Some(3));
        logs.remove(3);
        assert_eq!(logs.victim(50), Some(2));
        logs.remove(2);
        assert_eq!(logs.victim(50), None);
        assert_eq!(logs.victim(90), Some(1));
    }

    #[test]
    fn tombstones_count_as_live_while_they_are_needed() {
        let mut logs = logs(&[1, 2]);
        logs.get_mut(2).expect("added").used = 100;
        logs.get_mut(1).expect("added").used = 100;
        logs.get_mut(1).expect("added").live = 100;
        for _ in 0..3 {
            logs.add_tombstone(2, (1, u32::MAX));
        }
        assert_eq!((logs.needed_bytes(2), logs.victim(50)), (72, None));
        logs.remove(1);
        assert_eq!((logs.needed_bytes(2), logs.victim(50)), (0, Some(2)));
    }
}
