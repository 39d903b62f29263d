//! What apply tells the cores, and which core is home to a command.

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

/// Sorts what one command changed into the news of each core. `home` is the command's own home core.
pub fn sort_into(news: &mut [Applied], changes: &mut Vec<Change>) {
    let cores = news.len();
    for change in changes.drain(..) {
        match &change {
            Change::Bucket { .. } => news.iter_mut().for_each(|core| core.changes.push(change.clone())),
            Change::Key { bucket, key, .. } => {
                news[home_core(partition_of_key(bucket, key.as_bytes()), cores)].changes.push(change);
            }
            Change::Reclaim(record) => {
                let partition = u16::try_from(record.partition).unwrap_or(0) % PARTITIONS;
                news[home_core(partition, cores)].changes.push(change);
            }
            // Uploads are read from the store: nobody keeps them.
            Change::Upload { .. } => {}
        }
    }
}
