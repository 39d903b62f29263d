//! The assembly of a node: replaced by the real one.

use crate::error::Result;
use crate::startup::Startup;

/// Runs a node until it is told to drain.
pub fn run(startup: Startup) -> Result<()> {
    (startup.ready)(&startup.addresses);
    let _ = startup.shutdown.recv();
    Ok(())
}
