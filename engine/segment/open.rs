//! Opens a core's folder: finds its files, reads what they hold, and decides where to continue.
//!
//! |     | found                                                | meaning                                               | action                                          |
//! |-----|------------------------------------------------------|-------------------------------------------------------|-------------------------------------------------|
//! | S1  | `new-`                                               | filling it was interrupted                            | removed                                         |
//! | S2  | `free-` of the right length                          | waits for its next use, whatever it holds             | kept                                            |
//! | S3  | `free-` with the header of its next use              | its reuse was interrupted before the rename           | kept; the next use has another generation       |
//! | S4  | `free-` of another length                            | made under other limits                               | removed                                         |
//! | S5  | `log-` whose first page does not verify              | damage                                                | reported, left alone, never reused              |
//! | S6  | `log-` with the header of another core or id         | a misplaced file                                      | as S5                                           |
//! | S7  | `log-` shorter than its header says                  | damage                                                | as S5                                           |
//! | S8  | `log-` with a footer                                 | sealed                                                | replayed from the footer                        |
//! | S9  | ... whose trailer does not verify                    | sealing was interrupted; or rot, which costs nothing  | replayed from its batches, sealed again         |
//! | S10 | ... whose entries do not verify, all batches there   | as S9                                                 | as S9                                           |
//! | S11 | ... and batches are missing                          | damage                                                | replayed from its batches, reported, left alone |
//! | S12 | `log-` without a footer, the last with a batch       | the active one                                        | replayed from its batches, appended to          |
//! | S13 | ... an earlier one                                   | abandoned after a failed write, or not fully sealed   | replayed from its batches, sealed now           |
//! | S14 | ... the last without one, others sealed after it     | as S13; new batches must come after those segments    | sealed now, a new segment is begun              |
//! | S15 | `log-` without any batch, the last                   | prepared, not used yet                                | the next segment                                |
//! | S16 | ... an earlier one                                   | its first write failed                                | kept for reuse, under a new id                  |
//! | S17 | `log-` whose blobs have copies in later ones         | its rewriting or freeing was interrupted              | the later ones count; rewritten again           |
//! | S18 | no `log-` of an id in between                        | an operator's accident: nothing here shows it         | its blobs are not found, all others are         |
//! | S19 | `extent-` with a range that no publish record claims | reserved or freed when the process ended              | free                                            |
//! | S20 | `extent-` of length 0                                | created, and not grown yet                            | grows when needed                               |
//! | S21 | `extent-` shorter than what is published in it       | damage                                                | reported; the entry stays, so that reads fail   |
//! | S22 | no `extent-` of an id that a publish record names    | damage                                                | as S21; the id is not used again                |
//! | S23 | publish records that overlap                         | the earlier one was never acknowledged, or is deleted | the later one holds                             |
//! | S24 | some extents of a blob, not the last one             | publishing was interrupted                            | reads fail; the sweep deletes them              |
//! | S25 | bytes of an earlier use after the last batch         | the file was recycled                                 | the end                                         |
//!
//! A page that the disk cannot read is reported as damage and taken as zeros. For batches see [`super::recovery`].

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use super::extent::Extents;
use super::log::{Active, Shared};
use super::logs::Stage;
use super::names::{self, Role, file_name};
use super::prepare::Fresh;
use super::recovery::{BatchAt, Damage, Report, Verdict, judge, later_batch, read_batch};
use super::state::State;
use super::{Class, Config, core_dir};
use crate::buf::Buf;
use crate::error::{Corrupt, Error, Result};
use crate::format::{
    ENTRY_BYTES, Entry, FooterTrailer, PAGE_BYTES, Salt, SegmentHeader, crc32c, decode_entries,
};
use crate::io::{self, File};
use crate::limits::{MAX_BATCH_BYTES, ZERO_FILL_BYTES};

/// Attempts to read a page before it counts as unreadable.
const PAGE_READS: usize = 3;
/// Bytes read at a time while scanning; several batches fit.
const SCAN_BYTES: usize = 4 * MAX_BATCH_BYTES;

/// The contents of a log segment.
pub(super) struct Loaded {
    pub(super) entries: Vec<Entry>,
    /// The end of the batches.
    pub(super) tail: u64,
    /// Number of the last batch; 0, for unknown, if loaded from a footer.
    pub(super) batch: u32,
    pub(super) from_footer: bool,
    /// Sealing was interrupted: the batches are whole, the footer is not.
    pub(super) footer_torn: bool,
    pub(super) torn: bool,
    pub(super) bad: Vec<Damage>,
}

impl Loaded {
    /// The contents of a segment without entries whose batches end at `tail`.
    fn empty(tail: u64) -> Loaded {
        let (entries, bad) = (Vec::new(), Vec::new());
        Loaded { entries, tail, batch: 0, from_footer: false, footer_torn: false, torn: false, bad }
    }
}

fn failed(error: &std::io::Error) -> Error {
    Error::io("open a data folder", error)
}

/// Opens a core's folder, creating it if necessary. Returns the shared state and the segment to continue with.
pub(super) async fn open(config: Config) -> Result<(Rc<Shared>, Option<Active>)> {
    let dir = core_dir(&config.data_dir, config.core);
    io::create_dir_all(&dir).map_err(|error| failed(&error))?;
    let mut files: BTreeMap<Role, Vec<u32>> = BTreeMap::new();
    for path in io::read_dir(&dir).map_err(|error| failed(&error))? {
        if let Some((role, id)) = names::parse(&path) {
            files.entry(role).or_default().push(id);
        }
    }
    let next = files.values().flatten().max().map_or(1, |id| id + 1);
    let mut ids = |role: Role| files.remove(&role).unwrap_or_default();
    for id in ids(Role::New) {
        crate::reach!("unfilled-segment-removed");
        io::remove_file(&dir.join(file_name(Role::New, id))).await.map_err(|error| failed(&error))?;
    }
    let mut state = State::default();
    load_extents(&dir, &ids(Role::Extent), &mut state.extents).await?;
    let report = Report::default();
    let mut replay = Replay { config: &config, dir: &dir, state, report, unsealed: Vec::new(), newest: 0 };
    for id in ids(Role::Log) {
        replay.log(id).await?;
    }
    replay.check_extents();
    let Replay { mut state, mut report, unsealed, newest, .. } = replay;
    // The id of a lost extent segment is still referred to by the blobs that lay in it.
    let next = next.max(state.extents.newest_id() + 1);
    state.extents.finish_recovery();
    state.index.end_recovery();
    report.entries = state.index.len();
    let damaged = report.damaged;
    let shared = Rc::new(Shared::new(config.clone(), dir.clone(), next, state));
    *shared.report.borrow_mut() = report;
    shared.counters.borrow_mut().damaged = damaged;
    for id in ids(Role::Free) {
        adopt_free(&shared, id).await?;
    }
    let active = resume(&shared, unsealed, newest).await?;
    Ok((shared, active))
}

async fn load_extents(dir: &Path, ids: &[u32], extents: &mut Extents) -> Result<()> {
    for &id in ids {
        let file =
            File::open(&dir.join(file_name(Role::Extent, id))).await.map_err(|error| failed(&error))?;
        let length = file.len().await.map_err(|error| failed(&error))?;
        crate::reach!("extent-file-not-grown-yet", length == 0);
        extents.add_segment(id, io::align_down(length), false);
    }
    Ok(())
}

async fn adopt_free(shared: &Shared, id: u32) -> Result<()> {
    let path = shared.dir.join(file_name(Role::Free, id));
    let file = File::open(&path).await.map_err(|error| failed(&error))?;
    let length = file.len().await.map_err(|error| failed(&error))?;
    if length != shared.config.log_segment_bytes {
        return io::remove_file(&path).await.map_err(|error| failed(&error));
    }
    crate::reach!("free-segment-found-at-open");
    shared.pool.add(id);
    Ok(())
}

struct Replay<'a> {
    config: &'a Config,
    dir: &'a Path,
    state: State,
    report: Report,
    /// Undamaged segments without a whole footer, in order, and whether each must be sealed in any case.
    unsealed: Vec<(Active, bool)>,
    /// The last segment that holds batches, or may hold some.
    newest: u32,
}

impl Replay<'_> {
    async fn log(&mut self, id: u32) -> Result<()> {
        let path = self.dir.join(file_name(Role::Log, id));
        let file = Rc::new(File::open(&path).await.map_err(|error| failed(&error))?);
        let length = file.len().await.map_err(|error| failed(&error))?;
        let header = match self.header(id, &file, length).await {
            Ok(header) => header,
            Err(Error::Corrupt(what)) => {
                crate::reach!("log-header-damaged");
                self.report.add(Damage { segment: id, offset: 0, data_id: None, what });
                self.state.logs.add(id, 0, length, Stage::Damaged);
                self.newest = id;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let salt = Salt { segment: id, generation: header.generation };
        let loaded = load_batches(&file, salt, header.length).await?;
        let stage = match (loaded.from_footer, loaded.bad.is_empty()) {
            (true, _) => Stage::Sealed,
            (false, true) => Stage::Unsealed,
            (false, false) => Stage::Damaged,
        };
        self.state.logs.add(id, header.generation, header.length, stage);
        if loaded.tail > PAGE_BYTES as u64 || stage == Stage::Damaged {
            self.newest = id;
        }
        if let Some(segment) = self.state.logs.get_mut(id) {
            segment.used = loaded.tail - PAGE_BYTES as u64;
        }
        self.report.from_footer += usize::from(loaded.from_footer);
        self.report.scanned += usize::from(!loaded.from_footer);
        self.report.torn_tails += usize::from(loaded.torn);
        self.report.torn_footers += usize::from(loaded.footer_torn);
        loaded.bad.iter().for_each(|damage| self.report.add(damage.clone()));
        for entry in &loaded.entries {
            self.state.replay(entry, id);
        }
        if stage == Stage::Unsealed {
            let Loaded { entries, tail, batch, footer_torn, .. } = loaded;
            let (generation, length) = (header.generation, header.length);
            self.unsealed.push((Active { id, generation, length, file, tail, batch, entries }, footer_torn));
        }
        io::yield_if_needed().await;
        Ok(())
    }

    async fn header(&self, id: u32, file: &File, length: u64) -> Result<SegmentHeader> {
        let page = read(file, 0, PAGE_BYTES).await;
        if !page.unreadable.is_empty() {
            return Err(Corrupt::Unreadable.into());
        }
        let header = SegmentHeader::decode(&page.bytes)?;
        if header.segment != id || header.core as usize != self.config.core {
            return Err(Corrupt::Field("segment id").into());
        }
        if header.length > length || header.length < 3 * PAGE_BYTES as u64 {
            return Err(Corrupt::Field("segment length").into());
        }
        Ok(header)
    }

    /// Reports extents that lie outside their files. They stay in the index: a read must fail, not find nothing.
    fn check_extents(&mut self) {
        for (key, slot) in self.state.index.iter().filter(|(_, slot)| slot.in_extent) {
            let offset = super::state::slot_offset(slot);
            if !self.state.extents.in_file(slot.segment, offset + u64::from(slot.length)) {
                crate::reach!("extent-outside-its-file");
                let data_id = Some(key.data_id);
                self.report.add(Damage { segment: slot.segment, offset, data_id, what: Corrupt::Short });
            }
        }
    }
}

/// Picks the segment to append to, makes an empty one the next, and seals or frees the others. Segments are replayed in
/// the order of their ids, so nothing may be written before `newest`, the last segment that holds something.
///
/// What was found need not be durable: a process that was killed may have written it without syncing it. So names and
/// batches are synced now, before anything is built on them. Otherwise a power failure could later take them away, and
/// with them the basis of what was acknowledged since.
async fn resume(shared: &Rc<Shared>, unsealed: Vec<(Active, bool)>, newest: u32) -> Result<Option<Active>> {
    io::sync_dir(&shared.dir).await.map_err(|error| failed(&error))?;
    for (segment, _) in unsealed.iter().filter(|(segment, _)| segment.batch > 0) {
        segment.file.sync_data().await.map_err(|error| failed(&error))?;
    }
    let mut active = None;
    for (segment, footer_torn) in unsealed.into_iter().rev() {
        let id = segment.id;
        let is_next = segment.batch == 0 && id > newest && segment.length == shared.config.log_segment_bytes;
        if segment.batch > 0 && id == newest && !footer_torn {
            crate::reach!("log-continued-at-open");
            shared.state.borrow_mut().logs.set_stage(id, Stage::Active);
            shared.files.insert((shared.config.core, Class::Log, id), segment.file.clone());
            active = Some(segment);
        } else if segment.batch > 0 {
            crate::reach!("log-sealed-at-open");
            crate::reach!("last-log-sealed-at-open", id == newest);
            shared.state.borrow_mut().logs.set_stage(id, Stage::Sealing);
            shared.background(super::log::seal(shared.clone(), segment)).await;
        } else {
            shared.state.borrow_mut().logs.remove(id);
            let Active { generation, length, file, .. } = segment;
            if is_next && shared.pool.offer_ready(Fresh { id, generation, length, file }) {
                crate::reach!("prepared-log-kept-at-open");
                continue;
            }
            crate::reach!("unused-log-retired-at-open");
            shared.retire(id, length).await?;
        }
    }
    Ok(active)
}

/// The contents of a segment's batches: from its footer, or else from the batches themselves.
pub(super) async fn load_batches(file: &File, salt: Salt, length: u64) -> Result<Loaded> {
    let page = read(file, length - PAGE_BYTES as u64, PAGE_BYTES).await;
    let trailer = match page.unreadable.is_empty() {
        true => FooterTrailer::decode(&page.bytes, salt, length),
        false => Err(Corrupt::Unreadable.into()),
    };
    // What is wrong with the footer, and where the batches end according to it.
    let footer = match trailer {
        Ok(trailer) => match load_footer(file, &trailer).await {
            Ok(entries) => {
                crate::reach!("log-loaded-from-its-footer");
                let tail = trailer.offset;
                return Ok(Loaded { entries, from_footer: true, ..Loaded::empty(tail) });
            }
            Err(Error::Corrupt(what)) => Some((what, Some(trailer.offset))),
            Err(error) => return Err(error),
        },
        Err(Error::Corrupt(Corrupt::Magic)) => None,
        Err(Error::Corrupt(what)) => Some((what, None)),
        Err(error) => return Err(error),
    };
    let mut loaded = scan(file, salt, length).await?;
    if let Some((what, tail)) = footer {
        // Batches are durable before their footer is begun. The footer is written in one go and synced at its end.
        let complete = loaded.bad.is_empty() && tail.is_none_or(|tail| tail == loaded.tail);
        loaded.footer_torn = complete && matches!(what, Corrupt::Header | Corrupt::Body);
        crate::reach!("footer-torn", loaded.footer_torn);
        if !loaded.footer_torn {
            crate::reach!("footer-damaged");
            let offset = length - PAGE_BYTES as u64;
            loaded.bad.push(Damage { segment: salt.segment, offset, data_id: None, what });
        }
    }
    Ok(loaded)
}

async fn load_footer(file: &File, trailer: &FooterTrailer) -> Result<Vec<Entry>> {
    let wanted = trailer.entries as usize * ENTRY_BYTES;
    let mut bytes = Vec::with_capacity(wanted);
    while bytes.len() < wanted {
        let piece = (wanted - bytes.len()).min(ZERO_FILL_BYTES);
        let at = trailer.offset + bytes.len() as u64;
        let found = read(file, at, piece.next_multiple_of(PAGE_BYTES)).await;
        if !found.unreadable.is_empty() {
            return Err(Corrupt::Unreadable.into());
        }
        let Some(got) = found.bytes.get(..piece) else { return Err(Corrupt::Short.into()) };
        bytes.extend_from_slice(got);
    }
    if crc32c(&bytes) != trailer.entries_crc {
        return Err(Corrupt::Body.into());
    }
    decode_entries(&bytes)
}

async fn scan(file: &File, salt: Salt, length: u64) -> Result<Loaded> {
    let mut at = PAGE_BYTES as u64;
    let mut loaded = Loaded::empty(at);
    let mut window = (0, ReadRange { bytes: Buf::empty(), unreadable: Vec::new() });
    while at < length {
        let held = window.0 + window.1.bytes.len() as u64;
        if at < window.0 || (at + MAX_BATCH_BYTES as u64 > held && held < length) {
            window = (at, read(file, at, SCAN_BYTES.min((length - at) as usize)).await);
            let unreadable = |place: &u64| Damage {
                segment: salt.segment,
                offset: *place,
                data_id: None,
                what: Corrupt::Unreadable,
            };
            loaded.bad.extend(window.1.unreadable.iter().map(unreadable));
        }
        let Some(bytes) = window.1.bytes.get((at - window.0) as usize..) else { break };
        let bytes = &bytes[..bytes.len().min((length - at) as usize)];
        let found = read_batch(bytes, at, salt)?;
        let whole = matches!(&found, BatchAt::Whole { number, .. } if *number > loaded.batch);
        let later = if whole {
            None
        } else {
            find_later(file, salt, at + PAGE_BYTES as u64, length, &found, loaded.batch).await?
        };
        match judge(found, at, salt.segment, loaded.batch, later) {
            Verdict::Replay { number, entries, bad, next } => {
                loaded.entries.extend(entries);
                loaded.bad.extend(bad);
                loaded.batch = number;
                at = next;
                loaded.tail = at;
            }
            Verdict::End { torn } => {
                loaded.torn = torn;
                break;
            }
        }
        io::yield_if_needed().await;
    }
    Ok(loaded)
}

/// The next batch after a place that did not verify: one with a higher number than the one at that place.
async fn find_later(
    file: &File,
    salt: Salt,
    mut at: u64,
    length: u64,
    found: &BatchAt,
    last: u32,
) -> Result<Option<u64>> {
    let above = match found {
        BatchAt::Partial { number, .. } => last.max(*number),
        _ => last,
    };
    while at < length {
        let bytes = read(file, at, SCAN_BYTES.min((length - at) as usize)).await.bytes;
        if bytes.is_empty() {
            break;
        }
        if let Some(found) = later_batch(&bytes, at, salt, above) {
            return Ok(Some(found));
        }
        at += io::align_up(bytes.len() as u64);
        io::yield_if_needed().await;
    }
    Ok(None)
}

/// The result of reading a range of a file.
struct ReadRange {
    bytes: Buf,
    /// Offsets of pages that the disk cannot read. They are zeros in `bytes`.
    unreadable: Vec<u64>,
}

/// Reads a range; page by page if it can't be read as a whole.
async fn read(file: &File, at: u64, length: usize) -> ReadRange {
    if length == 0 {
        return ReadRange { bytes: Buf::empty(), unreadable: Vec::new() };
    }
    if let Ok(bytes) = file.read_at(at, length).await {
        return ReadRange { bytes, unreadable: Vec::new() };
    }
    let mut found = ReadRange { bytes: Buf::with_capacity(length), unreadable: Vec::new() };
    for place in (at..at + length as u64).step_by(PAGE_BYTES) {
        let mut page = file.read_at(place, PAGE_BYTES).await;
        for _ in 1..PAGE_READS {
            if page.is_err() {
                page = file.read_at(place, PAGE_BYTES).await;
            }
        }
        match page {
            Ok(page) => found.bytes.extend_from_slice(&page),
            Err(_) => {
                crate::reach!("page-unreadable-at-open");
                found.unreadable.push(place);
                found.bytes.extend_from_slice(&[0; PAGE_BYTES]);
            }
        }
    }
    found
}
