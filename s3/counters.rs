//! The request counters of one core: plain cells, which only that core reads.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use hdrhistogram::Histogram;

pub use crate::operation::Class;
use crate::service::Finished;

/// The longest latency that the histograms distinguish, µs.
const LATENCY_MAX_US: u64 = 600_000_000;

/// The counters of a core.
pub struct Counters {
    /// Open connections.
    pub connections: Cell<usize>,
    /// Connections closed at once because the core had too many.
    pub connections_refused: Cell<u64>,
    /// Bytes received and sent on S3 connections.
    pub bytes_in: Cell<u64>,
    /// See `bytes_in`.
    pub bytes_out: Cell<u64>,
    /// Requests by operation and HTTP status.
    pub requests: RefCell<BTreeMap<(&'static str, u16), u64>>,
    /// Latencies in µs, indexed by [`Class`].
    pub latency_us: RefCell<[Histogram<u64>; 5]>,
}

impl Default for Counters {
    fn default() -> Counters {
        let histogram = || {
            Histogram::new_with_bounds(1, LATENCY_MAX_US, 2).unwrap_or_else(|_| unreachable!("valid bounds"))
        };
        Counters {
            connections: Cell::new(0),
            connections_refused: Cell::new(0),
            bytes_in: Cell::new(0),
            bytes_out: Cell::new(0),
            requests: RefCell::default(),
            latency_us: RefCell::new([histogram(), histogram(), histogram(), histogram(), histogram()]),
        }
    }
}

impl Counters {
    pub(crate) fn count(&self, record: &Finished<'_>) {
        let operation = record.operation.map_or("Unknown", |operation| operation.name());
        *self.requests.borrow_mut().entry((operation, record.status)).or_default() += 1;
        self.bytes_in.set(self.bytes_in.get() + record.bytes_in);
        self.bytes_out.set(self.bytes_out.get() + record.bytes_out);
        if record.head.is_some() {
            let micros = u64::try_from(record.duration.as_micros()).unwrap_or(LATENCY_MAX_US);
            let class = record.operation.map_or(Class::Other, |operation| operation.row().class) as usize;
            self.latency_us.borrow_mut()[class].saturating_record(micros);
        }
    }
}
