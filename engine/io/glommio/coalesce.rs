//! Coalescing of events under load.
//!
//! Each round of the executor (arm its timer, submit three rings, look for completions, park, wake) costs 10–20 µs
//! of CPU. A busy core that starts a round for every packet, mailbox message and completed write spends more on
//! rounds than on requests. So while many requests are under way, a core naps now and then before it begins another:
//! what arrives meanwhile is handled in one round. With few requests it never naps, so a lone client sees no delay.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::io::Instant;

/// Requests under way on a core from which on it coalesces.
const MANY: usize = 6;
/// How long a core naps.
const NAP: Duration = Duration::from_micros(100);
/// Between the end of a nap and the next.
const AWAKE: Duration = Duration::from_micros(100);

thread_local! {
    static LOAD: Rc<Load> = Rc::default();
}

#[derive(Default)]
struct Load {
    requests: Cell<usize>,
    awake_since: Cell<Instant>,
    precise: Cell<bool>,
}

/// A request under way on this core; it ends on drop.
pub struct Underway(Rc<Load>);

/// Notes that a request begins. Under load the whole core may nap here.
pub fn underway() -> Underway {
    super::watchdog::activity();
    let load = LOAD.with(Rc::clone);
    let requests = load.requests.get() + 1;
    load.requests.set(requests);
    if requests >= MANY && super::now() - load.awake_since.get() > AWAKE {
        nap(&load);
    }
    Underway(load)
}

fn nap(load: &Load) {
    if !load.precise.replace(true) {
        precise_sleep();
    }
    std::thread::sleep(NAP);
    load.awake_since.set(super::now());
}
/// Requests under way on this core.
pub fn requests_underway() -> usize {
    LOAD.with(|load| load.requests.get())
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.requests.set(self.0.requests.get() - 1);
    }
}

/// Lets this thread's sleeps end on time, where the kernel would add 50 µs.
fn precise_sleep() {
    // SAFETY: prctl with PR_SET_TIMERSLACK takes plain numbers and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_000, 0, 0, 0) };
}
