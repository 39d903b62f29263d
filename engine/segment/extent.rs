//! Which ranges of the extent segments are taken, free, or given up. Pure bookkeeping; all ranges are 4096-aligned.
//!
//! Free ranges are of two kinds: *backed* ones hold space on disk, and a write into them can't run out of it;
//! *hollow* ones may not (punched out, or unknown since a restart) and get their space before they are used.
//! Reservations take the first backed range that fits, so that data gathers at the front.

use std::collections::BTreeMap;

use super::index::Key;
use crate::io::align_up;

/// A place reserved for one extent; its owner frees it again unless it is published.
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
    /// Its publish record was queued. If that failed, the record may be on disk all the same: the place stays taken
    /// until the next start.
    Publishing,
    /// Holds an extent; its publish record lies in that log segment.
    Published { key: Key, log: u32 },
    /// Deleted, the delete not yet durable.
    Dying,
    /// Deleted durably, still read.
    Doomed,
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
    /// The file is not there: nothing is reserved in it.
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
    /// Registers a segment whose file is `grown` bytes long; what is not taken becomes free by
    /// [`Extents::finish_recovery`] or, for a new segment, by [`Extents::grow`].
    pub(super) fn add_segment(&mut self, id: u32, grown: u64, missing: bool) {
        let old = self.segments.insert(id, Segment { grown, missing, ..Segment::default() });
        assert!(old.is_none(), "extent segment {id} is added once");
    }

    /// The highest id of a segment, missing ones among them; 0 where there is none.
    pub(super) fn newest_id(&self) -> u32 {
        self.segments.last_key_value().map_or(0, |(id, _)| *id)
    }

    pub(super) fn has_segment(&self, id: u32) -> bool {
        self.segments.contains_key(&id)
    }

    /// Takes a backed range.
    pub(super) fn reserve(&mut self, length: u64) -> Option<Reservation> {
        let length = align_up(length);
        let mut usable = self.segments.iter_mut().filter(|(_, segment)| !segment.sealed);
        let (segment, offset) = usable.find_map(|(id, segment)| Some((*id, segment.backed.take(length)?)))?;
        self.take(segment, offset, length, Use::Reserved);
        Some(Reservation { segment, offset, length })
    }

    /// Takes a hollow range of `least` to `most` bytes out of the books, to get space on disk;
    /// [`Extents::is_backed`] or [`Extents::is_hollow`] brings it back.
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

    /// A free range has space on disk.
    pub(super) fn is_backed(&mut self, at: Reservation) {
        if let Some(segment) = self.segments.get_mut(&at.segment) {
            segment.backed.add(at.offset, at.length);
        }
    }

    /// A free range may have none.
    pub(super) fn is_hollow(&mut self, at: Reservation) {
        if let Some(segment) = self.segments.get_mut(&at.segment) {
            segment.hollow.add(at.offset, at.length);
        }
    }

    fn take(&mut self, segment: u32, offset: u64, length: u64, used_by: Use) {
        if let Some(segment) = self.segments.get_mut(&segment) {
            let old = segment.taken.insert(offset, Taken { length, used_by, pins: 0 });
            assert!(old.is_none(), "a range is taken once");
        }
    }

    /// The segment that can grow by `step`, if any, and its length.
    pub(super) fn growable(&self, step: u64, limit: u64) -> Option<(u32, u64)> {
        let fits = |segment: &Segment| !segment.missing && !segment.sealed && segment.grown + step <= limit;
        self.segments.iter().find(|(_, segment)| fits(segment)).map(|(id, segment)| (*id, segment.grown))
    }

    /// A segment's file became longer; what was added is backed.
    pub(super) fn grow(&mut self, id: u32, new_length: u64) {
        if let Some(segment) = self.segments.get_mut(&id) {
            segment.backed.add(segment.grown, new_length - segment.grown);
            segment.grown = new_length;
        }
    }

    /// A writer gives its place back.
    pub(super) fn release(&mut self, at: Reservation) -> bool {
        let Some(segment) = self.segments.get_mut(&at.segment) else { return false };
        if segment.taken.get(&at.offset).is_none_or(|taken| taken.used_by != Use::Reserved) {
            return false;
        }
        free(segment, at.offset);
        true
    }

    /// Frees a place whatever it holds.
    #[cfg(test)]
    pub(super) fn forget(&mut self, at: Reservation) {
        self.segments.get_mut(&at.segment).into_iter().for_each(|segment| free(segment, at.offset));
    }

    /// Whether a writer holds that reservation.
    pub(super) fn is_reserved(&self, at: Reservation) -> bool {
        let taken = self.segments.get(&at.segment).and_then(|segment| segment.taken.get(&at.offset));
        taken.is_some_and(|taken| taken.used_by == Use::Reserved && taken.length == at.length)
    }

    /// A sync of the segment failed: what was written since the last good one is unknown. Published extents stay.
    pub(super) fn seal(&mut self, id: u32) {
        if let Some(segment) = self.segments.get_mut(&id) {
            segment.sealed = true;
        }
    }

    pub(super) fn is_sealed(&self, id: u32) -> bool {
        self.segments.get(&id).is_some_and(|segment| segment.sealed)
    }

    /// The publish record of a reserved place is about to be queued; its writer can't give it back any more.
    pub(super) fn publishing(&mut self, at: Reservation) {
        let segment = self.segments.get_mut(&at.segment);
        if let Some(taken) = segment.and_then(|segment| segment.taken.get_mut(&at.offset)) {
            taken.used_by = Use::Publishing;
        }
    }

    /// A publish record became durable in log segment `log`; what the extent does not need is free again.
    pub(super) fn published(&mut self, segment: u32, offset: u64, length: u64, key: Key, log: u32) {
        let Some(segment) = self.segments.get_mut(&segment) else { return };
        let Some(taken) = segment.taken.get_mut(&offset) else { return };
        let wanted = align_up(length);
        assert!(wanted <= taken.length, "an extent fits its reservation");
        let rest = taken.length - wanted;
        *taken = Taken { length: wanted, used_by: Use::Published { key, log }, pins: taken.pins };
        segment.backed.add(offset + wanted, rest);
    }

    /// A publish record met in recovery; returns the older extents that it shows to be gone.
    pub(super) fn replay(
        &mut self,
        segment: u32,
        offset: u64,
        length: u64,
        key: Key,
        log: u32,
    ) -> Vec<(Key, u32)> {
        if !self.has_segment(segment) {
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

    /// Whether a range lies within its file.
    pub(super) fn in_file(&self, segment: u32, end: u64) -> bool {
        self.segments.get(&segment).is_some_and(|segment| !segment.missing && end <= segment.grown)
    }

    /// The log segment of an extent's publish record.
    pub(super) fn publisher(&self, segment: u32, offset: u64) -> Option<(Key, u32)> {
        match self.segments.get(&segment)?.taken.get(&offset)?.used_by {
            Use::Published { key, log } => Some((key, log)),
            _ => None,
        }
    }

    /// The publish record was copied to another log segment.
    pub(super) fn republished(&mut self, segment: u32, offset: u64, to: u32) {
        let taken = self.segments.get_mut(&segment).and_then(|segment| segment.taken.get_mut(&offset));
        if let Some(Taken { used_by: Use::Published { log, .. }, .. }) = taken {
            *log = to;
        }
    }

    /// A delete was decided: the extent is gone, its place not yet free. Returns its publish record's segment.
    pub(super) fn dying(&mut self, segment: u32, offset: u64) -> Option<u32> {
        let taken = self.segments.get_mut(&segment)?.taken.get_mut(&offset)?;
        match taken.used_by {
            Use::Published { log, .. } => {
                taken.used_by = Use::Dying;
                Some(log)
            }
            _ => None,
        }
    }

    /// The delete is durable: the place is free once its last reader let go.
    pub(super) fn died(&mut self, id: u32, offset: u64) {
        let Some(segment) = self.segments.get_mut(&id) else { return };
        let Some(taken) = segment.taken.get_mut(&offset) else { return };
        if taken.used_by == Use::Dying {
            taken.used_by = Use::Doomed;
            if taken.pins == 0 {
                free(segment, offset);
            }
        }
    }

    /// A delete met in recovery. Returns the publish record's segment.
    pub(super) fn replay_delete(&mut self, segment: u32, offset: u64) -> Option<u32> {
        match self.segments.get_mut(&segment)?.taken.remove(&offset)?.used_by {
            Use::Published { log, .. } => Some(log),
            _ => None,
        }
    }

    /// After recovery: what no extent holds is free, whether backed is unknown.
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
        assert!(taken.pins > 0, "an extent is unpinned as often as pinned");
        taken.pins -= 1;
        if taken.pins == 0 && taken.used_by == Use::Doomed {
            free(segment, offset);
        }
    }

    /// Free bytes that hold space on disk and can be reserved.
    pub(super) fn backed_bytes(&self) -> u64 {
        let usable = self.segments.values().filter(|segment| !segment.sealed);
        usable.map(|segment| segment.backed.bytes()).sum()
    }

    /// Takes free ranges out of the books to be punched: backed ones beyond `keep` bytes in all, every one of a
    /// sealed segment and, with `untrimmed`, hollow ones that may still hold space. [`Extents::is_hollow`] brings
    /// them back.
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

    /// Number of segments, bytes taken, bytes free in the files.
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
