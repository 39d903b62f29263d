//! The write-ahead log of the Raft group: one ordered stream of entries, votes and marks.
//!
//! Promises: [`Wal::append`] only buffers. One task writes and syncs what has gathered and then tells all waiters,
//! so the number of syncs does not grow with the number of writers. Each batch starts on a new page: a page that
//! was synced is never written again. A batch is replayed whole or not at all. After a failed write or sync nothing
//! is acknowledged any more, `on_fatal` is called, and the process must end: what reached the disk is unknown until
//! a restart reads it.
//!
//! Segments are zeroed ahead of use (a sync of never-written blocks costs up to 50 times one of written blocks).
//! The next segment is prepared while the last one fills, and segments that hold only purged entries are recycled.
//! They are recycled oldest first, so that a crash leaves consecutive ids. Each segment starts with a copy of the
//! vote and the marks, so that none of those exists in a purged segment alone.

mod flush;
mod index;
pub mod record;
mod recovery;
mod segment;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use engine::io::{
    ALIGNMENT, DiskSpace, Event, OneshotSender, Pacer, Writers, create_dir_all, oneshot, spawn,
};
use openraft::storage::IOFlushed;

use crate::types::{Entry, LogId, TypeConfig, Vote};
use index::{Index, Lookup};
use record::Record;
use segment::{Blank, Segment};

/// Upper bound of the bytes in a batch, which are what a torn one may have touched.
const MAX_BATCH_BYTES: u64 = 4 << 20;
/// A batch is closed once it has this many bytes.
const BATCH_BYTES: usize = 1 << 20;
/// Segments kept for reuse; more are removed.
const MAX_SPARES: usize = 2;

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    segment: u64,
    offset: u32,
    len: u32,
}

/// The log's settings.
#[derive(Clone, Debug)]
pub struct WalConfig {
    /// The directory of the segments.
    pub directory: PathBuf,
    /// The space ledger of its file system, one for the whole node.
    pub disk: Arc<DiskSpace>,
    /// Length of a segment, bytes; a multiple of 4096, and 64 KiB or more.
    pub segment_bytes: u64,
    /// Entries kept in memory for readers, bytes.
    pub cache_bytes: usize,
    /// The writers whose commands go to the log, and the number of cores that they are on.
    pub writers: (Writers, usize),
}

impl WalConfig {
    /// Segments of 64 MiB, and 4 MiB of entries in memory: some 10,000, of which apply needs the last few hundred.
    pub fn new(directory: PathBuf, disk: Arc<DiskSpace>) -> WalConfig {
        let writers = (Writers::default(), 1);
        WalConfig { directory, disk, segment_bytes: 64 << 20, cache_bytes: 4 << 20, writers }
    }
}

/// What the log has done since it was opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct WalStats {
    /// Batches written; each took one write and one data sync.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes written, with padding.
    pub bytes: u64,
    /// Data syncs on log segments.
    pub syncs: u64,
    /// Time that writes and syncs took together, microseconds.
    pub flush_us: u64,
    /// How often the next segment was not ready when it was needed.
    pub segment_waits: u64,
    /// Segments in use.
    pub segments: usize,
    /// There was no room on the disk for the next segment.
    pub starved: bool,
    /// Entries in memory, bytes.
    pub cached_bytes: usize,
}

enum Waiter {
    Openraft(IOFlushed<TypeConfig>),
    Task(OneshotSender<Result<(), String>>),
}

impl Waiter {
    fn tell(self, result: &Result<(), String>) {
        match self {
            Waiter::Openraft(callback) => callback.io_completed(result.clone().map_err(io::Error::other)),
            Waiter::Task(sender) => sender.send(result.clone()),
        }
    }
}

enum Pending {
    Record(Record),
    Waiter(Waiter),
}

struct State {
    index: Index,
    pending: VecDeque<Pending>,
    /// Records among them.
    pending_records: usize,
    /// The committed mark has changed since it was last written.
    committed_dirty: bool,
    segments: VecDeque<Segment>,
    /// The log's salt, chosen when it began.
    salt: u64,
    position: u64,
    sequence: u64,
    next: Option<Blank>,
    next_id: u64,
    spares: VecDeque<Segment>,
    failed: Option<String>,
    stats: WalStats,
}

impl State {
    fn push(&mut self, record: Record) {
        self.pending.push_back(Pending::Record(record));
        self.pending_records += 1;
    }
}

struct Inner {
    config: WalConfig,
    state: RefCell<State>,
    /// There is something to write.
    work: Event,
    pacer: Pacer,
    /// The next segment is ready.
    prepared: Event,
    preparing: Cell<bool>,
    /// There was no room for the next segment.
    starved: Cell<bool>,
    on_fatal: Box<dyn Fn(&str)>,
}

/// The log. Cloning shares it; it stays on its core.
#[derive(Clone)]
pub struct Wal(Rc<Inner>);

impl Wal {
    /// Opens the log in a directory, or starts one. `on_fatal` is called once if the log can't go on.
    ///
    /// # Errors
    /// The directory is unusable, or the log is damaged; the message is one line that says what to do.
    pub async fn open(config: WalConfig, on_fatal: impl Fn(&str) + 'static) -> io::Result<Wal> {
        assert!(config.segment_bytes >= 64 << 10 && config.segment_bytes.is_multiple_of(ALIGNMENT as u64));
        create_dir_all(&config.directory)?;
        let found = recovery::recover(&config.directory, config.segment_bytes, config.cache_bytes).await?;
        let last_id = found.segments.last().map_or(0, |segment| segment.id);
        // At most one segment is ever prepared; one whose id does not follow would leave a gap.
        let (next, surplus): (Vec<_>, Vec<_>) =
            found.blanks.into_iter().partition(|blank| blank.id == last_id + 1);
        for blank in surplus {
            engine::reach!("wal-second-blank-removed");
            engine::io::remove_file(&segment::path(&config.directory, blank.id)).await?;
        }
        let next = next.into_iter().next();
        let next_id = last_id + 1 + u64::from(next.is_some());
        let state = State {
            index: found.index,
            pending: VecDeque::new(),
            pending_records: 0,
            committed_dirty: false,
            segments: VecDeque::from(found.segments),
            salt: found.salt.unwrap_or_else(engine::io::random_u64),
            position: found.position,
            sequence: found.sequence,
            next,
            next_id,
            spares: VecDeque::new(),
            failed: None,
            stats: WalStats::default(),
        };
        let (writers, cores) = config.writers.clone();
        let inner = Inner {
            config,
            state: RefCell::new(state),
            work: Event::new(),
            pacer: Pacer::new(writers, cores),
            prepared: Event::new(),
            preparing: Cell::new(false),
            starved: Cell::new(false),
            on_fatal: Box::new(on_fatal),
        };
        let wal = Wal(Rc::new(inner));
        wal.release_purged();
        wal.prepare_next(); // Also if nothing was ever purged.
        spawn(wal.clone().flush_loop());
        Ok(wal)
    }

    /// The last entry (or the last purged one, if none follows it).
    pub fn last(&self) -> Option<LogId> {
        self.0.state.borrow().index.last()
    }

    /// The last entry that was purged.
    pub fn purged(&self) -> Option<LogId> {
        self.0.state.borrow().index.purged
    }

    /// The id of the entry at an index, the last purged one included.
    pub fn id_at(&self, index: u64) -> Option<LogId> {
        self.0.state.borrow().index.id_at(index)
    }

    /// The last vote that was saved.
    pub fn vote(&self) -> Option<Vote> {
        self.0.state.borrow().index.vote
    }

    /// The last committed entry that was saved.
    pub fn committed(&self) -> Option<LogId> {
        self.0.state.borrow().index.committed
    }

    /// Adds entries; `done` is called when they are durable. Readers see them at once.
    ///
    /// # Errors
    /// An entry does not follow the one before it, or the log has failed.
    pub fn append(
        &self,
        entries: impl IntoIterator<Item = Entry>,
        done: IOFlushed<TypeConfig>,
    ) -> io::Result<()> {
        {
            let mut state = self.usable()?;
            for entry in entries {
                state.index.push(entry.clone(), None).map_err(io::Error::other)?;
                state.push(Record::Entry(entry));
            }
            state.pending.push_back(Pending::Waiter(Waiter::Openraft(done)));
        }
        self.0.pacer.queued(self.pending_records());
        self.0.work.notify();
        Ok(())
    }

    /// Saves the vote; returns when it is durable.
    ///
    /// # Errors
    /// The log has failed.
    pub async fn save_vote(&self, vote: Vote) -> io::Result<()> {
        self.usable()?.index.vote = Some(vote);
        self.write(Some(Record::Vote(vote))).await
    }

    /// Records what is committed. The mark is written with the next batch, and costs no write of its own.
    pub fn save_committed(&self, committed: Option<LogId>) {
        let mut state = self.0.state.borrow_mut();
        state.index.committed = committed;
        state.committed_dirty = true;
    }

    /// Drops the entries after `last`; returns when that is durable.
    ///
    /// # Errors
    /// The log has failed.
    pub async fn truncate_after(&self, last: Option<LogId>) -> io::Result<()> {
        self.usable()?.index.truncate_after(last);
        self.write(Some(Record::Truncate(last))).await
    }

    /// Drops the entries up to `upto`, which a snapshot holds; returns when that is durable.
    ///
    /// # Errors
    /// The log has failed.
    pub async fn purge(&self, upto: LogId) -> io::Result<()> {
        engine::reach!("wal-purged");
        self.usable()?.index.purge(upto);
        self.write(Some(Record::Purge(upto))).await?;
        self.release_purged();
        Ok(())
    }

    /// Waits until everything handed over is durable.
    ///
    /// # Errors
    /// The log has failed.
    pub async fn flush(&self) -> io::Result<()> {
        self.write(None).await
    }

    /// Waits until all writing and preparing has ended; nothing may be handed over afterwards.
    ///
    /// # Errors
    /// The log has failed.
    pub async fn close(self) -> io::Result<()> {
        self.flush().await?;
        while self.0.preparing.get() {
            self.0.prepared.wait().await;
        }
        Ok(())
    }

    async fn write(&self, record: Option<Record>) -> io::Result<()> {
        let (sender, receiver) = oneshot();
        {
            let mut state = self.usable()?;
            record.into_iter().for_each(|record| state.push(record));
            state.pending.push_back(Pending::Waiter(Waiter::Task(sender)));
        }
        self.0.work.notify();
        match receiver.await {
            Ok(result) => result.map_err(io::Error::other),
            Err(_) => Err(io::Error::other("the log was closed")),
        }
    }

    fn usable(&self) -> io::Result<std::cell::RefMut<'_, State>> {
        let state = self.0.state.borrow_mut();
        match &state.failed {
            Some(why) => Err(io::Error::other(why.clone())),
            None => Ok(state),
        }
    }

    /// The entries from `from` (inclusive) to `to` (exclusive), as far as they exist.
    ///
    /// # Errors
    /// An entry can't be read back from its segment.
    pub async fn read(&self, from: u64, to: u64) -> io::Result<Vec<Entry>> {
        let lookups = self.0.state.borrow().index.range(from, to);
        let mut entries = Vec::with_capacity(lookups.len());
        for lookup in lookups {
            entries.push(match lookup {
                Lookup::Cached(entry) => entry,
                Lookup::OnDisk(log_id, place) => self.read_back(log_id, place).await?,
            });
        }
        Ok(entries)
    }

    async fn read_back(&self, log_id: LogId, place: Place) -> io::Result<Entry> {
        engine::reach!("wal-entry-read-back");
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, format!("log entry {log_id} is damaged"));
        let (file, salt) = {
            let state = self.0.state.borrow();
            let segment = state.segments.iter().find(|segment| segment.id == place.segment);
            let file = segment.map(|segment| segment.file.clone()).ok_or_else(damaged)?;
            (file, segment::salt(state.salt, place.segment))
        };
        let (offset, len) = (place.offset as usize, place.len as usize);
        let start = offset / ALIGNMENT * ALIGNMENT;
        let pages = (offset + len).next_multiple_of(ALIGNMENT) - start;
        let bytes = file.read_at(start as u64, pages).await?;
        let record = bytes.get(offset - start..offset - start + len).ok_or_else(damaged)?;
        let (sequence, _) = record::frame(salt, record).ok_or_else(damaged)?;
        match record::Record::decode(salt, sequence, record) {
            Ok(record::DecodedRecord { record: Record::Entry(entry), .. }) if entry.log_id == log_id => {
                Ok(entry)
            }
            _ => Err(damaged()),
        }
    }

    /// What the log has done since it was opened.
    pub fn stats(&self) -> WalStats {
        let state = self.0.state.borrow();
        WalStats {
            segments: state.segments.len(),
            starved: self.0.starved.get(),
            cached_bytes: state.index.cached_bytes(),
            ..state.stats
        }
    }
}

#[cfg(test)]
mod tests;
