//! One plain thread that checks whether each core still begins rounds, and ends the process with a report when one has
//! been stuck for too long.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle, park_timeout};
use std::time::{Duration, Instant};

/// If a core is awake and begins no round for this long, the process ends.
const STUCK_AFTER: Duration = Duration::from_secs(30);

/// How the watchdog sees that a core is alive.
pub trait Pulse: Send + Sync + 'static {
    /// Time between two checks of the cores.
    const INTERVAL: Duration;

    /// Number of rounds begun, and whether the core is asleep.
    fn pulse(&self) -> (u64, bool);
}

/// The watching thread. It stops when this is dropped.
pub struct Watchdog {
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Watchdog {
    /// Starts watching these cores.
    pub fn start<P: Pulse>(cores: Vec<Arc<P>>) -> io::Result<Watchdog> {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let thread = Builder::new().name("watchdog".to_owned()).spawn(move || watch(&cores, &seen))?;
        Ok(Watchdog { thread: Some(thread), stop })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

fn watch<P: Pulse>(cores: &[Arc<P>], stop: &AtomicBool) {
    let mut seen: Vec<(u64, Instant)> = cores.iter().map(|core| (core.pulse().0, Instant::now())).collect();
    while !stop.load(Ordering::Acquire) {
        park_timeout(P::INTERVAL);
        for (number, (core, seen)) in cores.iter().zip(&mut seen).enumerate() {
            let (rounds, asleep) = core.pulse();
            if asleep || rounds != seen.0 {
                *seen = (rounds, Instant::now());
            } else if seen.1.elapsed() > STUCK_AFTER {
                report_and_abort(number);
            }
        }
    }
}

#[allow(clippy::print_stderr)]
fn report_and_abort(core: usize) -> ! {
    eprintln!(
        "hamster: core {core} has been stuck in one task for {STUCK_AFTER:?}; \
         the process ends so that it can be restarted"
    );
    std::process::abort();
}
