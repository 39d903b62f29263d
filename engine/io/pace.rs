//! The pace of group commits.
//!
//! A commit that starts as soon as the last one ends finds few writers: the others are still on their way back with
//! their next request. Where writers are many, a short wait makes batches several times as large, and each costs
//! one write, one sync and one round of wake-ups. A lone writer never waits.
//!
//! With N writers that pass two logs over three disks' worth of syncs of S each, batches that start T apart give
//! N·T / 3(T + 2S) commits a sync: 64 writers reach 9 at T = 1.5 S, and wait half of T longer.

use std::cell::Cell;
use std::time::Duration;

use super::Instant;

/// Batches smaller than this were not made by many writers.
const MANY: usize = 2;
/// Batches of many writers start at least so far apart.
const LEAST: Duration = Duration::from_micros(750);
/// And not further than this, however slow the disk.
const MOST: Duration = Duration::from_millis(5);

/// When the next batch of one log may start.
#[derive(Default)]
pub struct Pacer {
    next: Cell<Option<Instant>>,
}

impl Pacer {
    /// Waits until the next batch may start. Call it when something is there to be written.
    pub async fn wait(&self) {
        if let Some(next) = self.next.take() {
            let pause = next - super::now();
            if !pause.is_zero() {
                super::sleep(pause).await;
            }
        }
    }

    /// Notes that a batch of `records` started at `started` and is durable now.
    pub fn done(&self, records: usize, started: Instant) {
        if records < MANY {
            return;
        }
        let took = started.elapsed();
        self.next.set(Some(started + (took + took / 2).clamp(LEAST, MOST)));
    }
}
