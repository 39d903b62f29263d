//! Apply: executes commands, in log order, on the metadata store.
//!
//! Promise: deterministic. An [`Applier`] reads only the store and the command: no clock, no random numbers.
//! Whatever a command holds, apply returns an [`Outcome`]; an `Err` means that the store failed or is corrupt, and
//! then this node must stop.
//!
//! Invariants that every command keeps:
//! - The `c/` row of a key is derived from the newest of its `v/` rows, in the same batch. There is none if that
//!   version is a delete marker, or if there is no version.
//! - In a bucket that never kept versions, a key has at most one version: the null version, an object.
//! - A blob is referred to by exactly one `v/` row or part row, or it has a `g/` row, or its bytes are gone. The
//!   blobs that a refused command brought get `g/` rows.
//! - The version ids of a key increase in log order. If a proposed id would not (two nodes' clocks disagreed),
//!   apply takes the id after the newest, and the record keeps the proposed one, so that a retry is recognized.
//!
//! Absent here: the write itself, and the row that says what was applied, which the state machine adds to the
//! batch.

mod bucket;
mod checksum;
mod multipart;
mod object;
mod overlay;
mod precondition;
mod reclaim;
mod versions;

#[cfg(test)]
mod tests;

pub use multipart::MIN_PART_BYTES;
pub use overlay::Overlay;

use crate::{
    Result,
    command::{Command, Kind, Outcome},
    key,
    kv::{Batch, Reader},
    record::{BlobRef, BucketRecord, Bytes16, ReclaimRecord, Record, VersionRecord},
};
use std::{collections::BTreeMap, sync::Arc};

/// Maximum number of decoded buckets kept. Beyond it the cache starts over: a cluster that uses more buckets than
/// this at once pays one more read per command.
const CACHED_BUCKETS: usize = 4096;

/// What a command changed, for the cores' caches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A bucket was created, changed, or (`None`) deleted.
    Bucket {
        /// Its name.
        name: String,
        /// Its new state.
        record: Option<Arc<BucketRecord>>,
    },
    /// A key's version list changed.
    Key {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// Its current object; `None` if it has none (no version, or a delete marker is the newest).
        current: Option<Arc<VersionRecord>>,
    },
    /// Nothing refers to this blob any more.
    Reclaim(ReclaimRecord),
    /// An upload was started (`true`) or ended.
    Upload {
        /// Its id.
        upload_id: Bytes16,
        /// It is in progress.
        open: bool,
    },
}

/// Executes commands. Caches buckets, so that a PUT need not read its bucket.
#[derive(Default)]
pub struct Applier {
    buckets: BTreeMap<String, Arc<BucketRecord>>,
}

impl Applier {
    /// With nothing cached yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Empties the cache. Call it after a snapshot has replaced the rows.
    pub fn reset(&mut self) {
        self.buckets.clear();
    }

    /// Starts a batch of commands over the store as `reader` shows it, which must include everything that earlier
    /// batches wrote. The commands see each other's changes.
    pub fn begin<'a, R: Reader>(&'a mut self, reader: &'a R) -> Session<'a, R> {
        Session { applier: self, rows: Overlay::new(reader), at_ms: 0, retry: false }
    }
}

/// Commands that are written as one batch.
pub struct Session<'a, R> {
    applier: &'a mut Applier,
    rows: Overlay<'a, R>,
    at_ms: u64,
    retry: bool,
}

impl<R: Reader> Session<'_, R> {
    /// Executes one command, and adds what it changed to `changes`. After an `Err` the session is void: stop the
    /// node, because its bucket cache may be ahead of the store.
    pub fn apply(&mut self, command: Command, changes: &mut Vec<Change>) -> Result<Outcome> {
        self.at_ms = command.at_ms;
        self.retry = command.retry;
        match command.kind {
            Some(Kind::CreateBucket(command)) => self.create_bucket(command, changes),
            Some(Kind::DeleteBucket(command)) => self.delete_bucket(&command, changes),
            Some(Kind::PutVersion(command)) => self.put_version(command, changes),
            Some(Kind::DeleteVersion(command)) => self.delete_version(&command, changes),
            Some(Kind::CreateUpload(command)) => self.create_upload(&command, changes),
            Some(Kind::PutPart(command)) => self.put_part(&command, changes),
            Some(Kind::AbortUpload(command)) => self.abort_upload(&command, changes),
            Some(Kind::CompleteUpload(command)) => self.complete_upload(&command, changes),
            Some(Kind::Reclaimed(command)) => Ok(self.reclaimed(&command)),
            None => Ok(Outcome::UnknownCommand),
        }
    }

    /// The rows as the commands so far leave them.
    pub fn rows(&self) -> &impl Reader {
        &self.rows
    }

    /// Everything that the commands wrote.
    pub fn finish(self) -> Batch {
        self.rows.into_batch()
    }

    fn bucket(&mut self, name: &str) -> Result<Option<Arc<BucketRecord>>> {
        if let Some(record) = self.applier.buckets.get(name) {
            return Ok(Some(record.clone()));
        }
        let Ok(row) = key::bucket(name) else { return Ok(None) };
        let Some(value) = self.rows.get(&row)? else { return Ok(None) };
        let record = Arc::new(BucketRecord::from_row(&value)?);
        self.remember_bucket(name, Some(record.clone()));
        Ok(Some(record))
    }

    fn remember_bucket(&mut self, name: &str, record: Option<Arc<BucketRecord>>) {
        match record {
            Some(record) => {
                if self.applier.buckets.len() >= CACHED_BUCKETS {
                    self.applier.buckets.clear();
                }
                self.applier.buckets.insert(name.to_owned(), record);
            }
            None => drop(self.applier.buckets.remove(name)),
        }
    }

    /// The record in one row.
    fn record<T: Record>(&self, row: &[u8]) -> Result<Option<T>> {
        self.rows.get(row)?.map(|value| T::from_row(&value)).transpose()
    }

    /// Queues a blob that nothing refers to any more.
    fn release(&mut self, blob: &BlobRef, changes: &mut Vec<Change>) {
        let record = ReclaimRecord::of(blob, self.at_ms);
        self.rows.put(key::reclaim(blob.data_id), record.to_row());
        changes.push(Change::Reclaim(record));
    }

    /// Returns a refusal, and releases the blobs that the command brought. A retry releases nothing: its first
    /// proposal may have made the blobs part of an object. (A sweep finds what that leaves behind.)
    fn refuse(&mut self, outcome: Outcome, brought: &[BlobRef], changes: &mut Vec<Change>) -> Outcome {
        if !self.retry && !engine::canary!("refused-blob-kept") {
            for blob in brought {
                self.release(blob, changes);
            }
        }
        outcome
    }

    /// Whether this is a retry that brings a blob which is queued for reclaim.
    fn superseded(&self, brought: &[BlobRef]) -> Result<bool> {
        if self.retry {
            for blob in brought {
                if self.rows.get(&key::reclaim(blob.data_id))?.is_some() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}
