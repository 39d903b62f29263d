//! Reads a log segment after a crash, following a table of cases. Pure.
//!
//! A segment is read batch by batch. Batches are numbered from 1, and each is written and synced before the next. So
//! only the last one can be torn, and everything before a later valid batch was once durable:
//!
//! |    | at the place of the next batch      | later batch exists | meaning         | action                                |
//! |----|-------------------------------------|--------------------|-----------------|---------------------------------------|
//! | B1 | a whole batch with the next number  | –                  | acknowledged    | replay it                             |
//! | B2 | no header of this use of the file   | no                 | the end         | append from here                      |
//! | B3 | no header of this use of the file   | yes                | damage          | report, continue there                |
//! | B4 | a header, but a record that fails   | no                 | a torn tail     | cut off: append from here             |
//! | B5 | a header, but a record that fails   | yes                | damage          | replay what verifies, report the rest |
//! | B6 | a whole batch with an older number  | no                 | left over       | the end                               |
//! | B7 | a whole batch with an older number  | yes                | damage          | report, continue there                |
//! | B8 | a record of a later version or kind | –                  | a newer program | refuse to start                       |
//!
//! A batch that was written but not acknowledged may be there as a whole: it does not matter whether it is replayed.

use crate::error::{Corrupt, Error, Result};
use crate::format::{
    Entry, EntryKind, HEADER_BYTES, Header, Kind, PAGE_BYTES, Publish, Salt, decode_tombstones, record_bytes,
};
use crate::ids::DataId;
use crate::limits::MAX_REPORTED_DAMAGE;

/// One damaged place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Segment id.
    pub segment: u32,
    /// Offset in the segment, bytes.
    pub offset: u64,
    /// The blob, if its header could still be read.
    pub data_id: Option<DataId>,
    /// What is wrong.
    pub what: Corrupt,
}

/// The findings of recovery.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Log segments loaded from their footers.
    pub from_footer: usize,
    /// Log segments read record by record.
    pub scanned: usize,
    /// Tails of unacknowledged writes that were cut off.
    pub torn_tails: usize,
    /// Footers whose writing was interrupted. They are written again.
    pub torn_footers: usize,
    /// Number of damaged places.
    pub damaged: u64,
    /// The first damaged places.
    pub damage: Vec<Damage>,
    /// Index entries after the replay.
    pub entries: usize,
}

impl Report {
    pub(super) fn add(&mut self, damage: Damage) {
        self.damaged += 1;
        if self.damage.len() < MAX_REPORTED_DAMAGE {
            self.damage.push(damage);
        }
    }
}

/// What lies at the place of a batch.
#[derive(Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum BatchAt {
    /// All records verify.
    Whole { number: u32, length: u64, entries: Vec<Entry> },
    /// There is no valid first header.
    Nothing,
    /// The first header is valid, but not everything after it.
    Partial { number: u32, length: u64, entries: Vec<Entry>, bad: Vec<Damage> },
}

/// What to do at the place of a batch.
#[derive(Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Verdict {
    /// Replay the entries, report the damage and continue at offset `next`.
    Replay { number: u32, entries: Vec<Entry>, bad: Vec<Damage>, next: u64 },
    /// The batches end here. `torn`: an unacknowledged batch was cut off.
    End { torn: bool },
}

/// The first header of a batch at the start of `page`, if there is one.
pub(super) fn first_header(page: &[u8], salt: Salt) -> Result<Option<Header>> {
    match Header::decode(page, salt) {
        Ok(header) if header.batch_bytes > 0 && header.batch > 0 => Ok(Some(header)),
        Ok(_) | Err(Error::Corrupt(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads the batch at the start of `bytes`, which lie at `offset` in the segment and either hold
/// [`crate::limits::MAX_BATCH_BYTES`] or end with the segment.
pub fn read_batch(bytes: &[u8], offset: u64, salt: Salt) -> Result<BatchAt> {
    let Some(first) = first_header(bytes, salt)? else { return Ok(BatchAt::Nothing) };
    let (number, length) = (first.batch, u64::from(first.batch_bytes));
    let mut entries = Vec::new();
    let mut bad = Vec::new();
    let complete = (length as usize).min(bytes.len());
    if complete < length as usize {
        bad.push(Damage { segment: salt.segment, offset, data_id: None, what: Corrupt::Short });
    }
    let batch = &bytes[..complete];
    let mut at = 0;
    while at + HEADER_BYTES <= batch.len() {
        if at > 0 && batch[at] == 0 && batch[at..].iter().all(|byte| *byte == 0) {
            break;
        }
        let record = offset + at as u64;
        let header = match Header::decode(&batch[at..], salt) {
            Ok(header) if header.batch == number => header,
            Err(error @ Error::Unsupported(_)) => return Err(error),
            _ => {
                // The length of this record is unknown: look for the next record of the batch.
                bad.push(Damage {
                    segment: salt.segment,
                    offset: record,
                    data_id: None,
                    what: Corrupt::Header,
                });
                match next_record(batch, at, salt, number) {
                    Some(next) => at = next,
                    None => break,
                }
                continue;
            }
        };
        let result =
            header.check_body(&batch[at + HEADER_BYTES..]).and_then(|body| entries_of(&header, body, record));
        match result {
            Ok(found) => entries.extend(found),
            Err(what) => {
                let data_id = Some(header.blob.data_id);
                bad.push(Damage { segment: salt.segment, offset: record, data_id, what });
            }
        }
        at += record_bytes(header.body_bytes as usize);
    }
    Ok(if bad.is_empty() {
        BatchAt::Whole { number, length, entries }
    } else {
        BatchAt::Partial { number, length, entries, bad }
    })
}

fn next_record(batch: &[u8], after: usize, salt: Salt, number: u32) -> Option<usize> {
    let mut places = (after + 8..batch.len().saturating_sub(HEADER_BYTES)).step_by(8);
    places.find(|&at| Header::decode(&batch[at..], salt).is_ok_and(|header| header.batch == number))
}

/// The index entries of a verified record.
pub(super) fn entries_of(header: &Header, body: &[u8], record: u64) -> Result<Vec<Entry>, Corrupt> {
    let kind = match header.kind {
        Kind::Delete => {
            return Ok(decode_tombstones(body)?
                .map(|tombstone| Entry::tombstone(tombstone, record))
                .collect());
        }
        Kind::Blob => EntryKind::Blob { length: header.body_bytes },
        Kind::Publish => EntryKind::Publish(Publish::decode(body)?),
    };
    let blob = &header.blob;
    let (data_id, shard, extent, last) = (blob.data_id, blob.shard, blob.extent, blob.last);
    Ok(vec![Entry { data_id, shard, extent, last, record, kind }])
}

/// Decides by the table at the head of this file. `last` is the number of the last batch replayed. `later` is the place
/// of the next batch after this place with a higher number, if there is one.
pub fn judge(found: BatchAt, offset: u64, segment: u32, last: u32, later: Option<u64>) -> Verdict {
    match (found, later) {
        (BatchAt::Whole { number, length, entries }, _) if number > last => {
            Verdict::Replay { number, entries, bad: Vec::new(), next: offset + length }
        }
        (BatchAt::Nothing, None) => Verdict::End { torn: false },
        (BatchAt::Whole { .. }, None) => {
            crate::reach!("older-batch-at-the-end");
            Verdict::End { torn: false }
        }
        (BatchAt::Partial { number, length, .. }, None) if crate::canary!("torn-tail-accepted") => {
            Verdict::Replay { number, entries: Vec::new(), bad: Vec::new(), next: offset + length }
        }
        (BatchAt::Partial { .. }, None) => {
            crate::reach!("torn-tail-cut-off");
            Verdict::End { torn: true }
        }
        (BatchAt::Nothing | BatchAt::Whole { .. }, Some(next)) => {
            crate::reach!("batch-lost-before-a-later-one");
            let bad = vec![Damage { segment, offset, data_id: None, what: Corrupt::Header }];
            Verdict::Replay { number: last, entries: Vec::new(), bad, next }
        }
        (BatchAt::Partial { number, entries, bad, .. }, Some(next)) => {
            crate::reach!("batch-damaged-before-a-later-one");
            // What is left over from an earlier tail (an older number) is not part of this batch.
            let (number, entries) = if number > last { (number, entries) } else { (last, Vec::new()) };
            Verdict::Replay { number, entries, bad, next }
        }
    }
}

/// The first page of `bytes` (which lie at `offset` in the segment) where a batch with a number above `last` begins.
pub fn later_batch(bytes: &[u8], offset: u64, salt: Salt, last: u32) -> Option<u64> {
    let starts = |page: &[u8]| matches!(first_header(page, salt), Ok(Some(header)) if header.batch > last);
    let at = bytes.chunks_exact(PAGE_BYTES).position(starts)?;
    Some(offset + (at * PAGE_BYTES) as u64)
}

#[cfg(test)]
#[path = "recovery_tests.rs"]
mod tests;
