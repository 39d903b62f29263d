//! SIGTERM and SIGINT: the first asks the node to drain, the second ends the process at once.

use crate::error::{Error, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::convert::Infallible;

/// Tells every clone of it, on any core or thread, that the node shall drain.
#[derive(Clone)]
pub struct Shutdown(flume::Receiver<Infallible>);

impl Shutdown {
    /// Waits until the node shall drain.
    pub async fn wait(&self) {
        // Nothing is ever sent: the channel closes, which all of its receivers see.
        let _ = self.0.recv_async().await;
    }

    /// Whether the node shall drain.
    pub fn is_due(&self) -> bool {
        self.0.is_disconnected()
    }
}

/// Starts watching. The thread lives as long as the process.
pub fn watch() -> Result<Shutdown> {
    let mut signals = Signals::new([SIGTERM, SIGINT])
        .map_err(|error| Error::refused(format!("cannot watch for signals: {error}")))?;
    let (sender, shutdown) = channel();
    let body = move || {
        let mut open = Some(sender);
        for signal in signals.forever() {
            if open.take().is_none() {
                // As a shell reports a process that a signal ended.
                std::process::exit(128 + signal);
            }
        }
    };
    engine::io::spawn_thread("signals", body)
        .map_err(|error| Error::refused(format!("cannot start a thread: {error}; raise `ulimit -u`")))?;
    Ok(shutdown)
}

fn channel() -> (flume::Sender<Infallible>, Shutdown) {
    let (sender, receiver) = flume::bounded(1);
    (sender, Shutdown(receiver))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clone_is_told_also_one_that_comes_late() {
        let (sender, shutdown) = channel();
        let other = shutdown.clone();
        assert!(!shutdown.is_due());
        drop(sender);
        let dir = tempfile::tempdir().unwrap();
        engine::io::block_on(dir.path(), async {
            shutdown.wait().await;
            other.wait().await;
            other.clone().wait().await;
        })
        .unwrap();
        assert!(shutdown.is_due() && other.is_due());
    }
}
