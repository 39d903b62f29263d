//! Opening a core's folder: which files are there, what they hold, and where to go on.
//!
//! | file                                        | what is done                                              |
//! |---------------------------------------------|-----------------------------------------------------------|
//! | `new-`                                      | removed: its filling was cut short                        |
//! | `free-` of the right length                 | kept for reuse (its content does not matter)              |
//! | `free-` of another length                   | removed                                                   |
//! | `log-` whose first page does not verify     | damage: reported, left alone                              |
//! | a page that the disk does not give back     | damage: reported, read as zeros                           |
//! | `log-` with a footer                        | replayed from the footer                                  |
//! | `log-` whose footer does not verify         | damage reported, replayed from its batches                |
//! | `log-` without a footer                     | replayed from its batches ([`super::recovery`])           |
//! | the last of those with a batch, undamaged   | appended to                                               |
//! | earlier ones, undamaged                     | sealed now                                                |
//! | those without any batch                     | the next segment, or kept for reuse                       |
//! | `extent-`                                   | what no publish record claims is free                     |
//! | none of a name that a publish record gives  | damage reported; the entry stays, so that reads fail      |

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

/// Bytes read at a time while scanning; batches fit several times.
const SCAN_BYTES: usize = 4 * MAX_BATCH_BYTES;

/// What a log segment holds.
pub(super) struct Loaded {
    pub(super) entries: Vec<Entry>,
    /// Where the batches end.
    pub(super) tail: u64,
    /// Number of the last batch; unknown, 0, from a footer.
    pub(super) batch: u32,
    pub(super) from_footer: bool,
    pub(super) torn: bool,
    pub(super) bad: Vec<Damage>,
}

fn failed(error: &std::io::Error) -> Error {
    Error::io("open a data folder", error)
}

/// Opens a core's folder, creating it if need be. Returns the shared state and the segment to go on with.
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
        io::remove_file(&dir.join(file_name(Role::New, id))).await.map_err(|error| failed(&error))?;
    }
    let mut state = State::default();
    load_extents(&dir, &ids(Role::Extent), &mut state.extents).await?;
    let mut replay =
        Replay { config: &config, dir: &dir, state, report: Report::default(), unsealed: Vec::new() };
    for id in ids(Role::Log) {
        replay.log(id).await?;
    }
    replay.check_extents();
    let Replay { mut state, mut report, unsealed, .. } = replay;
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
    let active = go_on(&shared, unsealed).await?;
    Ok((shared, active))
}

async fn load_extents(dir: &Path, ids: &[u32], extents: &mut Extents) -> Result<()> {
    for &id in ids {
        let file =
            File::open(&dir.join(file_name(Role::Extent, id))).await.map_err(|error| failed(&error))?;
        let length = file.len().await.map_err(|error| failed(&error))?;
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
    match file.read_at(0, PAGE_BYTES).await {
        Ok(page) => {
            let generation = SegmentHeader::decode(&page).map_or(0, |header| header.generation);
            shared.pool.add(id, generation);
            Ok(())
        }
        // Its generation is not known: what it holds could be taken for live.
        Err(_) => io::remove_file(&path).await.map_err(|error| failed(&error)),
    }
}

struct Replay<'a> {
    config: &'a Config,
    dir: &'a Path,
    state: State,
    report: Report,
    /// Segments without a footer, undamaged, in order.
    unsealed: Vec<Active>,
}

impl Replay<'_> {
    async fn log(&mut self, id: u32) -> Result<()> {
        let path = self.dir.join(file_name(Role::Log, id));
        let file = Rc::new(File::open(&path).await.map_err(|error| failed(&error))?);
        let length = file.len().await.map_err(|error| failed(&error))?;
        let header = match self.header(id, &file, length).await {
            Ok(header) => header,
            Err(Error::Corrupt(what)) => {
                self.report.add(Damage { segment: id, offset: 0, data_id: None, what });
                self.state.logs.add(id, 0, length, Stage::Damaged);
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
        if let Some(segment) = self.state.logs.get_mut(id) {
            segment.used = loaded.tail - PAGE_BYTES as u64;
        }
        self.report.from_footer += usize::from(loaded.from_footer);
        self.report.scanned += usize::from(!loaded.from_footer);
        self.report.torn_tails += usize::from(loaded.torn);
        loaded.bad.iter().for_each(|damage| self.report.add(damage.clone()));
        for entry in &loaded.entries {
            self.state.replay(entry, id);
        }
        if stage == Stage::Unsealed {
            let Loaded { entries, tail, batch, .. } = loaded;
            let (generation, length) = (header.generation, header.length);
            self.unsealed.push(Active { id, generation, length, file, tail, batch, entries });
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

    /// Reports extents that lie outside of their files. They stay in the index: a read must fail, not miss.
    fn check_extents(&mut self) {
        for (key, slot) in self.state.index.iter().filter(|(_, slot)| slot.in_extent) {
            let offset = super::state::slot_offset(slot);
            if !self.state.extents.in_file(slot.segment, offset + u64::from(slot.length)) {
                let data_id = Some(key.data_id);
                self.report.add(Damage { segment: slot.segment, offset, data_id, what: Corrupt::Short });
            }
        }
    }
}

/// Picks the segment to append to, makes an empty one the next, and seals or frees the others.
async fn go_on(shared: &Rc<Shared>, mut unsealed: Vec<Active>) -> Result<Option<Active>> {
    let last_used = unsealed.iter().rposition(|segment| segment.batch > 0);
    let mut active = None;
    for (index, segment) in unsealed.drain(..).enumerate().rev() {
        let id = segment.id;
        let is_next = segment.batch == 0
            && Some(index) > last_used
            && segment.length == shared.config.log_segment_bytes;
        if Some(index) == last_used {
            shared.state.borrow_mut().logs.set_stage(id, Stage::Active);
            shared.files.insert((shared.config.core, Class::Log, id), segment.file.clone());
            active = Some(segment);
        } else if segment.batch > 0 {
            shared.state.borrow_mut().logs.set_stage(id, Stage::Sealing);
            shared.background(super::log::seal(shared.clone(), segment)).await;
        } else {
            shared.state.borrow_mut().logs.remove(id);
            let Active { generation, length, file, .. } = segment;
            if is_next && shared.pool.offer_ready(Fresh { id, generation, length, file }) {
                continue;
            }
            shared.retire(id, generation, length).await?;
        }
    }
    Ok(active)
}

/// What the batches of a segment hold: from its footer, or else from the batches themselves.
pub(super) async fn load_batches(file: &File, salt: Salt, length: u64) -> Result<Loaded> {
    let page = read(file, length - PAGE_BYTES as u64, PAGE_BYTES).await;
    let trailer = match page.unreadable.is_empty() {
        true => FooterTrailer::decode(&page.bytes, salt, length),
        false => Err(Corrupt::Unreadable.into()),
    };
    let damage = match trailer {
        Ok(trailer) => match load_footer(file, &trailer).await? {
            Ok(entries) => {
                let tail = trailer.offset;
                return Ok(Loaded {
                    entries,
                    tail,
                    batch: 0,
                    from_footer: true,
                    torn: false,
                    bad: Vec::new(),
                });
            }
            Err(what) => Some(what),
        },
        Err(Error::Corrupt(Corrupt::Magic)) => None,
        Err(Error::Corrupt(what)) => Some(what),
        Err(error) => return Err(error),
    };
    let mut loaded = scan(file, salt, length).await?;
    if let Some(what) = damage {
        let offset = length - PAGE_BYTES as u64;
        loaded.bad.push(Damage { segment: salt.segment, offset, data_id: None, what });
    }
    Ok(loaded)
}

async fn load_footer(file: &File, trailer: &FooterTrailer) -> Result<Result<Vec<Entry>, Corrupt>> {
    let wanted = trailer.entries as usize * ENTRY_BYTES;
    let mut bytes = Vec::with_capacity(wanted);
    while bytes.len() < wanted {
        let piece = (wanted - bytes.len()).min(ZERO_FILL_BYTES);
        let at = trailer.offset + bytes.len() as u64;
        let found = read(file, at, piece.next_multiple_of(PAGE_BYTES)).await;
        if !found.unreadable.is_empty() {
            return Ok(Err(Corrupt::Unreadable));
        }
        let Some(got) = found.bytes.get(..piece) else { return Ok(Err(Corrupt::Short)) };
        bytes.extend_from_slice(got);
    }
    if crc32c(&bytes) != trailer.entries_crc {
        return Ok(Err(Corrupt::Body));
    }
    decode_entries(&bytes).map(Ok)
}

async fn scan(file: &File, salt: Salt, length: u64) -> Result<Loaded> {
    let mut at = PAGE_BYTES as u64;
    let mut loaded =
        Loaded { entries: Vec::new(), tail: at, batch: 0, from_footer: false, torn: false, bad: Vec::new() };
    let mut window = (0, Found { bytes: Buf::empty(), unreadable: Vec::new() });
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

/// The next batch after a place that did not verify: one with a higher number than the one there.
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

/// What was read of a file.
struct Found {
    bytes: Buf,
    /// Places of pages that the disk does not give back; they are zeros in `bytes`.
    unreadable: Vec<u64>,
}

/// Reads a range, page by page where it can't be read as a whole.
async fn read(file: &File, at: u64, length: usize) -> Found {
    if length == 0 {
        return Found { bytes: Buf::empty(), unreadable: Vec::new() };
    }
    if let Ok(bytes) = file.read_at(at, length).await {
        return Found { bytes, unreadable: Vec::new() };
    }
    let mut found = Found { bytes: Buf::with_capacity(length), unreadable: Vec::new() };
    for place in (at..at + length as u64).step_by(PAGE_BYTES) {
        match file.read_at(place, PAGE_BYTES).await {
            Ok(page) => found.bytes.extend_from_slice(&page),
            Err(_) => {
                found.unreadable.push(place);
                found.bytes.extend_from_slice(&[0; PAGE_BYTES]);
            }
        }
    }
    found
}
