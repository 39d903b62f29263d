//! Answers fail only for a reason. None is 500 unless the disk failed. An answer that has begun is finished unless
//! a fault broke it off, even by a node that is shutting down (as long as it waits).

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
/// Faults that never cut off an answer.
const HARMLESS: [Fault; 5] =
    [Fault::Clock, Fault::NoSpace, Fault::SlowDisk, Fault::HalfClose, Fault::Garbage];

/// Checks all answers of a run.
///
/// # Errors
/// An answer failed without a reason.
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
