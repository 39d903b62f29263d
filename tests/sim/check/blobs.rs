//! Bytes and metadata match: every blob that metadata refers to is in its core's segments, and every blob in the segments
//! is referred to. Nothing waits for reclaim.

use std::collections::BTreeSet;

use engine::placement::home_core;
use raft::key::{RowKey, decode};
use raft::kv::MemoryKv;
use raft::record::{BlobRef, PartRecord, Record, VersionRecord};

use super::each_row;
use super::index::Recovered;

/// A blob with its home core.
type Blob = (usize, [u8; 16]);

/// The blobs that versions and parts refer to, and how many blobs wait for reclaim.
fn known(kv: &MemoryKv, cores: usize) -> Result<(BTreeSet<Blob>, usize), String> {
    let (mut referred, mut queued) = (BTreeSet::new(), 0);
    each_row(kv, |key, value| {
        let mut refer = |blob: &BlobRef| {
            // An empty part has a record and no bytes.
            if blob.size == 0 {
                return;
            }
            let home = home_core(u16::try_from(blob.partition).unwrap_or_default(), cores);
            referred.insert((home, blob.data_id.to_bytes()));
        };
        match decode(key)? {
            RowKey::Version(..) => VersionRecord::from_row(value)?.blobs.iter().for_each(refer),
            RowKey::Part(..) => refer(&PartRecord::from_row(value)?.blob),
            RowKey::Reclaim(_) => queued += 1,
            _ => {}
        }
        Ok(())
    })?;
    Ok((referred, queued))
}

/// Compares the rows of an idle node with what recovery found in its segments.
///
/// # Errors
/// A blob that is missing or left over.
pub fn check(kv: &MemoryKv, recovered: &[Recovered]) -> Result<(), String> {
    let (referred, queued) = known(kv, recovered.len())?;
    let of_core = |(core, found): (usize, &Recovered)| -> Vec<Blob> {
        found.blobs.iter().map(|id| (core, *id)).collect()
    };
    let stored: BTreeSet<Blob> = recovered.iter().enumerate().flat_map(of_core).collect();
    if let Some((core, id)) = referred.difference(&stored).next() {
        let id = hex::encode(id);
        return Err(format!("blob {id} is referred to but missing from the segments of core {core}"));
    }
    if queued > 0 {
        return Err(format!("{queued} blobs still wait for reclaim"));
    }
    if let Some((core, id)) = stored.difference(&referred).next() {
        return Err(format!("blob {} in the segments of core {core} is left over", hex::encode(id)));
    }
    Ok(())
}
