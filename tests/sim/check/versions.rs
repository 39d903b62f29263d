//! The versions of a key are consistent: each is stored under its own id, and in a bucket without versioning there is
//! exactly one, which replaced all before it.

use std::collections::BTreeSet;

use raft::key::{RowKey, decode};
use raft::kv::MemoryKv;
use raft::record::{Record, VersionRecord};

use super::each_row;

/// Checks all rows of versions.
///
/// # Errors
/// The first row that is wrong.
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
