//! The log equals the state: what the log holds, executed on the durable rows, makes the rows that the node had.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use engine::io::sim::control;
use engine::io::{sleep, spawn};
use raft::kv::{Kv, MemoryKv, Reader};
use raft::wal::{Wal, WalConfig};
use raft::{Mark, replay};

use crate::machine::Machine;

type Read = Rc<RefCell<Option<Result<Vec<raft::Entry>, String>>>>;
type Rows = Vec<(Vec<u8>, Vec<u8>)>;

fn rows(kv: &MemoryKv) -> Rows {
    let mut rows = Vec::new();
    let _ = kv.snapshot().scan(&[0], &[0xff], &mut |key, value| {
        rows.push((key.to_vec(), value.to_vec()));
        Ok(std::ops::ControlFlow::Continue(()))
    });
    rows
}

async fn entries(config: WalConfig, from: u64) -> Result<Vec<raft::Entry>, String> {
    let failed = |error: std::io::Error| format!("the log can't be read: {error}");
    let wal = Wal::open(config, |_| {}).await.map_err(failed)?;
    wal.read(from, u64::MAX).await.map_err(failed)
}

/// Checks a node that was killed.
///
/// # Errors
/// The rows differ.
pub async fn check(machine: &Machine) -> Result<(), String> {
    let before = machine.kv();
    let after = Arc::new(before.crash(0));
    let mark = |kv: &MemoryKv| Mark::read(&kv.snapshot()).map_err(|error| error.to_string());
    let from = mark(&after)?.last.map_or(0, |id| id.index + 1);
    let upto = mark(&before)?.last.map_or(0, |id| id.index);
    let config = machine.group().wal;
    let read: Read = Rc::default();
    let filled = read.clone();
    control::start(machine.id, || {
        spawn(async move { *filled.borrow_mut() = Some(entries(config, from).await) })
    });
    while read.borrow().is_none() {
        sleep(Duration::from_millis(1)).await;
    }
    control::kill(machine.id);
    let mut entries = read.take().unwrap_or_else(|| Ok(Vec::new()))?;
    entries.retain(|entry| entry.log_id.index <= upto);
    replay(after.clone(), &entries)
        .await
        .map_err(|error| format!("the log can't be executed again: {error}"))?;
    if rows(&before) != rows(&after) {
        return Err(format!(
            "the log from {from} to {upto}, executed again, makes other rows than the node had"
        ));
    }
    Ok(())
}
