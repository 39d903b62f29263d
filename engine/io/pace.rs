//! The pace of group commits.
//!
//! A commit that starts as soon as the last one ends finds few writers: the others are still on their way back with
//! their next record. Where writers are many, a short wait makes batches several times as large, and each costs one
//! write, one sync and one round of wake-ups. A lone writer never waits, nor does the first of many after a pause.
//!
//! A writer counts from the moment that its record is certain to come (its body is here) until it has its answer, and is
//! soon back with the next. Requests that only read, or whose bodies are still on their way, don't count: their record
//! may never come.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{Event, Instant};

/// Batches start at most so far apart while something waits.
const LONGEST: Duration = Duration::from_millis(6);

/// The writers of one log, on whichever core they are.
#[derive(Clone, Debug, Default)]
pub struct Writers(Arc<AtomicUsize>);

/// A writer whose record comes to the log, or who waits for its answer; it leaves on drop.
#[derive(Debug)]
pub struct Writer(Arc<AtomicUsize>);

impl Writers {
    /// Counts a writer in.
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
    /// Records that are waited for; 0 while nobody waits.
    wanted: Cell<usize>,
    enough: Event,
}

impl Pacer {
    /// The pace of a log with these writers, on so many cores: it waits for one core's share of them, since the cores
    /// don't keep step.
    pub fn new(writers: Writers, cores: usize) -> Pacer {
        Pacer { writers, cores, last: Cell::default(), wanted: Cell::default(), enough: Event::new() }
    }

    /// Waits until three quarters of a core's writers, `queued` records being here already, have come to the log, but
    /// not longer than until the last batch's start lies 6 ms back. Call it when something is there to be written.
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

    /// Notes that `queued` records are in the queue now.
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
    use crate::io::{block_on, underway};

    /// Every request under way was waited for: beside sixteen downloads whose clients read nothing, a lone small PUT
    /// took 6 ms.
    #[test]
    fn a_batch_waits_for_other_writers_and_not_for_requests_that_write_nothing() {
        block_on(async {
            let writers = Writers::default();
            let pacer = Pacer::new(writers.clone(), 1);
            let waits = || pin!(pacer.wait(1)).poll(&mut Context::from_waker(Waker::noop())) == Poll::Pending;
            pacer.started();
            let downloads: Vec<_> = (0..16).map(|_| underway()).collect();
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
