//! Answers fail only for a reason. None is 500 unless the disk failed. An answer that has begun is finished, even by a
//! node that is shutting down (as long as it waits), unless a fault broke it off, or its client was slow when memory was
//! short.

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
    let (broken_off, ended) = (history.broken_off, control::ended_for_memory());
    if broken_off > ended && !history.cut_short && !Fault::ALL.iter().any(harmful) {
        return Err(format!(
            "{broken_off} answers were broken off; no fault did it, and memory was short for only {ended}"
        ));
    }
    Ok(())
}
