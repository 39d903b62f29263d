//! What apply reports to the cores, and which core is the home of a command.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use engine::io::sleep;
use engine::placement::{PARTITIONS, home_core, partition_of_key};

use crate::apply::Change;
use crate::command::{Command, Kind, Outcome};
use crate::record::Bytes16;

/// The first interval between checks of the cores' progress, and the longest: an update takes some 50 µs, a core that is
/// still opening its segments perhaps minutes.
const CHECK_INTERVALS: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(1));

/// A message from apply to one core, in log order.
#[derive(Debug)]
pub enum Feed {
    /// Commands were applied.
    Applied(Applied),
    /// These proposals were refused before they entered the log.
    Refused(Vec<Bytes16>),
}

/// What a batch of commands changed in one core's partitions.
#[derive(Debug, Default)]
pub struct Applied {
    /// The last log index of the batch: the store holds all changes up to it.
    pub index: u64,
    /// Changes of the core's keys and blobs, and of all buckets.
    pub changes: Vec<Change>,
    /// The outcomes of the commands whose home is this core.
    pub outcomes: Vec<(Bytes16, Outcome)>,
}

impl Applied {
    /// Whether there is nothing to report.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.outcomes.is_empty()
    }
}

/// How far each core has followed the log, and how far it will. A reader of the store waits on it until every core
/// knows at least as much as the reader saw.
#[derive(Debug)]
pub struct Progress(Vec<CoreProgress>);

#[derive(Debug, Default)]
struct CoreProgress {
    /// The last index with an update for this core, set before the store shows it.
    announced: AtomicU64,
    /// The last index whose update the core has processed.
    seen: AtomicU64,
}

impl Progress {
    /// For `cores` cores that have seen nothing yet.
    pub fn new(cores: usize) -> Progress {
        Progress((0..cores).map(|_| CoreProgress::default()).collect())
    }

    /// Records that a core will get an update up to `index`. Call it before the store is written.
    pub fn announce(&self, core: usize, index: u64) {
        self.0[core].announced.store(index, Ordering::Release);
    }

    /// Records that a core has processed its updates up to `index`.
    pub fn saw(&self, core: usize, index: u64) {
        self.0[core].seen.store(index, Ordering::Release);
    }

    /// Waits until every core has seen all news announced so far. What was read from the store before may be used then.
    pub async fn wait(&self) {
        let announced = self.announced();
        let (mut interval, longest) = CHECK_INTERVALS;
        while !self.reached(&announced) {
            sleep(interval).await;
            interval = (interval * 2).min(longest);
        }
    }

    /// What each core must have seen before the result of a store read that has just ended may be used.
    pub fn announced(&self) -> smallvec::SmallVec<[u64; 16]> {
        self.0.iter().map(|core| core.announced.load(Ordering::Acquire)).collect()
    }

    /// Whether every core has reached these indexes.
    pub fn reached(&self, announced: &[u64]) -> bool {
        self.0.iter().zip(announced).all(|(core, index)| core.seen.load(Ordering::Acquire) >= *index)
    }
}

/// The partition whose home core proposes a command and gets its outcome: the partition of the command's key; for a
/// bucket command, that of the empty key in the bucket; for any other, the one that the last two bytes of the
/// command's id give.
pub fn partition_of(command: &Command) -> u16 {
    let of = |bucket: &str, key: &str| partition_of_key(bucket, key.as_bytes());
    match &command.kind {
        Some(Kind::CreateBucket(inner)) => of(&inner.name, ""),
        Some(Kind::DeleteBucket(inner)) => of(&inner.name, ""),
        Some(Kind::PutVersion(inner)) => of(&inner.bucket, &inner.key),
        Some(Kind::DeleteVersion(inner)) => of(&inner.bucket, &inner.key),
        Some(Kind::CreateUpload(inner)) => of(&inner.upload.bucket, &inner.upload.key),
        Some(Kind::PutPart(inner)) => of(&inner.bucket, &inner.key),
        Some(Kind::AbortUpload(inner)) => of(&inner.bucket, &inner.key),
        Some(Kind::CompleteUpload(inner)) => of(&inner.bucket, &inner.key),
        Some(Kind::Reclaimed(_)) | None => {
            let id = command.command_id.to_bytes();
            u16::from_be_bytes([id[14], id[15]]) % PARTITIONS
        }
    }
}

/// Adds what one command changed to the cores' updates. `home` is the home core of the command, and of the only key
/// that it may have changed.
pub fn distribute(updates: &mut [Applied], home: usize, changes: &mut Vec<Change>) {
    let cores = updates.len();
    for change in changes.drain(..) {
        match &change {
            Change::Bucket { .. } => updates.iter_mut().for_each(|core| core.changes.push(change.clone())),
            Change::Key { .. } => updates[home].changes.push(change),
            Change::Reclaim(record) => {
                let partition = u16::try_from(record.partition).unwrap_or(0) % PARTITIONS;
                updates[home_core(partition, cores)].changes.push(change);
            }
            // Uploads are read from the store; no core caches them.
            Change::Upload { .. } => {}
        }
    }
}
