//! The store on disk: fjall, a log-structured tree.
//!
//! Two keyspaces with one journal, so that a batch over both is still atomic. Version rows are looked up by keys
//! that exist (the `c/` row or a cache named them), so their keyspace has no filters on its last level. All other
//! rows are also looked up when absent (a PUT of a new key), so theirs keeps the filters.
//!
//! Memory: the block cache, plus at most five write buffers per keyspace (fjall halts writers at four sealed ones),
//! stays below [`MEMORY_BOUND`]. Small write buffers also shorten fjall's stalls: it frees a full one under a lock
//! that readers need (FACTS, fjall).

use super::{Batch, Kv, Reader, Slice, Visit};
use crate::{
    Error, Result,
    key::{TAG_CLUSTER, TAG_VERSION},
};
use ::fjall::{
    Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Snapshot,
    compaction::Leveled,
    config::{PinningPolicy, RestartIntervalPolicy},
};
use std::{
    path::Path,
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering},
};

const MIB: u64 = 1024 * 1024;
const CACHE_BYTES: u64 = 32 * MIB;
const WRITE_BUFFER_BYTES: u64 = 6 * MIB;
/// Maximum memory that the store may take, bytes.
pub const MEMORY_BOUND: u64 = 96 * MIB;
const _: () = assert!(CACHE_BYTES + 2 * 5 * WRITE_BUFFER_BYTES <= MEMORY_BOUND);

/// Maximum size of the journal kept for rows that are not in tables yet.
const JOURNAL_BYTES: u64 = 128 * MIB;
/// One of fjall's threads only flushes. When it gets a compaction, it puts it back into the queue and takes it out
/// again at once, until another thread is free. With two threads, this kept one CPU busy for as long as a
/// compaction ran; with three, another thread is free unless both keyspaces are being compacted.
const THREADS: usize = 3;
/// Size of a table. With fjall's 64 MiB the first level holds 256 MiB, all of which is rewritten by each compaction
/// of a few write buffers.
const TABLE_BYTES: u64 = 16 * MIB;
/// Rows per batch while all rows are being replaced.
const REPLACE_ROWS: usize = 1024;

/// The store on disk.
pub struct FjallKv {
    database: Database,
    keyspaces: Arc<Keyspaces>,
    poisoned: AtomicBool,
}

struct Keyspaces {
    /// `v/` rows, the highest tag.
    versions: Keyspace,
    /// All other rows.
    others: Keyspace,
}

impl FjallKv {
    /// Opens the store in `folder`, or creates it there.
    pub fn open(folder: &Path) -> Result<Self> {
        let database = Database::builder(folder)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES)
            .worker_threads(THREADS)
            .open()
            .map_err(store)?;
        let compaction = Arc::new(Leveled::default().with_table_target_size(TABLE_BYTES));
        let options = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(WRITE_BUFFER_BYTES)
                .compaction_strategy(compaction.clone())
                .index_block_pinning_policy(PinningPolicy::all(true))
                .filter_block_pinning_policy(PinningPolicy::all(true))
                .data_block_restart_interval_policy(RestartIntervalPolicy::all(16))
        };
        let versions =
            database.keyspace("versions", || options().expect_point_read_hits(true)).map_err(store)?;
        let others = database.keyspace("others", options).map_err(store)?;
        let keyspaces = Arc::new(Keyspaces { versions, others });
        Ok(Self { database, keyspaces, poisoned: AtomicBool::new(false) })
    }

    /// Runs a write unless an earlier one failed; a failure poisons the store.
    fn guarded<T>(&self, write: impl FnOnce() -> ::fjall::Result<T>) -> Result<T> {
        if self.poisoned.load(Ordering::Acquire) {
            return Err(Error::Poisoned);
        }
        write().map_err(|error| {
            self.poisoned.store(true, Ordering::Release);
            store(error)
        })
    }

    fn delete_cluster_rows(&self) -> Result<()> {
        let mut batch = Batch::default();
        self.snapshot().scan(&[TAG_CLUSTER], &[TAG_CLUSTER + 1], &mut |key, _| {
            batch.delete(key);
            Ok(std::ops::ControlFlow::Continue(()))
        })?;
        self.write(batch)?;
        self.persist()
    }
}

impl Keyspaces {
    fn of(&self, key: &[u8]) -> &Keyspace {
        if key.first() == Some(&TAG_VERSION) { &self.versions } else { &self.others }
    }
}

fn store(error: ::fjall::Error) -> Error {
    match error {
        ::fjall::Error::Poisoned => Error::Poisoned,
        ::fjall::Error::Locked => Error::Store("another process has it open".to_owned()),
        other => Error::Store(other.to_string()),
    }
}

impl Kv for FjallKv {
    type Snapshot = FjallSnapshot;

    fn snapshot(&self) -> FjallSnapshot {
        FjallSnapshot { snapshot: self.database.snapshot(), keyspaces: self.keyspaces.clone() }
    }

    fn write(&self, batch: Batch) -> Result<()> {
        self.guarded(|| {
            let mut out = ::fjall::OwnedWriteBatch::with_capacity(self.database.clone(), batch.changes.len());
            for (key, value) in batch.changes {
                let keyspace = self.keyspaces.of(&key);
                match value {
                    Some(value) => out.insert(keyspace, key, value),
                    None => out.remove(keyspace, key),
                }
            }
            // Handed to the system but not synced: it survives kill -9. The write-ahead log covers a crash of the
            // machine.
            out.durability(Some(PersistMode::Buffer)).commit()
        })
    }

    fn persist(&self) -> Result<()> {
        self.guarded(|| self.database.persist(PersistMode::SyncAll))
    }

    fn replace(&self, rows: &mut dyn Iterator<Item = Result<(Vec<u8>, Vec<u8>)>>) -> Result<()> {
        self.delete_cluster_rows()?;
        self.guarded(|| self.keyspaces.versions.clear())?;
        self.guarded(|| self.keyspaces.others.clear())?;
        let mut cluster = Batch::default();
        let mut batch = Batch::default();
        for row in rows {
            let (key, value) = row?;
            let target = if key.first() == Some(&TAG_CLUSTER) { &mut cluster } else { &mut batch };
            target.put(key, value);
            if batch.changes.len() == REPLACE_ROWS {
                self.write(std::mem::take(&mut batch))?;
            }
        }
        self.write(batch)?;
        self.persist()?;
        self.write(cluster)?;
        self.persist()
    }
}

/// The rows at one point in time.
pub struct FjallSnapshot {
    snapshot: Snapshot,
    keyspaces: Arc<Keyspaces>,
}

impl FjallSnapshot {
    /// Scans one keyspace; returns whether the visitor broke off.
    fn scan_in(&self, keyspace: &Keyspace, start: &[u8], end: &[u8], visit: &mut Visit<'_>) -> Result<bool> {
        if start >= end {
            return Ok(false);
        }
        for row in self.snapshot.range(keyspace, start..end) {
            let (key, value) = row.into_inner().map_err(store)?;
            if visit(&key, &value)?.is_break() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Reader for FjallSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Slice>> {
        self.snapshot.get(self.keyspaces.of(key), key).map_err(store)
    }

    fn scan(&self, start: &[u8], end: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        // Other rows sort on both sides of the version tag.
        let (first, last): (&[u8], &[u8]) = (&[TAG_VERSION], &[TAG_VERSION + 1]);
        let Keyspaces { versions, others } = &*self.keyspaces;
        let broke = self.scan_in(others, start, end.min(first), visit)?
            || self.scan_in(versions, start.max(first), end.min(last), visit)?;
        if !broke {
            self.scan_in(others, start.max(last), end, visit)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_an_io_error_every_write_is_refused_and_reads_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let kv = FjallKv::open(folder.path()).unwrap();
        let mut batch = Batch::default();
        batch.put(*b"ca", *b"1");
        kv.write(batch.clone()).unwrap();
        let failed: Result<()> = kv.guarded(|| Err(std::io::Error::other("disk").into()));
        assert!(matches!(failed, Err(Error::Store(why)) if why.contains("disk")));
        assert_eq!(kv.write(batch), Err(Error::Poisoned));
        assert_eq!(kv.persist(), Err(Error::Poisoned));
        assert_eq!(kv.replace(&mut std::iter::empty()), Err(Error::Poisoned));
        assert!(kv.snapshot().get(b"ca").unwrap().is_some());
    }
}
