//! The current rows (`c/`) follow from the versions (`v/`).

use std::collections::BTreeMap;

use raft::key::{RowKey, decode};
use raft::kv::MemoryKv;
use raft::record::{CurrentRecord, Record, VersionRecord};

use super::each_row;

/// Checks all rows of current versions.
///
/// # Errors
/// A row does not follow from the versions.
pub fn check(kv: &MemoryKv) -> Result<(), String> {
    let mut newest: BTreeMap<String, VersionRecord> = BTreeMap::new();
    let mut current: BTreeMap<String, CurrentRecord> = BTreeMap::new();
    each_row(kv, |key, value| {
        match decode(key)? {
            // The newest version comes first.
            RowKey::Version(name, _) => {
                let name = format!("{}/{}", name.bucket(), name.key());
                newest.entry(name).or_insert(VersionRecord::from_row(value)?);
            }
            RowKey::Current(name) => {
                let name = format!("{}/{}", name.bucket(), name.key());
                current.insert(name, CurrentRecord::from_row(value)?);
            }
            _ => {}
        }
        Ok(())
    })?;
    newest.retain(|_, version| !version.is_delete_marker());
    let derived: BTreeMap<_, _> =
        newest.into_iter().map(|(name, version)| (name, CurrentRecord::of(&version))).collect();
    if derived != current {
        return Err(format!(
            "what is current is not what follows from the versions:\n{current:?}\n{derived:?}"
        ));
    }
    Ok(())
}
