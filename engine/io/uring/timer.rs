//! Timers of one core, in order of time. The executor waits for the first of them in its call to the kernel.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::executor;
use crate::io::Instant;
use crate::io::host::now;

/// Tasks that wait for a time.
#[derive(Default)]
pub struct Timers {
    waiting: BTreeMap<(Instant, u64), Waker>,
    made: u64,
}

impl Timers {
    /// When the first of them is due.
    pub fn next(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes out those that are due.
    pub fn expire(&mut self, now: Instant, wakers: &mut Vec<Waker>) {
        while let Some(first) = self.waiting.first_entry()
            && first.key().0 <= now
        {
            wakers.push(first.remove());
        }
    }
}

/// A future that is ready once its time has come.
pub struct Sleep {
    at: Instant,
    number: Option<u64>,
}

/// Waits for `duration`.
pub fn sleep(duration: Duration) -> Sleep {
    Sleep { at: now() + duration, number: None }
}

impl Future for Sleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if now() >= self.at {
            return Poll::Ready(());
        }
        executor::with(|core| {
            let mut timers = core.timers.borrow_mut();
            let number = *self.number.get_or_insert_with(|| {
                timers.made += 1;
                timers.made
            });
            timers.waiting.insert((self.at, number), cx.waker().clone());
        });
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            // The waker may be its task's last: it is dropped once the timers are free again.
            let waker =
                executor::try_with(|core| core.timers.borrow_mut().waiting.remove(&(self.at, number)));
            drop(waker);
        }
    }
}
