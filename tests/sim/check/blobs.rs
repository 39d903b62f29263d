//! Bytes and metadata fit together: every blob that is referred to is in its core's segments, and what is in the
//! segments is referred to or queued for reclaim. The index is one that was just rebuilt from the disk.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::rc::Rc;

use engine::io::sim::control;
use engine::io::{sleep, spawn};
use engine::placement::home_core;
use engine::segment::{Config, Store};
use raft::key::{RowKey, decode};
use raft::kv::{Kv, MemoryKv, Reader};
use raft::record::{BlobRef, PartRecord, ReclaimRecord, Record, VersionRecord};
use std::cell::RefCell;
use std::time::Duration;

use crate::machine::{DATA_DIR, Machine};

type Id = [u8; 16];
/// What each core has stored.
type Stored = Rc<RefCell<Vec<Result<BTreeSet<(usize, Id)>, String>>>>;

#[derive(Default)]
struct Known {
    /// Blobs that versions and parts refer to, with their home cores.
    referred: BTreeSet<(usize, Id)>,
    /// Blobs that wait for reclaim.
    queued: BTreeSet<(usize, Id)>,
}

fn known(kv: &MemoryKv, cores: usize) -> raft::Result<Known> {
    let mut known = Known::default();
    let home = |partition: u32| home_core(u16::try_from(partition).unwrap_or_default(), cores);
    kv.snapshot().scan(&[0], &[0xff], &mut |key, value| {
        let mut refer = |blob: &BlobRef| {
            known.referred.insert((home(blob.partition), blob.data_id.to_bytes()));
        };
        match decode(key)? {
            RowKey::Version(..) => VersionRecord::from_row(value)?.blobs.iter().for_each(refer),
            RowKey::Part(..) => refer(&PartRecord::from_row(value)?.blob),
            RowKey::Reclaim(id) => {
                let record = ReclaimRecord::from_row(value)?;
                known.queued.insert((home(record.partition), id.to_bytes()));
            }
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(known)
}

/// Checks a node that was shut down.
///
/// # Errors
/// A blob that is missing or left over.
pub async fn check(machine: &Machine, damaged: bool, entries: Vec<Option<u64>>) -> Result<(), String> {
    let cores = machine.setup.cores;
    let known =
        known(&machine.kv(), cores).map_err(|error| format!("the metadata can't be read: {error}"))?;
    let stored: Stored = Rc::default();
    let filled = stored.clone();
    control::start(machine.id, || {
        spawn(async move {
            for core in 0..cores {
                let config =
                    Config { background: false, ..Config::new(PathBuf::from(DATA_DIR).join(""), core) };
                let found = match Store::open(config).await {
                    Ok(store) => {
                        let ids: BTreeSet<(usize, Id)> =
                            store.data_ids().into_iter().map(|id| (core, id.0)).collect();
                        let (report, found) = (store.report(), store.stats().index_entries as u64);
                        match entries.get(core).copied().flatten() {
                            _ if damaged => Ok(ids),
                            _ if report.damaged > 0 => {
                                Err(format!("core {core} reports damage: {:?}", report.damage))
                            }
                            Some(told) if told != found => Err(format!(
                                "the index of core {core} had {told} entries, and has {found} after recovery"
                            )),
                            _ => Ok(ids),
                        }
                    }
                    Err(error) => Err(format!("the segments of core {core} can't be opened: {error}")),
                };
                filled.borrow_mut().push(found);
            }
        });
    });
    while stored.borrow().len() < cores {
        sleep(Duration::from_millis(1)).await;
    }
    control::kill(machine.id);
    let mut all = BTreeSet::new();
    for found in stored.take() {
        all.extend(found?);
    }
    if let Some((core, id)) = known.referred.difference(&all).next().filter(|_| !damaged) {
        return Err(format!(
            "blob {} is referred to, and not in the segments of core {core}",
            hex::encode(id)
        ));
    }
    let wanted: BTreeSet<_> = known.referred.union(&known.queued).copied().collect();
    if let Some((core, id)) = all.difference(&wanted).next().filter(|_| !damaged) {
        return Err(format!("blob {} in the segments of core {core} is left over", hex::encode(id)));
    }
    if !known.queued.is_empty() && !damaged {
        return Err(format!("{} blobs still wait for reclaim", known.queued.len()));
    }
    Ok(())
}
