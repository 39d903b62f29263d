//! A gate between cores and threads that opens once.

use std::convert::Infallible;

/// Opens its latch by being dropped.
pub struct Opener(#[allow(dead_code)] flume::Sender<Infallible>);

/// Waits for its opener, on any core; cheap to clone.
#[derive(Clone)]
pub struct Latch(flume::Receiver<Infallible>);

/// A closed latch and what opens it.
pub fn latch() -> (Opener, Latch) {
    let (sender, receiver) = flume::bounded(1);
    (Opener(sender), Latch(receiver))
}

impl Latch {
    /// Waits until it is open.
    pub async fn wait(&self) {
        // Nothing is ever sent: the channel closes, which all of its receivers see.
        let _ = self.0.recv_async().await;
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.0.is_disconnected()
    }
}
