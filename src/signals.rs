//! SIGTERM and SIGINT: the first one drains the node, the second ends the process at once.

use crate::error::{Error, Result};
use crate::latch::{Latch, latch};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Starts the thread that handles signals, which lives as long as the process. The latch opens at the first signal.
pub fn watch() -> Result<Latch> {
    let mut signals = Signals::new([SIGTERM, SIGINT])
        .map_err(|error| Error::refused(format!("cannot watch for signals: {error}")))?;
    let (opener, shutdown) = latch();
    let body = move || {
        let mut closed = Some(opener);
        for signal in signals.forever() {
            if closed.take().is_none() {
                // The status that a shell reports for a process ended by a signal.
                std::process::exit(128 + signal);
            }
        }
    };
    engine::io::spawn_thread("signals", body)
        .map_err(|error| Error::refused(format!("cannot start a thread: {error}; raise `ulimit -u`")))?;
    Ok(shutdown)
}
