//! SIGTERM and SIGINT: the first asks the node to drain, the second ends the process at once.

use crate::error::{Error, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Told once when the node shall drain. Clones share the one message.
pub type Shutdown = flume::Receiver<()>;

/// Starts watching. The thread lives as long as the process.
pub fn watch() -> Result<Shutdown> {
    let mut signals = Signals::new([SIGTERM, SIGINT])
        .map_err(|error| Error::refused(format!("cannot watch for signals: {error}")))?;
    let (drain, shutdown) = flume::bounded(1);
    let body = move || {
        let mut draining = false;
        for signal in signals.forever() {
            if draining {
                // As a shell reports a process that a signal ended.
                std::process::exit(128 + signal);
            }
            draining = true;
            let _ = drain.try_send(());
        }
    };
    engine::io::spawn_thread("signals", body)
        .map_err(|error| Error::refused(format!("cannot start a thread: {error}; raise `ulimit -u`")))?;
    Ok(shutdown)
}
