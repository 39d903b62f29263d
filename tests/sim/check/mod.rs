//! The invariants of a run, one file each.

pub mod answers;
pub mod blobs;
pub mod derived;
pub mod durability;
pub mod index;
pub mod limits;
pub mod linearizability;
pub mod lists;
pub mod log;
pub mod modified;
pub mod refusals;
pub mod rot;
pub mod versions;

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use engine::io::sim::control;
use engine::io::{sleep, spawn};
use raft::kv::{Kv, MemoryKv, Reader};

use crate::machine::Machine;

/// Calls `visit` with the key and the value of each row.
fn each_row(kv: &MemoryKv, mut visit: impl FnMut(&[u8], &[u8]) -> raft::Result<()>) -> Result<(), String> {
    let scanned = kv
        .snapshot()
        .scan(&[0], &[0xff], &mut |key, value| visit(key, value).map(|()| ControlFlow::Continue(())));
    scanned.map_err(|error| format!("the metadata can't be read: {error}"))
}

/// Runs a task in a new process on a machine without one, and ends that process. `None` if something else ended it.
async fn in_a_process<T: 'static>(machine: &Machine, work: impl Future<Output = T> + 'static) -> Option<T> {
    let done: Rc<RefCell<Option<T>>> = Rc::default();
    let result_cell = done.clone();
    control::start(machine.id, || {
        spawn(async move {
            let result = work.await;
            *result_cell.borrow_mut() = Some(result);
        })
    });
    while control::is_running(machine.id) {
        if let Some(result) = done.take() {
            control::kill(machine.id);
            return Some(result);
        }
        sleep(Duration::from_millis(1)).await;
    }
    None
}

/// Checks what a node left on disk when it was shut down; its cores had `entries` in their indexes. With damaged bytes
/// the check is only that the node opens them.
///
/// # Errors
/// The invariant that does not hold.
pub async fn rest(
    machine: &Machine,
    damaged: bool,
    entries: &[Option<u64>],
    left: blobs::Left,
) -> Result<(), String> {
    let kv = machine.kv();
    versions::check(&kv)?;
    derived::check(&kv)?;
    let Some(recovered) = index::recover(machine).await else { return Ok(()) };
    let recovered = recovered?;
    if damaged {
        return Ok(());
    }
    index::check(&recovered, entries)?;
    blobs::check(&kv, &recovered, left)
}
