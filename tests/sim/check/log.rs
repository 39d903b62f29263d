//! The log matches the state: executed on the durable rows, it yields the rows that the node had.

use std::sync::Arc;

use raft::kv::{Kv, MemoryKv};
use raft::wal::{Wal, WalConfig};
use raft::{Mark, replay};

use super::{each_row, in_a_process};
use crate::machine::Machine;

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

fn rows(kv: &MemoryKv) -> Result<Rows, String> {
    let mut rows = Rows::new();
    each_row(kv, |key, value| {
        rows.push((key.to_vec(), value.to_vec()));
        Ok(())
    })?;
    Ok(rows)
}

async fn entries(config: WalConfig, from: u64) -> Result<Vec<raft::Entry>, String> {
    let failed = |error: std::io::Error| format!("the log can't be read: {error}");
    let wal = Wal::open(config, |_| {}).await.map_err(failed)?;
    wal.read(from, u64::MAX).await.map_err(failed)
}

/// Checks a killed node.
///
/// # Errors
/// The rows differ.
pub async fn check(machine: &Machine) -> Result<(), String> {
    let before = machine.kv();
    let after = Arc::new(before.crash(0));
    let mark = |kv: &MemoryKv| Mark::read(&kv.snapshot()).map_err(|error| error.to_string());
    let from = mark(&after)?.last.map_or(0, |id| id.index + 1);
    let upto = mark(&before)?.last.map_or(0, |id| id.index);
    let Some(entries) = in_a_process(machine, entries(machine.group().wal, from)).await else {
        return Ok(());
    };
    let mut entries = entries?;
    entries.retain(|entry| entry.log_id.index <= upto);
    replay(after.clone(), &entries)
        .await
        .map_err(|error| format!("the log can't be executed again: {error}"))?;
    if rows(&before)? != rows(&after)? {
        return Err(format!(
            "the log from {from} to {upto}, executed again, makes other rows than the node had"
        ));
    }
    Ok(())
}
