//! What must hold of a run, a file each.

pub mod answers;
pub mod blobs;
pub mod derived;
pub mod durability;
pub mod index;
pub mod limits;
pub mod linearizability;
pub mod lists;
pub mod log;
pub mod rot;
pub mod versions;

use crate::machine::Machine;

/// Checks what a node leaves behind that was shut down; `entries` its cores had in their indexes. Of damaged bytes it
/// can only be said that the node opens them.
///
/// # Errors
/// What does not hold.
pub async fn rest(machine: &Machine, damaged: bool, entries: &[Option<u64>]) -> Result<(), String> {
    let kv = machine.kv();
    versions::check(&kv)?;
    derived::check(&kv)?;
    let recovered = index::recover(machine).await?;
    if damaged {
        return Ok(());
    }
    index::check(&recovered, entries)?;
    blobs::check(&kv, &recovered)
}
