//! One plain thread that sees each core's heartbeat, wakes a core that may have parked with work, and aborts
//! the process with a report when a core stays stuck.
//!
//! A core that has done nothing for a second is looked at rarely, so that an idle node costs nothing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// Between looks at an active core.
const ACTIVE_INTERVAL: Duration = Duration::from_millis(5);
/// Between looks at an idle one.
const IDLE_INTERVAL: Duration = Duration::from_millis(250);
/// A core counts as active for so long after its last activity.
const ACTIVE_FOR: Duration = Duration::from_secs(1);
/// A core that misses its heartbeat for so long ends the process.
const STUCK_AFTER: Duration = Duration::from_secs(30);

#[derive(Default)]
pub struct Heart {
    beats: AtomicU64,
    activity: AtomicU64,
    waker: Mutex<Option<Waker>>,
    ended: AtomicBool,
}

thread_local! {
    static MY_HEART: std::cell::RefCell<Option<Arc<Heart>>> = const { std::cell::RefCell::new(None) };
}

/// The thread and what it watches.
pub struct Watchdog {
    hearts: Vec<Arc<Heart>>,
    stop: Arc<AtomicBool>,
}

impl Watchdog {
    pub fn new(cores: usize) -> Watchdog {
        let hearts: Vec<Arc<Heart>> = (0..cores).map(|_| Arc::default()).collect();
        Watchdog { hearts, stop: Arc::default() }
    }

    pub fn heart(&self, core: usize) -> Arc<Heart> {
        self.hearts[core].clone()
    }

    pub fn start(&mut self) {
        let (hearts, stop) = (self.hearts.clone(), self.stop.clone());
        let watch = move || watch(&hearts, &stop);
        // Without the watchdog a core could hang for ever: better not to start at all.
        if std::thread::Builder::new().name("watchdog".to_owned()).spawn(watch).is_err() {
            std::process::abort();
        }
    }

    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Seen {
    beats: u64,
    beat_at: Instant,
    activity: u64,
    active_at: Instant,
    woken_at: Instant,
}

fn watch(hearts: &[Arc<Heart>], stop: &AtomicBool) {
    let start = Instant::now();
    let mut seen: Vec<Seen> = hearts
        .iter()
        .map(|_| Seen { beats: 0, beat_at: start, activity: 0, active_at: start, woken_at: start })
        .collect();
    let mut pause = ACTIVE_INTERVAL;
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(pause);
        let now = Instant::now();
        pause = IDLE_INTERVAL / 10;
        for (core, (heart, seen)) in hearts.iter().zip(&mut seen).enumerate() {
            let activity = heart.activity.load(Ordering::Relaxed);
            if activity != seen.activity {
                (seen.activity, seen.active_at) = (activity, now);
            }
            let active = now - seen.active_at < ACTIVE_FOR;
            if active {
                pause = ACTIVE_INTERVAL;
            }
            let beats = heart.beats.load(Ordering::Relaxed);
            if beats != seen.beats || heart.ended.load(Ordering::Relaxed) {
                (seen.beats, seen.beat_at) = (beats, now);
            } else if now - seen.beat_at > STUCK_AFTER {
                report_and_abort(core, activity);
            }
            if now - seen.woken_at >= if active { ACTIVE_INTERVAL } else { IDLE_INTERVAL } {
                seen.woken_at = now;
                let waker = heart.waker.lock().unwrap_or_else(|e| e.into_inner()).take();
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
        }
    }
}

#[allow(clippy::print_stderr)]
fn report_and_abort(core: usize, activity: u64) -> ! {
    eprintln!(
        "hamster: core {core} has not answered its watchdog for {STUCK_AFTER:?} (activity {activity}); \
         the process ends so that it can be restarted"
    );
    std::process::abort();
}

/// Starts the task of this core that answers the watchdog.
pub fn beat(heart: Arc<Heart>) {
    MY_HEART.with(|mine| *mine.borrow_mut() = Some(heart.clone()));
    let guard = Ended(heart);
    crate::io::spawn(async move {
        let mut armed = false;
        std::future::poll_fn(|cx| {
            let heart = &guard.0;
            if armed {
                heart.beats.fetch_add(1, Ordering::Relaxed);
            }
            armed = true;
            *heart.waker.lock().unwrap_or_else(|e| e.into_inner()) = Some(cx.waker().clone());
            Poll::<()>::Pending
        })
        .await;
    });
}

/// Tells the watchdog that the executor is gone, however it ended.
struct Ended(Arc<Heart>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Relaxed);
    }
}

/// Marks this core as busy.
pub fn activity() {
    MY_HEART.with(|mine| {
        if let Some(heart) = mine.borrow().as_ref() {
            heart.activity.fetch_add(1, Ordering::Relaxed);
        }
    });
}
