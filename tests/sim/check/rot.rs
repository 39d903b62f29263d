//! No read finds rot that no fault caused: what a reader was given stays in place until the reader releases it.

use engine::io::sim::{Fault, control};

use crate::machine::Machine;

/// Checks a node at work.
///
/// # Errors
/// A block differed from what was written, and no fault explains it.
pub fn check(machine: &Machine) -> Result<(), String> {
    let Some(board) = machine.board() else { return Ok(()) };
    let spans = (0..board.cores()).filter_map(|core| board.span(core));
    let found: u64 = spans.map(|span| span.latest.corrupt_reads).sum();
    let made = Fault::ALL.into_iter().filter(|fault| fault.damages()).map(control::counted).sum::<u64>();
    if found > 0 && made == 0 {
        return Err(format!("{found} reads found rot on a disk that has none"));
    }
    Ok(())
}
