//! Versions of a key are in order: each lies under its own id, and in a bucket that keeps none there is one, which took
//! the place of all before it.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use raft::key::{RowKey, decode};
use raft::kv::{Kv, MemoryKv, Reader};
use raft::record::{Record, VersionRecord};

/// Checks all rows of versions.
///
/// # Errors
/// The first that does not fit.
pub fn check(kv: &MemoryKv) -> Result<(), String> {
    let mut keys = BTreeSet::new();
    let mut wrong = None;
    let scanned = kv.snapshot().scan(&[0], &[0xff], &mut |key, value| {
        if let RowKey::Version(name, id) = decode(key)? {
            let name = format!("{}/{}", name.bucket(), name.key());
            if VersionRecord::from_row(value)?.version_id != id {
                wrong.get_or_insert_with(|| format!("a version of {name} lies under another id"));
            }
            if !keys.insert(name.clone()) {
                wrong.get_or_insert_with(|| format!("{name} has more than one version"));
            }
        }
        Ok(ControlFlow::Continue(()))
    });
    scanned.map_err(|error| format!("the metadata can't be read: {error}"))?;
    wrong.map_or(Ok(()), Err)
}
