//! What must hold of a run, a file each.

pub mod blobs;
pub mod derived;
pub mod limits;
pub mod linearizability;
pub mod log;
pub mod rot;

use crate::machine::Machine;

/// Checks what a node leaves behind that was shut down; `entries` its cores had in their indexes.
///
/// # Errors
/// What does not hold.
pub async fn rest(machine: &Machine, damaged: bool, entries: Vec<Option<u64>>) -> Result<(), String> {
    derived::check(&machine.kv())?;
    blobs::check(machine, damaged, entries).await
}
