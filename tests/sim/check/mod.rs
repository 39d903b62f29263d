//! What must hold of a run, a file each.

pub mod blobs;
pub mod derived;
pub mod linearizability;
pub mod log;

use crate::machine::Machine;

/// Checks what a node leaves behind that was shut down.
///
/// # Errors
/// What does not hold.
pub async fn rest(machine: &Machine, damaged: bool) -> Result<(), String> {
    derived::check(&*machine.kv())?;
    blobs::check(machine, damaged).await?;
    log::check(machine).await
}
