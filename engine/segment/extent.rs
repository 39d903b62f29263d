//! Which ranges of the extent segments are taken, free or abandoned. Pure bookkeeping. All ranges are 4096-aligned.
//!
//! There are two kinds of free ranges. *Backed* ranges have space on disk, so that a write into them can't run out of
//! it. *Hollow* ranges may have none (they were punched out, or it is unknown since a restart) and get their space
//! before use. Reservations take the first backed range that fits, so that data gathers at the front.

use std::collections::BTreeMap;

use super::index::Key;
use crate::io::align_up;

/// Space reserved for one extent. Its owner frees it again unless it is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reservation {
    /// Extent segment.
    pub segment: u32,
    /// Offset of the first block, bytes; a multiple of 4096.
    pub offset: u64,
    /// Bytes that may be written, a multiple of 4096.
    pub length: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Given to a writer.
    Reserved,
    /// The publish record is queued. Even if that fails, the record may be on disk: the space stays taken until the
    /// next start.
    Publishing,
    /// Holds an extent. Its publish record lies in log segment `log`.
    Published { key: Key, log: u32 },
    /// Deleted, but the delete is not durable yet.
    Deleting,
    /// Deleted durably, but still being read.
    Deleted,
}

#[derive(Debug)]
struct Taken {
    length: u64,
    used_by: Use,
    pins: u32,
}

#[derive(Debug, Default)]
struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    fn add(&mut self, mut offset: u64, mut length: u64) {
        if length == 0 {
            return;
        }
        if let Some((&before, &len)) = self.0.range(..offset).next_back() {
            assert!(before + len <= offset, "free ranges do not overlap");
            if before + len == offset {
                self.0.remove(&before);
                (offset, length) = (before, length + len);
            }
        }
        if let Some(len) = self.0.remove(&(offset + length)) {
            length += len;
        }
        self.0.insert(offset, length);
    }

    fn take(&mut self, length: u64) -> Option<u64> {
        let (&offset, &len) = self.0.iter().find(|(_, len)| **len >= length)?;
        self.0.remove(&offset);
        if len > length {
            self.0.insert(offset + length, len - length);
        }
        Some(offset)
    }

    fn bytes(&self) -> u64 {
        self.0.values().sum()
    }
}

#[derive(Debug, Default)]
struct Segment {
    /// Length of the file.
    grown: u64,
    /// The file is missing: nothing is reserved in it.
    missing: bool,
    /// A data sync of the file failed: nothing more is reserved or published in it until the next start.
    sealed: bool,
    backed: Ranges,
    hollow: Ranges,
    /// Whether hollow ranges are known to be punched out.
    trimmed: bool,
    taken: BTreeMap<u64, Taken>,
}

#[derive(Debug, Default)]
pub(super) struct Extents {
    segments: BTreeMap<u32, Segment>,
}

impl Extents {
    /// Registers a segment whose file is `grown` bytes long. What is not taken becomes free in
    /// [`Extents::finish_recovery`] or, for a new segment, in [`Extents::grow`].
    pub(super) fn add_segment(&mut self, id: u32, grown: u64, missing: bool) {
        let old = self.segments.insert(id, Segment { grown, missing, ..Segment::default() });
        assert!(old.is_none(), "extent segment {id} is added only once");
    }

    /// The highest segment id, including missing segments; 0 if there are none.
    pub(super) fn newest_id(&self) -> u32 {
        self.segments.last_key_value().map_or(0, |(id, _)| *id)
    }

    pub(super) fn has_segment(&self, id: u32) -> bool {
        self.segments.contains_key(&id)
    }

    /// Reserves a backed range.
    pub(super) fn reserve(&mut self, length: u64) -> Option<Reservation> {
        let length = align_up(length);
        let mut usable = self.segments.iter_mut().filter(|(_, segment)| !segment.sealed);
        let (segment, offset) = usable.find_map(|(id, segment)| Some((*id, segment.backed.take(length)?)))?;
        self.take(segment, offset, length, Use::Reserved);
        Some(Reservation { segment, offset, length })
    }

    /// Takes a hollow range of `least` to `most` bytes out of the books, so that it can get space on disk.
    /// [`Extents::add_backed`] or [`Extents::add_hollow`] returns it.
    pub(super) fn take_hollow(&mut self, least: u64, most: u64) -> Option<Reservation> {
        let mut usable = self.segments.iter_mut().filter(|(_, segment)| !segment.missing && !segment.sealed);
        usable.find_map(|(id, segment)| {
            let (&offset, &found) = segment.hollow.0.iter().find(|(_, length)| **length >= least)?;
            let length = found.min(most);
            segment.hollow.0.remove(&offset);
            segment.hollow.add(offset + length, found - length);
            Some(Reservation { segment: *id, offset, length })
        })
    }

    /// Adds a free range that has space on disk.
    pub(super) fn add_backed(&mut self, at: Reservation) {
        if let Some(segment) = self.segments.get_mut(&at.segment) {
            segment.backed.add(at.offset, at.length);
        }
    }

    /// Adds a free range that may have no space on disk.
    pub(super) fn add_hollow(&mut self, at: Reservation) {
        if let Some(segment) = self.segments.get_mut(&at.segment) {
            segment.hollow.add(at.offset, at.length);
        }
    }

    fn take(&mut self, segment: u32, offset: u64, length: u64, used_by: Use) {
        if let Some(segment) = self.segments.get_mut(&segment) {
            let old = segment.taken.insert(offset, Taken { length, used_by, pins: 0 });
            assert!(old.is_none(), "a range is taken only once");
        }
    }

    /// A segment that can grow by `step`, if any, and its length.
    pub(super) fn growable(&self, step: u64, limit: u64) -> Option<(u32, u64)> {
        let fits = |segment: &Segment| !segment.missing && !segment.sealed && segment.grown + step <= limit;
        self.segments.iter().find(|(_, segment)| fits(segment)).map(|(id, segment)| (*id, segment.grown))
    }

    /// Notes that a segment's file became longer. The added range is backed.
    pub(super) fn grow(&mut self, id: u32, new_length: u64) {
        if let Some(segment) = self.segments.get_mut(&id) {
            segment.backed.add(segment.grown, new_length - segment.grown);
            segment.grown = new_length;
        }
    }

    /// Releases a writer's reservation.
    pub(super) fn release(&mut self, at: Reservation) -> bool {
        let Some(segment) = self.segments.get_mut(&at.segment) else { return false };
        if segment.taken.get(&at.offset).is_none_or(|taken| taken.used_by != Use::Reserved) {
            return false;
        }
        free(segment, at.offset);
        true
    }

    /// Frees a range whatever it holds.
    #[cfg(test)]
    pub(super) fn forget(&mut self, at: Reservation) {
        self.segments.get_mut(&at.segment).into_iter().for_each(|segment| free(segment, at.offset));
    }

    /// Whether a writer holds this reservation.
    pub(super) fn is_reserved(&self, at: Reservation) -> bool {
        let taken = self.segments.get(&at.segment).and_then(|segment| segment.taken.get(&at.offset));
        taken.is_some_and(|taken| taken.used_by == Use::Reserved && taken.length == at.length)
    }

    /// Seals a segment after a failed sync: what was written since the last good sync is unknown. Published extents
    /// stay.
    pub(super) fn seal(&mut self, id: u32) {
        crate::reach!("extent-segment-sealed");
        if let Some(segment) = self.segments.get_mut(&id) {
            segment.sealed = true;
        }
    }

    pub(super) fn is_sealed(&self, id: u32) -> bool {
        self.segments.get(&id).is_some_and(|segment| segment.sealed)
    }

    /// Notes that the publish record of a reserved range is about to be queued. Its writer can't release it any more.
    pub(super) fn publishing(&mut self, at: Reservation) {
        let segment = self.segments.get_mut(&at.segment);
        if let Some(taken) = segment.and_then(|segment| segment.taken.get_mut(&at.offset)) {
            taken.used_by = Use::Publishing;
        }
    }

    /// Notes that a publish record became durable in log segment `log`. What the extent does not need is free again.
    pub(super) fn published(&mut self, segment: u32, offset: u64, length: u64, key: Key, log: u32) {
        let Some(segment) = self.segments.get_mut(&segment) else { return };
        let Some(taken) = segment.taken.get_mut(&offset) else { return };
        let wanted = align_up(length);
        assert!(wanted <= taken.length, "an extent fits its reservation");
        let rest = taken.length - wanted;
        *taken = Taken { length: wanted, used_by: Use::Published { key, log }, pins: taken.pins };
        segment.backed.add(offset + wanted, rest);
    }

    /// Replays a publish record. Returns the older extents that it shows to be gone.
    pub(super) fn replay(
        &mut self,
        segment: u32,
        offset: u64,
        length: u64,
        key: Key,
        log: u32,
    ) -> Vec<(Key, u32)> {
        if !self.has_segment(segment) {
            crate::reach!("extent-file-missing");
            self.add_segment(segment, 0, true);
        }
        let end = offset + align_up(length);
        let mut gone = Vec::new();
        if let Some(known) = self.segments.get_mut(&segment) {
            let overlapping: Vec<u64> = known
                .taken
                .range(..end)
                .rev()
                .take_while(|(start, taken)| **start + taken.length > offset)
                .map(|(start, _)| *start)
                .collect();
            for start in overlapping {
                if let Some(Taken { used_by: Use::Published { key, log }, .. }) = known.taken.remove(&start) {
                    gone.push((key, log));
                }
            }
        }
        self.take(segment, offset, end - offset, Use::Published { key, log });
        gone
    }

    /// Whether a range that ends at `end` lies within its file.
    pub(super) fn in_file(&self, segment: u32, end: u64) -> bool {
        self.segments.get(&segment).is_some_and(|segment| !segment.missing && end <= segment.grown)
    }

    /// The key of an extent and the log segment of its publish record.
    pub(super) fn publisher(&self, segment: u32, offset: u64) -> Option<(Key, u32)> {
        match self.segments.get(&segment)?.taken.get(&offset)?.used_by {
            Use::Published { key, log } => Some((key, log)),
            _ => None,
        }
    }

    /// Notes that the publish record was copied to another log segment.
    pub(super) fn republished(&mut self, segment: u32, offset: u64, to: u32) {
        let taken = self.segments.get_mut(&segment).and_then(|segment| segment.taken.get_mut(&offset));
        if let Some(Taken { used_by: Use::Published { log, .. }, .. }) = taken {
            *log = to;
        }
    }

    /// Begins a delete: the extent is gone, but its space is not yet free. Returns its publish record's segment.
    pub(super) fn begin_delete(&mut self, segment: u32, offset: u64) -> Option<u32> {
        let taken = self.segments.get_mut(&segment)?.taken.get_mut(&offset)?;
        match taken.used_by {
            Use::Published { log, .. } => {
                taken.used_by = Use::Deleting;
                Some(log)
            }
            _ => None,
        }
    }

    /// Ends a delete that became durable: the space is free once its last reader has finished.
    pub(super) fn end_delete(&mut self, id: u32, offset: u64) {
        let Some(segment) = self.segments.get_mut(&id) else { return };
        let Some(taken) = segment.taken.get_mut(&offset) else { return };
        if taken.used_by == Use::Deleting {
            taken.used_by = Use::Deleted;
            crate::reach!("extent-deleted-while-read", taken.pins > 0);
            if taken.pins == 0 {
                free(segment, offset);
            }
        }
    }

    /// Replays a delete. Returns the publish record's segment.
    pub(super) fn replay_delete(&mut self, segment: u32, offset: u64) -> Option<u32> {
        match self.segments.get_mut(&segment)?.taken.remove(&offset)?.used_by {
            Use::Published { log, .. } => Some(log),
            _ => None,
        }
    }

    /// Ends recovery: what no extent holds is free and counts as hollow, because it is not known whether it is backed.
    pub(super) fn finish_recovery(&mut self) {
        for segment in self.segments.values_mut() {
            let mut at = 0;
            for (offset, taken) in &segment.taken {
                if *offset > at {
                    segment.hollow.add(at, (*offset).min(segment.grown).saturating_sub(at));
                }
                at = at.max(offset + taken.length);
            }
            segment.hollow.add(at, segment.grown.saturating_sub(at));
        }
    }

    pub(super) fn pin(&mut self, segment: u32, offset: u64) -> bool {
        let taken = self.segments.get_mut(&segment).and_then(|segment| segment.taken.get_mut(&offset));
        taken.is_some_and(|taken| {
            taken.pins += u32::from(!crate::canary!("extent-freed-while-read"));
            true
        })
    }

    pub(super) fn unpin(&mut self, id: u32, offset: u64) {
        let Some(segment) = self.segments.get_mut(&id) else { return };
        let Some(taken) = segment.taken.get_mut(&offset) else { return };
        if crate::canary!("extent-freed-while-read") {
            return;
        }
        assert!(taken.pins > 0, "an extent has a pin for each unpin");
        taken.pins -= 1;
        if taken.pins == 0 && taken.used_by == Use::Deleted {
            crate::reach!("extent-freed-by-its-last-reader");
            free(segment, offset);
        }
    }

    /// Free bytes that have space on disk and can be reserved.
    pub(super) fn backed_bytes(&self) -> u64 {
        let usable = self.segments.values().filter(|segment| !segment.sealed);
        usable.map(|segment| segment.backed.bytes()).sum()
    }

    /// Takes free ranges out of the books to be punched: backed ranges beyond `keep` bytes in total, every range of a
    /// sealed segment and, with `untrimmed`, hollow ranges that may still have space. [`Extents::add_hollow`] returns
    /// them.
    pub(super) fn take_for_punching(&mut self, keep: u64, untrimmed: bool) -> Vec<Reservation> {
        let mut excess = self.backed_bytes().saturating_sub(keep);
        let mut out = Vec::new();
        for (&id, segment) in self.segments.iter_mut().rev().filter(|(_, segment)| !segment.missing) {
            while (excess > 0 || segment.sealed)
                && let Some((offset, length)) = segment.backed.0.pop_last()
            {
                let cut = if segment.sealed { length } else { length.min(align_up(excess)) };
                segment.backed.add(offset, length - cut);
                if !segment.sealed {
                    excess = excess.saturating_sub(cut);
                }
                out.push(Reservation { segment: id, offset: offset + length - cut, length: cut });
            }
            if untrimmed && !segment.trimmed {
                segment.trimmed = true;
                let hollow = std::mem::take(&mut segment.hollow.0);
                out.extend(hollow.into_iter().map(|(offset, length)| Reservation {
                    segment: id,
                    offset,
                    length,
                }));
            }
        }
        out
    }

    /// Number of segments, bytes taken, and bytes free in the files.
    pub(super) fn totals(&self) -> (usize, u64, u64) {
        let taken = self.segments.values().flat_map(|segment| segment.taken.values()).map(|t| t.length).sum();
        let free = self.segments.values().map(|s| s.backed.bytes() + s.hollow.bytes()).sum();
        (self.segments.len(), taken, free)
    }
}

fn free(segment: &mut Segment, offset: u64) {
    if let Some(taken) = segment.taken.remove(&offset) {
        segment.backed.add(offset, taken.length);
    }
}

#[cfg(test)]
#[path = "extent_tests.rs"]
mod tests;
