//! Requests in flight on this core.

use std::cell::Cell;
use std::rc::Rc;

thread_local! {
    static REQUESTS: Rc<Cell<usize>> = Rc::default();
}

/// A request in flight on this core. It ends on drop.
pub struct RequestInFlight(Rc<Cell<usize>>);

/// Counts a request that begins.
pub fn begin_request() -> RequestInFlight {
    let requests = REQUESTS.with(Rc::clone);
    requests.set(requests.get() + 1);
    RequestInFlight(requests)
}

/// Number of requests in flight on this core.
pub fn requests_in_flight() -> usize {
    REQUESTS.with(|requests| requests.get())
}

impl Drop for RequestInFlight {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
