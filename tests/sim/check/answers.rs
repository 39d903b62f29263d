//! Answers fail only for a reason: none is 500 while the disk does nothing wrong, and one that was begun is finished, by a
//! node that is shut down too (as long as it waits), unless a fault broke it off.

use engine::io::sim::{Fault, control};

use crate::history::History;

/// Faults that can make a request fail in the node.
const FAILING: [Fault; 6] = [
    Fault::ReadError,
    Fault::WriteError,
    Fault::SyncError,
    Fault::NoSpace,
    Fault::MisdirectedWrite,
    Fault::BitRot,
];
/// Faults that leave an answer alone once it is begun.
const HARMLESS: [Fault; 5] =
    [Fault::Clock, Fault::NoSpace, Fault::SlowDisk, Fault::HalfClose, Fault::Garbage];

/// Checks all answers of a run.
///
/// # Errors
/// One failed without a reason.
pub fn check(history: &History) -> Result<(), String> {
    let happened = |fault: &Fault| control::counted(*fault) > 0;
    if history.answers.contains_key(&500) && !FAILING.iter().any(happened) {
        return Err("a request was answered 500 though the disk did nothing wrong".to_owned());
    }
    let harmful = |fault: &Fault| !HARMLESS.contains(fault) && happened(fault);
    if history.broken_off > 0 && !history.cut_short && !Fault::ALL.iter().any(harmful) {
        return Err(format!("{} answers were broken off, and no fault did it", history.broken_off));
    }
    Ok(())
}
