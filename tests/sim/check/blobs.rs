//! Bytes and metadata match: every blob that metadata refers to is in its core's segments, and every blob in the segments
//! is referred to or waits for reclaim. Once a node has settled, nothing waits.

use std::collections::BTreeSet;

use engine::placement::home_core;
use raft::key::{RowKey, decode};
use raft::kv::MemoryKv;
use raft::record::{BlobRef, PartRecord, ReclaimRecord, Record, VersionRecord};

use super::each_row;
use super::index::Recovered;

/// A blob with its home core.
type Blob = (usize, [u8; 16]);

/// The blobs that versions and parts refer to, and those that wait for reclaim.
fn known(kv: &MemoryKv, cores: usize) -> Result<(BTreeSet<Blob>, BTreeSet<Blob>), String> {
    let (mut referred, mut queued) = (BTreeSet::new(), BTreeSet::new());
    let home = |partition: u32| home_core(u16::try_from(partition).unwrap_or_default(), cores);
    each_row(kv, |key, value| {
        let mut refer = |blob: &BlobRef| {
            // An empty part has a record and no bytes.
            if blob.size == 0 {
                return;
            }
            referred.insert((home(blob.partition), blob.data_id.to_bytes()));
        };
        match decode(key)? {
            RowKey::Version(..) => VersionRecord::from_row(value)?.blobs.iter().for_each(refer),
            RowKey::Part(..) => refer(&PartRecord::from_row(value)?.blob),
            RowKey::Reclaim(_) => {
                let record = ReclaimRecord::from_row(value)?;
                queued.insert((home(record.partition), record.data_id.to_bytes()));
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok((referred, queued))
}

/// How a node was left.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    /// It had time to reclaim.
    pub settled: bool,
    /// It said at its end that it left nothing to sweep.
    pub tidy: bool,
}

/// Compares the rows of a node that was shut down with what recovery found in its segments.
///
/// # Errors
/// A blob that is missing or left over.
pub fn check(kv: &MemoryKv, recovered: &[Recovered], left: Left) -> Result<(), String> {
    let (referred, queued) = known(kv, recovered.len())?;
    let of_core = |(core, found): (usize, &Recovered)| -> Vec<Blob> {
        found.blobs.iter().map(|id| (core, *id)).collect()
    };
    let stored: BTreeSet<Blob> = recovered.iter().enumerate().flat_map(of_core).collect();
    if let Some((core, id)) = referred.difference(&stored).next() {
        let id = hex::encode(id);
        return Err(format!("blob {id} is referred to but missing from the segments of core {core}"));
    }
    if left.settled && !queued.is_empty() {
        return Err(format!("{} blobs still wait for reclaim", queued.len()));
    }
    let unknown = |blob: &&Blob| !referred.contains(*blob) && !queued.contains(*blob);
    match stored.iter().find(unknown).filter(|_| left.tidy) {
        Some((core, id)) => {
            Err(format!("blob {} in the segments of core {core} is left over", hex::encode(id)))
        }
        None => Ok(()),
    }
}
