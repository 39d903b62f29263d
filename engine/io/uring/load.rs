//! How a busy core waits.
//!
//! A core that begins a round for every packet, message and completed write spends more on rounds than on requests.
//! So while many requests are under way, a core with nothing to do waits a moment for several events at once. With few
//! requests it takes the first, so a lone client sees no delay.

use std::time::Duration;

use crate::io::host::requests_underway;

/// A core with at least this many requests under way waits for several events at once.
const MANY: usize = 6;
/// How long it waits for them, before the first will do.
const PATIENCE: Duration = Duration::from_micros(100);

/// For how many events at once to wait, and how long.
pub fn patience() -> Option<(usize, Duration)> {
    let requests = requests_underway();
    (requests >= MANY).then_some((requests, PATIENCE))
}
