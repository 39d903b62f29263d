//! Virtual time and seeded randomness.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::world::{Event, current, try_with, with};
use crate::io::Instant;

/// Monotonic time.
pub fn now() -> Instant {
    Instant(try_with(|world| world.now).unwrap_or_default())
}

/// Milliseconds since 1970 by this machine's wall clock.
pub fn unix_ms() -> u64 {
    with(|world| world.unix_ms(current().0))
}

/// CPU time of this core, which is not simulated, and time since the world began.
pub fn busy_share() -> (Duration, Duration) {
    (Duration::ZERO, now() - Instant(0))
}

/// Whether this compiled-in bug is planted in this world.
pub fn is_planted(name: &str) -> bool {
    try_with(|world| world.planted == Some(name)).unwrap_or_default()
}

/// Fills `bytes` from the world's randomness.
pub fn fill_random(bytes: &mut [u8]) {
    with(|world| world.random.fill(bytes));
}

/// A future that is ready when its time has come.
pub struct Sleep {
    at: Instant,
    event: Option<(u64, u64)>,
}

/// Waits for `duration`.
pub fn sleep(duration: Duration) -> Sleep {
    Sleep { at: now() + duration, event: None }
}

impl Future for Sleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        with(|world| {
            if let Some(event) = self.event.take() {
                world.events.remove(&event);
            }
            if world.now >= self.at.0 {
                return Poll::Ready(());
            }
            self.event = Some(world.at(self.at.0, Event::Wake(cx.waker().clone())));
            Poll::Pending
        })
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(event) = self.event {
            // If the world is in use, the event stays: it fires later and wakes nobody.
            try_with(|world| world.events.remove(&event));
        }
    }
}
