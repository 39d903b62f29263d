//! Waiting for a time.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::executor;
use crate::io::Instant;
use crate::io::host::now;

/// A future that is ready when its time has come.
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
            let number = *self.number.get_or_insert_with(|| timers.number());
            timers.insert(self.at, number, cx.waker().clone());
        });
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            // The waker may be its task's last one: drop it once the timers are no longer borrowed.
            let waker = executor::try_with(|core| core.timers.borrow_mut().remove(self.at, number));
            drop(waker);
        }
    }
}
