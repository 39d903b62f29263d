//! The timers of one core, ordered by time. The executor waits for the first of them in its call to the kernel.

use std::collections::BTreeMap;
use std::task::Waker;

use crate::io::Instant;

/// Tasks that wait for a time.
#[derive(Default)]
pub struct Timers {
    waiting: BTreeMap<(Instant, u64), Waker>,
    made: u64,
}

impl Timers {
    /// When the first timer is due.
    pub fn next(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|((at, _), _)| *at)
    }

    /// A number for a task that is about to wait.
    pub fn number(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    /// Wakes a task at a time, from now on through this waker.
    pub fn insert(&mut self, at: Instant, number: u64, waker: Waker) {
        self.waiting.insert((at, number), waker);
    }

    /// Removes a task that no longer waits.
    pub fn remove(&mut self, at: Instant, number: u64) -> Option<Waker> {
        self.waiting.remove(&(at, number))
    }

    /// Takes out the timers that are due.
    pub fn expire(&mut self, now: Instant, wakers: &mut Vec<Waker>) {
        while let Some(first) = self.waiting.first_entry()
            && first.key().0 <= now
        {
            wakers.push(first.remove());
        }
    }
}
