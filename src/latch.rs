//! A gate that opens once, shared by cores and threads.

use std::convert::Infallible;

/// Opens its latch when dropped.
pub struct Opener {
    _sender: flume::Sender<Infallible>,
}

/// Can be waited for on any core; cheap to clone.
#[derive(Clone)]
pub struct Latch(flume::Receiver<Infallible>);

/// Creates a closed latch and its opener.
pub fn latch() -> (Opener, Latch) {
    let (sender, receiver) = flume::bounded(1);
    (Opener { _sender: sender }, Latch(receiver))
}

impl Latch {
    /// Waits until it is open.
    pub async fn wait(&self) {
        // Nothing is ever sent. Closing the channel wakes all receivers.
        let _ = self.0.recv_async().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clone_wakes_even_one_that_waits_late() {
        let (opener, latch) = latch();
        let other = latch.clone();
        engine::io::block_on(async {
            let early = engine::io::timeout(std::time::Duration::from_millis(5), latch.wait()).await;
            assert!(early.is_err());
            drop(opener);
            latch.wait().await;
            other.wait().await;
            other.clone().wait().await;
        })
        .unwrap();
    }
}
