//! Reads the log back at start.
//!
//! What may be found, and what is made of it:
//!
//! |     | found                                               | means                                               | done                          |
//! |-----|-----------------------------------------------------|-----------------------------------------------------|-------------------------------|
//! | L1  | no directory, or nothing in it                      | a new log                                           | started                       |
//! | L2  | `*.tmp`                                             | a crash while a segment was zeroed                  | removed                       |
//! | L3  | the next file, of zeros or of an earlier use        | prepared, not used yet                              | the next segment              |
//! | L4  | the next file, its header torn, no second batch     | its first write tore                                | cut, zeroed, the next segment |
//! | L5  | the next file, its header whole, no whole batch     | its first write tore                                | cut, zeroed, appended to      |
//! | L6  | two such files at the end                           | the one after was prepared when the first was begun | the second is removed         |
//! | L7  | such a file shorter than a segment                  | made under other limits, or cut by a copy           | filled with zeros             |
//! | L8  | a file without its header, with a second batch      | bytes changed under us                              | refused                       |
//! | L9  | a file without its header before a used one         | bytes changed under us                              | refused                       |
//! | L10 | an id missing between used ones                     | lost segment                                        | refused                       |
//! | L11 | the first ids missing, their entries not purged     | lost segment                                        | refused                       |
//! | L12 | segments of entries that are all purged             | a crash before they were recycled                   | recycled                      |
//! | L13 | a batch whose records all check                     | was written                                         | replayed                      |
//! | L14 | no whole batch, and nothing later                   | end of the log, or the last write tore              | cut, zeroed                   |
//! | L15 | records that check, but not the batch's last        | the last write tore                                 | cut, zeroed                   |
//! | L16 | no whole batch, but a later batch or segment        | bytes changed under us                              | refused                       |
//! | L17 | a record that checks, of an unknown kind or version | a later program's                                   | refused                       |
//! | L18 | entries that leave a gap                            | a file was replaced                                 | refused                       |
//! | L19 | a committed mark beyond the last entry              | the batch with the entries tore                     | taken back to the last entry  |
//! | L20 | a header with another salt                          | a file of another log                               | refused                       |
//!
//! Whole segments missing at the end are seen by the metadata store's mark (`together.rs`).
//!
//! Only one batch is in flight at a time and each starts on a page of its own, so a tear damages the last
//! batch alone, and none of it was acknowledged. Its rests are zeroed before anything is written after them.

use std::io;
use std::path::Path;
use std::rc::Rc;

use engine::io::{ALIGNMENT, File, read_dir, remove_file, sync_dir};

use super::index::Index;
use super::record::{Fault, Record, frame, starts_as_record};
use super::segment::{self, Blank, HEADER_PAGE, Segment};
use super::{MAX_BATCH_BYTES, Place};

const READ_BYTES: usize = 1 << 20;

/// The log as it was found.
pub struct Recovered {
    /// Its entries and state.
    pub index: Index,
    /// Used segments, oldest first.
    pub segments: Vec<Segment>,
    /// The log's salt, if a header says it.
    pub salt: Option<u64>,
    /// Where the next batch goes in the last of them.
    pub position: u64,
    /// Its sequence number.
    pub sequence: u64,
    /// Prepared segments, in order.
    pub blanks: Vec<Blank>,
}

fn refused(path: &Path, why: impl std::fmt::Display) -> io::Error {
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
            remove_file(&path).await?;
            continue;
        }
        let Some(id) = segment::id_of(&path) else { continue };
        let file = Rc::new(File::open(&path).await?);
        let len = file.len().await?;
        read_all(&file, len, &mut bytes).await?;
        let first = segment::parse_header(id, &bytes).map_err(|why| refused(&path, why))?;
        let Some(first) = first else {
            // Header and first batch are one write: only that one may have torn.
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

/// Replays one segment's whole batches; the answer is where they end.
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

/// The batch at `position`, if it is there whole, and where the next one starts.
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
            Err(Fault::Absent) => return Ok(None),
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
            // The first segment of all, which was never another: only its first batch can have torn, one page.
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
        // With blanks after it the bytes at hand are not the active segment's: it may be dirty.
        if from < to && (dirty || !found.blanks.is_empty()) {
            segment::zero(&active.file, from, to).await?;
        }
        // Also where nothing was zeroed: a process that was killed may have written its last batch and not synced it.
        active.file.sync_data().await?;
    }
    for blank in &found.blanks {
        segment::zero(&blank.file, 0, segment_bytes.min(HEADER_PAGE + MAX_BATCH_BYTES)).await?;
        blank.file.sync_data().await?;
    }
    sync_dir(directory).await
}
