//! Few answers are 503 (`refusals.rs` judges each by itself). One that has begun is finished, even by a node that is
//! shutting down (as long as it waits), unless a fault broke it off, or its client was slow when memory was short.

use engine::io::sim::{Fault, control};

use crate::history::History;

/// So many requests may be refused for now in any run, and a fifth of all others.
const BUSY_AT_LEAST: u64 = 10;

/// Faults that never cut off an answer.
const HARMLESS: [Fault; 5] =
    [Fault::Clock, Fault::NoSpace, Fault::SlowDisk, Fault::HalfClose, Fault::Garbage];

/// Checks all answers of a run.
///
/// # Errors
/// An answer failed without a reason.
pub fn check(history: &History) -> Result<(), String> {
    let happened = |fault: &Fault| control::counted(*fault) > 0;
    let (busy, all) =
        (history.answers.get(&503).copied().unwrap_or(0), history.answers.values().sum::<u64>());
    if busy > BUSY_AT_LEAST + all / 5 && control::counted(Fault::SyncError) == 0 {
        return Err(format!("{busy} of {all} requests were refused for now"));
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
