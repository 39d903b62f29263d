//! How a busy core waits.
//!
//! A core that begins a round for every packet, message and completed write spends more time on rounds than on
//! requests. So while many requests are in flight, a core with nothing to do waits a moment for several events at once.
//! With few requests it takes the first event, so a lone client sees no delay.

use std::time::Duration;

use crate::io::host::requests_in_flight;

/// A core with at least this many requests in flight waits for several events at once.
const MANY: usize = 6;
/// How long it waits for them before it settles for one.
const PATIENCE: Duration = Duration::from_micros(100);

/// How many events to wait for at once, and for how long.
pub fn patience() -> Option<(usize, Duration)> {
    let requests = requests_in_flight();
    (requests >= MANY).then_some((requests, PATIENCE))
}
