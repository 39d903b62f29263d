//! Versions of a key are in order: each lies under its own id, and in a bucket that keeps none there is one, which took
//! the place of all before it.

use std::collections::BTreeSet;

use raft::key::{RowKey, decode};
use raft::kv::MemoryKv;
use raft::record::{Record, VersionRecord};

use super::each_row;

/// Checks all rows of versions.
///
/// # Errors
/// The first that does not fit.
pub fn check(kv: &MemoryKv) -> Result<(), String> {
    let mut keys = BTreeSet::new();
    let mut wrong = None;
    each_row(kv, |key, value| {
        if let RowKey::Version(name, id) = decode(key)? {
            let name = format!("{}/{}", name.bucket(), name.key());
            if VersionRecord::from_row(value)?.version_id != id {
                wrong.get_or_insert_with(|| format!("a version of {name} lies under another id"));
            }
            if !keys.insert(name.clone()) {
                wrong.get_or_insert_with(|| format!("{name} has more than one version"));
            }
        }
        Ok(())
    })?;
    wrong.map_or(Ok(()), Err)
}
