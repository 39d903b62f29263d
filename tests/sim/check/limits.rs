//! Memory and queues stay within their limits while a node runs, and are empty when it rests: what a request took, also
//! one that was broken off, it gave back.

use engine::limits::BODY_BUDGET_BYTES;
use hamster::metrics::CoreStats;

use crate::machine::Machine;

/// Log segments of one core beyond which reclaim is not doing its work: the runs write far less.
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

/// Checks a node that works.
///
/// # Errors
/// A limit that is passed.
pub fn working(machine: &Machine) -> Result<(), String> {
    each(machine, |core| {
        let segments = core.segments.iter().find(|(kind, _)| *kind == "log").map_or(0, |(_, count)| *count);
        if core.buffers_used_bytes > BODY_BUDGET_BYTES as u64 || segments > LOG_SEGMENTS_MAX {
            return Err(format!("{} bytes of buffers, {segments} log segments", core.buffers_used_bytes));
        }
        Ok(())
    })
}

/// Checks a node without clients that has had time.
///
/// # Errors
/// Something is still held.
pub fn resting(machine: &Machine) -> Result<(), String> {
    each(machine, |core| {
        let waiting: u64 = core.queues.iter().map(|(_, depth)| depth).sum();
        if core.buffers_used_bytes > 0 || waiting > 0 || core.connections_open > 0 {
            return Err(format!(
                "at rest it holds {} bytes of buffers, {} connections, queues {:?}",
                core.buffers_used_bytes, core.connections_open, core.queues
            ));
        }
        Ok(())
    })
}

/// Entries of each core's index, as the node last told.
pub fn index_entries(machine: &Machine) -> Vec<Option<u64>> {
    let Some(board) = machine.board() else { return Vec::new() };
    (0..board.cores()).map(|core| board.span(core).map(|span| span.latest.index_entries)).collect()
}
