//! A refusal has a reason. Clients send well-formed, signed requests for what exists, so every answer other than those
//! that the state explains (`workload.rs` says which) follows from a fault, from a shortage, or from a stop of the node.

use std::time::Duration;

use engine::io::sim::{Fault, NodeId, control};

use crate::client::Answer;
use crate::machine::Machine;

/// An error of the disk may fail requests for so long after it: those that wait for the same batch or file.
const DISK_ERROR_LASTS: Duration = Duration::from_secs(10);

/// The only machine.
const NODE: NodeId = 0;
/// A disk with less room than that may be full for a crowd.
const FULL_BELOW_BYTES: u64 = 40 << 20;

/// Checks the answer to a request that was sent `ago`.
///
/// # Errors
/// Nothing explains it.
pub fn check(answer: &Answer, ago: Duration) -> Result<(), String> {
    let (code, message) = (answer.code(), answer.message());
    let explained = match answer.status {
        // A node that loses the only copy of the log's end can't know what was there.
        404 | 400 | 412 if control::is_damaged(&Machine::wal_dir()) => true,
        403 if code == "RequestTimeTooSkewed" || code.is_empty() => control::counted(Fault::Clock) > 0,
        400 if code == "RequestTimeout" => any(&[Fault::Stall, Fault::Partition, Fault::Pause, Fault::Crash]),
        500 => is_disk_to_blame(ago),
        503 => is_later_to_blame(&message),
        // Each upload of a crowd takes an extent, which is much of a small disk.
        507 => any(&[Fault::NoSpace]) || control::free_bytes(NODE) < FULL_BELOW_BYTES,
        _ => false,
    };
    if explained {
        return Ok(());
    }
    Err(format!("no reason for the answer {} {code}: {message}", answer.status))
}

fn any(faults: &[Fault]) -> bool {
    faults.iter().any(|fault| control::counted(*fault) > 0)
}

/// Whether a fault happened since a time, or so shortly before that it still has effects.
fn lately(fault: Fault, ago: Duration) -> bool {
    control::age(fault).is_some_and(|age| age <= ago + DISK_ERROR_LASTS)
}

fn is_disk_to_blame(ago: Duration) -> bool {
    // What is damaged stays so, and what could not be read at a start is taken for damaged until the next one.
    any(&[Fault::MisdirectedWrite, Fault::BitRot, Fault::ReadError])
        || [Fault::WriteError, Fault::SyncError, Fault::NoSpace].into_iter().any(|fault| lately(fault, ago))
}

fn is_later_to_blame(message: &str) -> bool {
    match message {
        // A client was slow, so that memory or space was short (`answers.rs` bounds how often), or HEAD does not say.
        "" | "Please reduce your request rate." | "The memory for responses is in use." => true,
        // An operator may stop the node at any time.
        "the node is stopping" | "the key's core has ended" | "the blob's core has ended" => true,
        "an earlier sync of the extent's segment failed" => any(&[Fault::SyncError]),
        _ => any(&[Fault::Pause, Fault::SlowDisk, Fault::Crash]),
    }
}
