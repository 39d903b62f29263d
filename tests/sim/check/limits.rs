//! Memory, reserved space and queues stay within their limits while a node works, and are empty when it is idle: every request,
//! even one that was broken off, returns what it took.

use engine::limits::{BODY_BUDGET_BYTES, INPUT_BUDGET_BYTES, SPACE_BUDGET_BYTES};
use hamster::metrics::CoreStats;

use crate::machine::Machine;

/// Maximum number of log segments of one core. With more, reclaim is not working: runs write far less.
const LOG_SEGMENTS_MAX: u64 = 40;

fn each(machine: &Machine, check: impl Fn(&CoreStats) -> Result<(), String>) -> Result<(), String> {
    let Some(board) = machine.board() else { return Ok(()) };
    for core in 0..board.cores() {
        if let Some(span) = board.span(core) {
            check(&span.latest).map_err(|what| format!("limits: core {core}: {what}"))?;
        }
    }
    Ok(())
}

/// Checks a node at work.
///
/// # Errors
/// A limit is exceeded.
pub fn working(machine: &Machine) -> Result<(), String> {
    each(machine, |core| {
        let segments = core.segments.iter().find(|(kind, _)| *kind == "log").map_or(0, |(_, count)| *count);
        let (buffers, input, reserved) =
            (core.buffers_used_bytes, core.input_used_bytes, core.reserved_bytes);
        let fits = buffers <= BODY_BUDGET_BYTES as u64
            && input <= INPUT_BUDGET_BYTES as u64
            && reserved <= SPACE_BUDGET_BYTES as u64;
        if !fits || segments > LOG_SEGMENTS_MAX {
            return Err(format!(
                "{buffers} bytes of buffers, {input} of input, {reserved} reserved on disk, {segments} log segments"
            ));
        }
        Ok(())
    })
}

/// Checks an idle node.
///
/// # Errors
/// Something is still held.
pub fn resting(machine: &Machine) -> Result<(), String> {
    each(machine, |core| {
        let waiting: u64 = core.queues.iter().map(|(_, depth)| depth).sum();
        let memory = core.buffers_used_bytes + core.input_used_bytes;
        let reserved = core.reserved_bytes;
        if memory > 0 || reserved > 0 || waiting > 0 || core.connections_open > 0 {
            return Err(format!(
                "at rest it holds {memory} bytes of memory, {reserved} reserved on disk, {} connections, queues {:?}",
                core.connections_open, core.queues
            ));
        }
        Ok(())
    })
}

/// The number of index entries that each core last reported.
pub fn index_entries(machine: &Machine) -> Vec<Option<u64>> {
    let Some(board) = machine.board() else { return Vec::new() };
    (0..board.cores()).map(|core| board.span(core).map(|span| span.latest.index_entries)).collect()
}
