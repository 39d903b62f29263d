//! What a node counts: plain snapshots that each core publishes, gathered on one board.
//!
//! A core counts in its own cells and publishes a [`CoreStats`] about once a second. The admin port and the cluster
//! port read the last snapshot published and never touch a core. All counts start with the process. Rates and
//! percentiles of `status` cover a window of the last `WINDOW_MARKS` marks.
//!
//! Metrics, dashboard, alert rules and `docs/MONITORING.md` must agree: `monitoring_tests.rs` compares them.

mod families;
#[cfg(test)]
mod monitoring_tests;
mod prometheus;

pub use prometheus::render;

use engine::budget::Shortages;
use engine::io::Instant;
use hdrhistogram::Histogram;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A snapshot is kept as the start of a window this often.
const MARK_INTERVAL: Duration = Duration::from_secs(5);
/// The number of marks kept: a window is 5 to 10 seconds long.
const WINDOW_MARKS: usize = 2;

/// What one core counted since the process started.
#[derive(Clone, Debug, Default)]
pub struct CoreStats {
    /// When the snapshot was taken.
    pub at: Instant,
    /// Finished requests by S3 operation and HTTP status.
    pub requests: Vec<RequestCount>,
    /// Request latency in µs by class of operation; the classes are few (`get`, `put`, `list`, …).
    pub latency: Vec<Latency>,
    /// Bytes of request bodies.
    pub bytes_in: u64,
    /// Bytes of responses, heads included.
    pub bytes_out: u64,
    /// Connections open now.
    pub connections_open: u64,
    /// Connections refused at the cap.
    pub connections_refused: u64,
    /// How often memory or disk space for requests was short.
    pub shortages: Shortages,
    /// Bytes of heads, and of what came behind a request, that are accounted for.
    pub input_used_bytes: u64,
    /// Bytes of disk space that are reserved for bodies in progress and not yet written.
    pub reserved_bytes: u64,
    /// The length of each queue now (`metadata`, `commit`, …).
    pub queues: Vec<(&'static str, u64)>,
    /// Records written by group commits.
    pub commit_records: u64,
    /// Records in each group commit.
    pub commit_batch_records: Option<Histogram<u64>>,
    /// Write and data sync of each group commit, µs.
    pub commit_us: Option<Histogram<u64>>,
    /// Group commits whose write or data sync failed.
    pub failed_commits: u64,
    /// Segments by class (`log`, `extent`, `free`).
    pub segments: Vec<(&'static str, u64)>,
    /// Bytes of records that are still needed.
    pub live_bytes: u64,
    /// Bytes of log records that wait to be reclaimed.
    pub dead_bytes: u64,
    /// Bytes allocated in extent segments and free for new extents.
    pub extent_free_bytes: u64,
    /// Log segments rewritten to reclaim their dead bytes.
    pub compactions: u64,
    /// Entries of the index.
    pub index_entries: u64,
    /// Memory of the index, bytes.
    pub index_bytes: u64,
    /// Bytes of the buffer pool in use.
    pub buffers_used_bytes: u64,
    /// Bytes the buffer pool may reach.
    pub buffers_limit_bytes: u64,
    /// Time in which the core ran tasks.
    pub busy: Duration,
    /// Time since the core began.
    pub total: Duration,
    /// Reads that met a block whose checksum does not match.
    pub corrupt_reads: u64,
    /// Damaged places found in segments, at start and since.
    pub damaged: u64,
    /// Rows found in the row cache.
    pub cache_hits: u64,
    /// Rows that the metadata store was asked for.
    pub cache_misses: u64,
}

/// Finished requests of one operation with one status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestCount {
    /// The S3 operation, as AWS names it.
    pub operation: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// How many.
    pub count: u64,
}

/// Latencies of one class of operations.
#[derive(Clone, Debug)]
pub struct Latency {
    /// The class.
    pub class: &'static str,
    /// Microseconds.
    pub histogram: Histogram<u64>,
}

/// A histogram for tests: 1 to 10⁹, two digits.
#[cfg(test)]
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(1_000_000_000, 2).expect("the bounds are in order")
}

/// What the process takes of its machine; `None` where that can't be measured.
#[derive(Clone, Copy, Debug, Default)]
pub struct System {
    /// Bytes left on the file system of the data directory.
    pub disk_available_bytes: Option<u64>,
    /// Resident memory of the process.
    pub memory_bytes: Option<u64>,
}

/// Where cores publish and others read.
pub struct Board {
    cores: Vec<Mutex<Window>>,
    raft: Mutex<raft::node::Stats>,
    system: Mutex<System>,
    waits_for: Mutex<Vec<String>>,
    started: Instant,
    access_log_dropped: std::sync::atomic::AtomicU64,
}

#[derive(Default)]
struct Window {
    latest: Option<Arc<CoreStats>>,
    marks: VecDeque<Arc<CoreStats>>,
}

/// A core's latest snapshot and the one that its window starts with (the same one at first).
#[derive(Clone, Debug)]
pub struct Span {
    /// The start of the window; `None` where the window starts with the process.
    pub earlier: Option<Arc<CoreStats>>,
    /// The end of the window.
    pub latest: Arc<CoreStats>,
}

impl Board {
    /// A board for `cores` cores. The node is not ready yet.
    pub fn new(cores: u16) -> Arc<Self> {
        Arc::new(Self {
            cores: (0..cores).map(|_| Mutex::default()).collect(),
            raft: Mutex::default(),
            system: Mutex::default(),
            waits_for: Mutex::new(vec!["start".to_owned()]),
            started: engine::io::now(),
            access_log_dropped: std::sync::atomic::AtomicU64::new(0),
        })
    }

    /// Publishes a core's snapshot.
    pub fn publish(&self, core: u16, stats: CoreStats) {
        let stats = Arc::new(stats);
        let mut window = lock(&self.cores[usize::from(core)]);
        if window.marks.back().is_none_or(|mark| stats.at - mark.at >= MARK_INTERVAL) {
            window.marks.push_back(Arc::clone(&stats));
            if window.marks.len() > WINDOW_MARKS {
                window.marks.pop_front();
            }
        }
        window.latest = Some(stats);
    }

    /// Publishes the Raft group's state.
    pub fn publish_raft(&self, stats: raft::node::Stats) {
        *lock(&self.raft) = stats;
    }

    /// Publishes what the process takes of its machine.
    pub fn publish_system(&self, system: System) {
        *lock(&self.system) = system;
    }

    /// Sets what the node waits for before it is ready; it is ready once the list is empty.
    pub fn set_waits_for(&self, what: Vec<String>) {
        *lock(&self.waits_for) = what;
    }

    /// What the node waits for before it is ready.
    pub fn waits_for(&self) -> Vec<String> {
        lock(&self.waits_for).clone()
    }

    /// The number of cores.
    pub fn cores(&self) -> u16 {
        self.cores.len() as u16
    }

    /// A core's window; `None` before its first snapshot.
    pub fn span(&self, core: u16) -> Option<Span> {
        let window = lock(&self.cores[usize::from(core)]);
        let latest = window.latest.clone()?;
        let earlier = window.marks.front().filter(|mark| mark.at < latest.at).cloned();
        Some(Span { earlier, latest })
    }

    /// The Raft group's state.
    pub fn raft(&self) -> raft::node::Stats {
        lock(&self.raft).clone()
    }

    /// What the process takes of its machine.
    pub fn system(&self) -> System {
        *lock(&self.system)
    }

    /// Time since the process started.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Counts an access log line that was dropped because the file could not keep up.
    pub fn count_access_log_dropped(&self) {
        self.access_log_dropped.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    /// Access log lines dropped.
    pub fn access_log_dropped(&self) -> u64 {
        self.access_log_dropped.load(std::sync::atomic::Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> CoreStats {
        CoreStats { at: Instant(seconds * 1_000_000_000), bytes_in: seconds, ..CoreStats::default() }
    }

    #[test]
    fn a_window_is_five_to_ten_seconds_long() {
        let board = Board::new(1);
        assert!(board.span(0).is_none());
        for second in 100..130 {
            board.publish(0, at(second));
            let span = board.span(0).unwrap();
            assert_eq!(span.latest.bytes_in, second);
            if second > 105 {
                let length = second - span.earlier.unwrap().bytes_in;
                assert!((5..=10).contains(&length), "{length} s at {second}");
            }
        }
    }

    #[test]
    fn a_board_is_not_ready_until_it_waits_for_nothing() {
        let board = Board::new(1);
        assert_eq!(board.waits_for(), ["start"]);
        board.set_waits_for(vec![]);
        assert!(board.waits_for().is_empty());
    }
}
