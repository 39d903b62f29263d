//! Time, randomness and plain threads.

use std::future::Future;
use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::io::Instant;

fn epoch() -> std::time::Instant {
    static EPOCH: OnceLock<std::time::Instant> = OnceLock::new();
    *EPOCH.get_or_init(std::time::Instant::now)
}

/// Monotonic time.
pub fn now() -> Instant {
    Instant(u64::try_from(epoch().elapsed().as_nanos()).unwrap_or(u64::MAX))
}

/// Milliseconds since 1970 by the wall clock.
pub fn unix_ms() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// CPU time that this core's thread has used, and time since the process began.
pub fn busy_share() -> (Duration, Duration) {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    let busy = Duration::try_from(spent).unwrap_or_default();
    (busy, epoch().elapsed())
}

/// Fills `bytes` from this thread's cryptographic generator, which the system's generator seeds.
pub fn fill_random(bytes: &mut [u8]) {
    rand::Rng::fill_bytes(&mut rand::rng(), bytes);
}

/// Starts a plain OS thread, for a library that blocks.
pub fn spawn_thread(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body)
}

/// Starts a plain OS thread that runs one future to completion. Wakers of that future may be called from any core.
pub fn spawn_worker<F: Future<Output = ()>>(
    name: &str,
    body: impl FnOnce() -> F + Send + 'static,
) -> io::Result<()> {
    spawn_thread(name, move || futures_lite::future::block_on(body())).map(drop)
}

/// A point where the system may switch to another thread. On a real machine it may do so anywhere; a simulated world
/// has to be given the points.
#[inline]
pub async fn preemption_point() {}

/// Whether a compiled-in bug is planted. Outside the simulator it always is.
pub fn is_planted(_name: &str) -> bool {
    true
}

/// Writes a line for the operator to standard error.
pub fn log_line(line: &str) {
    use std::io::Write;
    // If standard error is closed, nobody is left to read the line.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Ends the process with a line for its operator. What is durable stays; what was not acknowledged is gone.
pub fn end_process(line: &str, code: u8) -> ! {
    log_line(line);
    std::process::exit(i32::from(code))
}
