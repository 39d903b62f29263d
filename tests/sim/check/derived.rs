//! What is current (`c/`) is what follows from the versions (`v/`).

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use raft::key::{RowKey, decode};
use raft::kv::{Kv, MemoryKv, Reader};
use raft::record::{CurrentRecord, Record, VersionRecord};

/// Checks all rows of current versions.
///
/// # Errors
/// They are not those that follow from the versions.
pub fn check(kv: &MemoryKv) -> Result<(), String> {
    let mut newest: BTreeMap<String, VersionRecord> = BTreeMap::new();
    let mut current: BTreeMap<String, CurrentRecord> = BTreeMap::new();
    let scanned = kv.snapshot().scan(&[0], &[0xff], &mut |key, value| {
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
        Ok(ControlFlow::Continue(()))
    });
    scanned.map_err(|error| format!("the metadata can't be read: {error}"))?;
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
