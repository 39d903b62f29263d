//! What apply tells the cores, and which core is home to a command.

use std::sync::atomic::{AtomicU64, Ordering};

use engine::placement::{PARTITIONS, home_core, partition_of_key};

use crate::apply::Change;
use crate::command::{Command, Kind, Outcome};
use crate::record::Bytes16;

/// News for one core, in log order.
#[derive(Debug)]
pub enum Feed {
    /// Commands were applied.
    Applied(Applied),
    /// Proposals that were refused before they entered the log.
    Refused(Vec<Bytes16>),
}

/// What a batch of commands changed in one core's partitions.
#[derive(Debug, Default)]
pub struct Applied {
    /// The last log index of the batch: the store holds all changes up to it.
    pub index: u64,
    /// Changes of the core's keys and blobs, and of all buckets.
    pub changes: Vec<Change>,
    /// What became of the commands whose home this core is.
    pub outcomes: Vec<(Bytes16, Outcome)>,
}

impl Applied {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.outcomes.is_empty()
    }
}

/// How far each core has been told, and will be: so that whoever has read the store can wait until no core
/// knows less than what was read.
#[derive(Debug)]
pub struct Progress(Vec<CoreProgress>);

#[derive(Debug, Default)]
struct CoreProgress {
    /// The last index with news for this core, set before the store shows it.
    announced: AtomicU64,
    /// The last index whose news the core has taken.
    seen: AtomicU64,
}

impl Progress {
    /// Of `cores` cores that have been told nothing.
    pub fn new(cores: usize) -> Progress {
        Progress((0..cores).map(|_| CoreProgress::default()).collect())
    }

    /// Says that there will be news up to `index` for a core. Before the store is written.
    pub fn announce(&self, core: usize, index: u64) {
        self.0[core].announced.store(index, Ordering::Release);
    }

    /// Says that a core has taken its news up to `index`.
    pub fn saw(&self, core: usize, index: u64) {
        self.0[core].seen.store(index, Ordering::Release);
    }

    /// What each core must have seen for a read of the store that is over now.
    pub fn announced(&self) -> smallvec::SmallVec<[u64; 16]> {
        self.0.iter().map(|core| core.announced.load(Ordering::Acquire)).collect()
    }

    /// Whether every core has seen that much.
    pub fn reached(&self, announced: &[u64]) -> bool {
        self.0.iter().zip(announced).all(|(core, index)| core.seen.load(Ordering::Acquire) >= *index)
    }
}

/// The partition whose home core proposes a command and is told its outcome: that of its key; of a bucket's
/// commands that of the empty key in it; of others what the last two bytes of the command's id say.
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

/// Sorts what one command changed into the news of each core. `home` is the command's own home core, and that of
/// the only key that it may have changed.
pub fn sort_into(news: &mut [Applied], home: usize, changes: &mut Vec<Change>) {
    let cores = news.len();
    for change in changes.drain(..) {
        match &change {
            Change::Bucket { .. } => news.iter_mut().for_each(|core| core.changes.push(change.clone())),
            Change::Key { .. } => news[home].changes.push(change),
            Change::Reclaim(record) => {
                let partition = u16::try_from(record.partition).unwrap_or(0) % PARTITIONS;
                news[home_core(partition, cores)].changes.push(change);
            }
            // Uploads are read from the store: nobody keeps them.
            Change::Upload { .. } => {}
        }
    }
}
