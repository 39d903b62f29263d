//! openraft's runtime over [`engine::io`]: tasks of this core, its clock, its randomness.
//!
//! Promises: everything that openraft spawns runs on the core that hosts the group, and gets time, tasks and
//! randomness only through the seam. The channels are tokio's, which do not need tokio's runtime, except for the
//! one whose order is not repeatable.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use engine::io;
use openraft_rt::{AsyncRuntime, OptionalSend};

mod channels;
mod watch;

/// The runtime that the Raft group is driven through.
#[derive(Debug)]
pub struct Runtime(());

/// A task ended without a result.
#[derive(Debug)]
pub struct JoinError;

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("task ended without a result")
    }
}

/// A handle to a task's result.
pub struct JoinHandle<T>(io::JoinHandle<T>);

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|result| result.ok_or(JoinError))
    }
}

/// A point in the seam's monotonic time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(io::Instant);

impl openraft_rt::Instant for Instant {
    fn now() -> Self {
        Instant(io::now())
    }
}

impl std::ops::Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, duration: Duration) -> Instant {
        Instant(self.0 + duration)
    }
}

impl std::ops::AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        self.0 += duration;
    }
}

impl std::ops::Sub<Duration> for Instant {
    type Output = Instant;
    fn sub(self, duration: Duration) -> Instant {
        Instant(self.0 - duration)
    }
}

impl std::ops::SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, duration: Duration) {
        self.0 -= duration;
    }
}

impl std::ops::Sub<Instant> for Instant {
    type Output = Duration;
    fn sub(self, earlier: Instant) -> Duration {
        self.0 - earlier.0
    }
}

/// A future with a deadline. Boxed, so that it can be polled without unsafe projection.
pub struct Timeout<F> {
    future: Pin<Box<F>>,
    sleep: io::Sleep,
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, io::Elapsed>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(value) = self.future.as_mut().poll(cx) {
            return Poll::Ready(Ok(value));
        }
        Pin::new(&mut self.sleep).poll(cx).map(|()| Err(io::Elapsed))
    }
}

/// The seam's randomness as a generator.
#[derive(Debug)]
pub struct Random(());

impl rand::TryRng for Random {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        io::fill_random(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(io::random_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        io::fill_random(bytes);
        Ok(())
    }
}

fn until(deadline: Instant) -> Duration {
    deadline - Instant(io::now())
}

impl AsyncRuntime for Runtime {
    type JoinError = JoinError;
    type JoinHandle<T: OptionalSend + 'static> = JoinHandle<T>;
    type Sleep = io::Sleep;
    type Instant = Instant;
    type TimeoutError = io::Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = Timeout<T>;
    type ThreadLocalRng = Random;
    type Mpsc = channels::Mailboxes;
    type Watch = channels::Watches;
    type Oneshot = channels::Oneshots;
    type Mutex<T: OptionalSend + 'static> = channels::Lock<T>;

    fn spawn<T>(future: T) -> JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        JoinHandle(io::spawn(future))
    }

    fn sleep(duration: Duration) -> io::Sleep {
        io::sleep(duration)
    }

    fn sleep_until(deadline: Instant) -> io::Sleep {
        io::sleep(until(deadline))
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Timeout<F> {
        Timeout { future: Box::pin(future), sleep: io::sleep(duration) }
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: Instant, future: F) -> Timeout<F> {
        Self::timeout(until(deadline), future)
    }

    fn is_panic(_: &JoinError) -> bool {
        false
    }

    fn thread_rng() -> Random {
        Random(())
    }

    fn new(_threads: usize) -> Self {
        Runtime(())
    }

    /// Runs on an executor of its own. The node's group runs on its core's executor and never calls this.
    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        match io::block_on(future) {
            Ok(value) => value,
            Err(error) => panic!("no executor: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_runtime_passes_openrafts_suite() {
        openraft_rt::testing::Suite::<super::Runtime>::test_all();
    }
}
