//! The rows of the metadata fit together: versions of a key are in order and unique, and what is current is derived
//! from them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use raft::key::{RowKey, decode};
use raft::kv::{Kv, MemoryKv, Reader};
use raft::record::{CurrentRecord, Record, VersionRecord};

/// Checks all rows.
///
/// # Errors
/// The first that does not fit.
pub fn check(kv: &MemoryKv) -> Result<(), String> {
    let mut derived: BTreeMap<String, CurrentRecord> = BTreeMap::new();
    let mut current: BTreeMap<String, CurrentRecord> = BTreeMap::new();
    let mut newest: BTreeMap<String, VersionRecord> = BTreeMap::new();
    let mut wrong = Vec::new();
    let scanned = kv.snapshot().scan(&[0], &[0xff], &mut |key, value| {
        match decode(key)? {
            RowKey::Version(name, id) => {
                let record = VersionRecord::from_row(value)?;
                let name = format!("{}/{}", name.bucket(), name.key());
                if record.version_id != id {
                    wrong.push(format!("a version of {name} lies under another id"));
                }
                match newest.get(&name) {
                    // The bucket keeps no versions.
                    Some(_) => wrong.push(format!("{name} has more than one version")),
                    None => {
                        if !record.is_delete_marker() {
                            derived.insert(name.clone(), CurrentRecord::of(&record));
                        }
                        newest.insert(name, record);
                    }
                }
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
    if derived != current {
        wrong.push(format!(
            "what is current is not what follows from the versions:\n{current:?}\n{derived:?}"
        ));
    }
    wrong.into_iter().next().map_or(Ok(()), Err)
}
