//! Requests under way, and how a busy core waits.
//!
//! A core that begins a round for every packet, message and completed write spends more on rounds than on requests.
//! So while many requests are under way, a core with nothing to do waits a moment for several events at once. With few
//! requests it takes the first, so a lone client sees no delay.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// Requests under way on a core from which on it waits for several events at once.
const MANY: usize = 6;
/// How long it waits for them, before the first will do.
const PATIENCE: Duration = Duration::from_micros(100);

thread_local! {
    static REQUESTS: Rc<Cell<usize>> = Rc::default();
}

/// A request under way on this core; it ends on drop.
pub struct Underway(Rc<Cell<usize>>);

/// Notes that a request begins.
pub fn underway() -> Underway {
    let requests = REQUESTS.with(Rc::clone);
    requests.set(requests.get() + 1);
    Underway(requests)
}

/// Requests under way on this core.
pub fn requests_underway() -> usize {
    REQUESTS.with(|requests| requests.get())
}

/// For how many events at once to wait, and how long.
pub(super) fn patience() -> Option<(usize, Duration)> {
    let requests = requests_underway();
    (requests >= MANY).then_some((requests, PATIENCE))
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
