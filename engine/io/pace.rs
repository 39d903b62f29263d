//! The pace of group commits.
//!
//! A commit that starts as soon as the last one ends finds few writers: the others are still on their way back with
//! their next request. Where requests are many, a short wait makes batches several times as large, and each costs
//! one write, one sync and one round of wake-ups. A lone writer never waits, nor does the first of many after a
//! pause.

use std::cell::Cell;
use std::time::Duration;

use super::{Event, Instant};

/// Batches start at most so far apart while something waits.
const LONGEST: Duration = Duration::from_millis(6);

/// When the next batch of one log may start.
#[derive(Default)]
pub struct Pacer {
    last: Cell<Option<Instant>>,
    /// Records that are waited for; 0 while nobody waits.
    wanted: Cell<usize>,
    enough: Event,
}

impl Pacer {
    /// Waits until three quarters of the requests under way on this core, `queued` records being here already, have come to
    /// the log, but not longer than until the last batch's start lies 6 ms back. Call it when something is
    /// there to be written.
    pub async fn wait(&self, queued: usize) {
        let wanted = super::requests_underway() * 3 / 4;
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
