//! The index matches the segments: recovery rebuilds what the cores had in memory and finds no damage. Readers check
//! that what the index says about each blob is right.

use std::collections::BTreeSet;

use engine::io::DiskSpace;
use engine::segment::{Config, Store};

use super::in_a_process;
use crate::machine::{DATA_DIR, Machine};

/// What recovery finds in a core's segments.
pub struct Recovered {
    /// The blobs.
    pub blobs: BTreeSet<[u8; 16]>,
    entries: u64,
    /// Damage that it reported.
    damage: Option<String>,
}

async fn open(core: usize) -> Result<Recovered, String> {
    let config = Config { background: false, ..Config::new(&DiskSpace::new(DATA_DIR), core) };
    let store = Store::open(config)
        .await
        .map_err(|error| format!("the segments of core {core} can't be opened: {error}"))?;
    let report = store.report();
    Ok(Recovered {
        blobs: store.data_ids().into_iter().map(|id| id.0).collect(),
        entries: store.stats().index_entries as u64,
        damage: (report.damaged > 0).then(|| format!("{:?}", report.damage)),
    })
}

/// Opens the segments of each core of a node that was shut down. `None` if a fault ends that.
///
/// # Errors
/// They can't be opened.
pub async fn recover(machine: &Machine) -> Option<Result<Vec<Recovered>, String>> {
    let cores = machine.setup.cores;
    let recovered = in_a_process(machine, async move {
        let mut recovered = Vec::new();
        for core in 0..cores {
            recovered.push(open(core).await?);
        }
        Ok(recovered)
    });
    recovered.await
}

/// Compares what was recovered with the number of entries that each core last reported.
///
/// # Errors
/// Where they differ.
pub fn check(recovered: &[Recovered], reported: &[Option<u64>]) -> Result<(), String> {
    for (core, found) in recovered.iter().enumerate() {
        if let Some(damage) = &found.damage {
            return Err(format!("core {core} reports damage: {damage}"));
        }
        match reported.get(core).copied().flatten() {
            Some(reported) if reported != found.entries => {
                return Err(format!(
                    "the index of core {core} had {reported} entries, and has {} after recovery",
                    found.entries
                ));
            }
            _ => {}
        }
    }
    Ok(())
}
