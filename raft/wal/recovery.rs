//! Reads the log back at start.
//!
//! What recovery may find, and what it does about it:
//!
//! |     | found                                           | meaning                                          | action                                |
//! |-----|-------------------------------------------------|--------------------------------------------------|---------------------------------------|
//! | L1  | no directory, or an empty one                   | a new log                                        | start it                              |
//! | L2  | `*.tmp`                                         | a crash while a segment was zeroed               | remove it                             |
//! | L3  | the next file, of zeros or from an earlier use  | prepared, not used yet                           | use it as the next segment            |
//! | L4  | the next file, its header torn, no second batch | its first write was torn                         | cut, zero, use it as the next segment |
//! | L5  | the next file, its header whole, no whole batch | its first write was torn                         | cut, zero, append to it               |
//! | L6  | two such files at the end                       | the second was prepared when the first was begun | remove the second                     |
//! | L7  | such a file shorter than a segment              | made under other limits, or cut by a copy        | fill it with zeros                    |
//! | L8  | a file without its header, with a second batch  | bytes changed behind our back                    | refuse                                |
//! | L9  | a file without its header before a used one     | bytes changed behind our back                    | refuse                                |
//! | L10 | an id missing between used ones                 | a lost segment                                   | refuse                                |
//! | L11 | the first ids missing, their entries not purged | a lost segment                                   | refuse                                |
//! | L12 | segments whose entries are all purged           | a crash before they were recycled                | recycle them                          |
//! | L13 | a batch whose records are all valid             | it was written                                   | replay it                             |
//! | L14 | no whole batch, and nothing later               | the end of the log, or the last write was torn   | cut, zero                             |
//! | L15 | valid records, but not the batch's last one     | the last write was torn                          | cut, zero                             |
//! | L16 | no whole batch, but a later batch or segment    | bytes changed behind our back                    | refuse                                |
//! | L17 | a valid record of an unknown kind or version    | a later program wrote it                         | refuse                                |
//! | L18 | entries with a gap                              | a file was replaced                              | refuse                                |
//! | L19 | a committed mark beyond the last entry          | the batch with the entries was torn              | move it back to the last entry        |
//! | L20 | a header with another salt                      | a file of another log                            | refuse                                |
//!
//! The metadata store's mark shows when whole segments are missing at the end (`reconcile.rs`).
//!
//! Only one batch is in flight at a time and each starts on a new page, so a torn write damages the last batch
//! alone, and none of it was acknowledged. Its remains are zeroed before anything is written after them.

use std::io;
use std::path::Path;
use std::rc::Rc;

use engine::io::{ALIGNMENT, File, read_dir, remove_file, sync_dir};

use super::index::Index;
use super::record::{Fault, Record, frame, starts_as_record};
use super::segment::{self, Blank, HEADER_PAGE, Segment};
use super::{MAX_BATCH_BYTES, Place};

const READ_BYTES: usize = 1 << 20;

/// The log as recovery found it.
pub struct Recovered {
    /// Its entries and state.
    pub index: Index,
    /// Used segments, oldest first.
    pub segments: Vec<Segment>,
    /// The log's salt, if a header has it.
    pub salt: Option<u64>,
    /// Where the next batch goes in the last segment.
    pub position: u64,
    /// The sequence number of the next batch.
    pub sequence: u64,
    /// Prepared segments, in order.
    pub blanks: Vec<Blank>,
}

fn refused(path: &Path, why: impl std::fmt::Display) -> io::Error {
    engine::reach!("wal-refused");
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!(
            "{}: {why}: restore this file from a copy, or recover the node from its peers",
            path.display()
        ),
    )
}

/// Reads all segments of `directory`; `segment_bytes` is their length.
pub async fn recover(directory: &Path, segment_bytes: u64, cache_bytes: usize) -> io::Result<Recovered> {
    let mut found = Recovered {
        index: Index::new(cache_bytes),
        segments: Vec::new(),
        salt: None,
        position: HEADER_PAGE,
        sequence: 1,
        blanks: Vec::new(),
    };
    let mut bytes = Vec::new();
    let mut end_of_last = None;
    for path in read_dir(directory)? {
        if path.extension().is_some_and(|extension| extension == "tmp") {
            engine::reach!("wal-draft-removed");
            remove_file(&path).await?;
            continue;
        }
        let Some(id) = segment::id_of(&path) else { continue };
        let file = Rc::new(File::open(&path).await?);
        let len = file.len().await?;
        read_all(&file, len, &mut bytes).await?;
        let first = segment::parse_header(id, &bytes).map_err(|why| refused(&path, why))?;
        let Some(first) = first else {
            engine::reach!("wal-blank-found");
            engine::reach!("wal-blank-was-used-before", bytes.iter().any(|byte| *byte != 0));
            // Header and first batch are one write: only that one may have been torn.
            later_batch(&path, id, &found, &bytes, 0)?;
            if len < segment_bytes {
                segment::zero(&file, len, segment_bytes).await?;
            }
            found.blanks.push(Blank { id, file });
            continue;
        };
        if !found.blanks.is_empty() {
            return Err(refused(&path, "the log segment before it has lost its header"));
        }
        if let Some(last) = found.segments.last() {
            if last.id + 1 != id {
                return Err(refused(&path, "the log segment before it is missing"));
            }
            if first.first_sequence != found.sequence {
                let at = end_of_last.unwrap_or(HEADER_PAGE);
                let path = segment::path(directory, last.id);
                return Err(refused(&path, format!("the log is damaged at byte {at}")));
            }
        }
        if found.salt.is_some_and(|salt| salt != first.log_salt) {
            return Err(refused(&path, "this segment belongs to another log"));
        }
        (found.sequence, found.salt) = (first.first_sequence, Some(first.log_salt));
        let mut used = Segment { id, file, max_index: 0 };
        let end = replay(&path, &mut used, &bytes, &mut found)?;
        engine::reach!("wal-header-without-a-batch", end == HEADER_PAGE);
        end_of_last = Some(end);
        found.position = end;
        found.segments.push(used);
    }
    finish(directory, segment_bytes, &bytes, &mut found).await?;
    Ok(found)
}

async fn read_all(file: &File, len: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
    bytes.clear();
    let mut pos = 0;
    while pos < len {
        let part = file.read_at(pos, READ_BYTES).await?;
        if part.is_empty() {
            break;
        }
        bytes.extend_from_slice(&part);
        pos += part.len() as u64;
    }
    Ok(())
}

/// Replays one segment's whole batches; returns where they end.
fn replay(path: &Path, used: &mut Segment, bytes: &[u8], found: &mut Recovered) -> io::Result<u64> {
    let mut position = usize::try_from(HEADER_PAGE).unwrap_or(ALIGNMENT);
    while let Some((records, end)) = batch(path, used.id, found, bytes, position)? {
        for (record, place) in records {
            if let Record::Entry(entry) = &record {
                used.max_index = used.max_index.max(entry.log_id.index);
            }
            found.index.replay(record, place).map_err(|why| refused(path, why))?;
        }
        found.sequence += 1;
        position = end;
    }
    later_batch(path, used.id, found, bytes, position)?;
    Ok(position as u64)
}

type Batch = (Vec<(Record, Place)>, usize);

/// The batch at `position`, if it is whole, and where the next one starts.
fn batch(
    path: &Path,
    id: u64,
    found: &Recovered,
    bytes: &[u8],
    position: usize,
) -> io::Result<Option<Batch>> {
    let salt = segment::salt(found.salt.unwrap_or_default(), id);
    let mut records = Vec::new();
    let mut at = position;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let record = match Record::decode(salt, found.sequence, rest) {
            Ok(record) => record,
            Err(Fault::Absent) => {
                engine::reach!("wal-batch-torn", !records.is_empty());
                return Ok(None);
            }
            Err(Fault::Unknown(why)) => return Err(refused(path, format!("record at byte {at}: {why}"))),
        };
        let offset = u32::try_from(at).map_err(|_| refused(path, "it is too long"))?;
        let len = u32::try_from(record.len).unwrap_or(u32::MAX);
        records.push((record.record, Place { segment: id, offset, len }));
        at += record.len;
        if record.ends_batch {
            return Ok(Some((records, at.next_multiple_of(ALIGNMENT))));
        }
    }
}

/// Refuses a segment in which a batch follows the one that is not whole.
fn later_batch(path: &Path, id: u64, found: &Recovered, bytes: &[u8], end: usize) -> io::Result<()> {
    for at in (end..bytes.len()).step_by(ALIGNMENT) {
        let is_later = match found.salt {
            Some(salt) => frame(segment::salt(salt, id), &bytes[at..])
                .is_some_and(|(sequence, _)| sequence > found.sequence),
            // The log's very first segment, which was never recycled: only its first batch can be torn, one page.
            None => at as u64 > HEADER_PAGE && starts_as_record(&bytes[at..]),
        };
        if is_later {
            return Err(refused(path, format!("the log is damaged at byte {end}")));
        }
    }
    Ok(())
}

/// Zeroes what a torn write may have left, in the active segment and in blank ones.
async fn finish(
    directory: &Path,
    segment_bytes: u64,
    bytes_of_last: &[u8],
    found: &mut Recovered,
) -> io::Result<()> {
    found.index.finish_replay().map_err(|why| refused(directory, why))?;
    if let Some(active) = found.segments.last() {
        let from = found.position;
        let to = segment_bytes.min(from + MAX_BATCH_BYTES);
        let dirty = usize::try_from(from)
            .ok()
            .and_then(|from| bytes_of_last.get(from..))
            .is_none_or(|rest| rest.iter().any(|byte| *byte != 0));
        // With blanks after it, `bytes_of_last` are not the active segment's, so it may be dirty.
        engine::reach!("wal-tail-zeroed", dirty);
        if from < to && (dirty || !found.blanks.is_empty()) {
            segment::zero(&active.file, from, to).await?;
        }
        // Also if nothing was zeroed: a killed process may have written its last batch without syncing it.
        active.file.sync_data().await?;
    }
    for blank in &found.blanks {
        segment::zero(&blank.file, 0, segment_bytes.min(HEADER_PAGE + MAX_BATCH_BYTES)).await?;
        blank.file.sync_data().await?;
    }
    sync_dir(directory).await
}
