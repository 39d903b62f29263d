//! Requests under way on this core.

use std::cell::Cell;
use std::rc::Rc;

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

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
