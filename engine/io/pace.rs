//! The pace of group commits.
//!
//! A commit that starts as soon as the last one ends finds few records: most writers are still on their way back with
//! their next one. When there are many writers, a short wait makes batches several times as large, and each batch costs
//! one write, one sync and one round of wake-ups. A lone writer never waits, nor does the first of many after a pause.
//!
//! A writer counts from the moment when its record is certain to come (its body has arrived) until it has its reply; it
//! soon returns with the next record. Requests that only read, or whose bodies have not arrived, don't count: their
//! record may never come.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{Event, Instant};

/// Longest time between the starts of two batches while records are waiting.
const LONGEST: Duration = Duration::from_millis(6);

/// The writers of one log, on all cores.
#[derive(Clone, Debug, Default)]
pub struct Writers(Arc<AtomicUsize>);

/// A writer whose record is about to be queued or that waits for its reply. It stops counting on drop.
#[derive(Debug)]
pub struct Writer(Arc<AtomicUsize>);

impl Writers {
    /// Counts a new writer.
    pub fn enter(&self) -> Writer {
        self.0.fetch_add(1, Ordering::Relaxed);
        Writer(self.0.clone())
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// When the next batch of one log may start.
pub struct Pacer {
    writers: Writers,
    cores: usize,
    last: Cell<Option<Instant>>,
    /// The number of records that the pacer waits for; 0 while nobody waits.
    wanted: Cell<usize>,
    enough: Event,
}

impl Pacer {
    /// The pacer of a log with these writers, on `cores` cores. It waits for one core's share of them, since the cores
    /// don't keep step.
    pub fn new(writers: Writers, cores: usize) -> Pacer {
        Pacer { writers, cores, last: Cell::default(), wanted: Cell::default(), enough: Event::new() }
    }

    /// Waits until three quarters of a core's writers have queued their records (`queued` are queued already), but no
    /// later than 6 ms after the start of the last batch. Call it when there is something to write.
    pub async fn wait(&self, queued: usize) {
        let wanted = self.writers.count() * 3 / (4 * self.cores);
        let Some(last) = self.last.get() else { return };
        let left = LONGEST.saturating_sub(last.elapsed());
        if queued >= wanted || left.is_zero() {
            return;
        }
        self.wanted.set(wanted);
        let _ = super::timeout(left, self.enough.wait()).await;
        self.wanted.set(0);
    }

    /// Notes that `queued` records are queued now.
    pub fn queued(&self, queued: usize) {
        let wanted = self.wanted.get();
        if wanted > 0 && queued >= wanted {
            self.wanted.set(0);
            self.enough.notify();
        }
    }

    /// Notes that a batch starts now.
    pub fn started(&self) {
        self.last.set(Some(super::now()));
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::io::{begin_request, block_on};

    /// The pacer used to wait for every request in flight: next to sixteen downloads whose clients read nothing, a lone
    /// small PUT took 6 ms.
    #[test]
    fn a_batch_waits_for_other_writers_but_not_for_requests_that_write_nothing() {
        block_on(async {
            let writers = Writers::default();
            let pacer = Pacer::new(writers.clone(), 1);
            let waits = || pin!(pacer.wait(1)).poll(&mut Context::from_waker(Waker::noop())) == Poll::Pending;
            pacer.started();
            let downloads: Vec<_> = (0..16).map(|_| begin_request()).collect();
            let lone = writers.enter();
            assert!(!waits());
            let others: Vec<_> = (0..3).map(|_| writers.enter()).collect();
            assert!(waits());
            drop(others);
            assert!(!waits(), "they have left");
            drop((downloads, lone));
        })
        .expect("executor");
    }
}
