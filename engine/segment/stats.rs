//! Counters of one core's store.

use hdrhistogram::Histogram;

/// Number of buckets of the batch size histogram: 1, 2, 3–4, 5–8, ... records; the last one is open.
pub const BATCH_BUCKETS: usize = 12;

/// A snapshot of one core's store.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// Group commits that became durable.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes written by them.
    pub bytes: u64,
    /// Group commits by number of records: 1, 2, 3–4, 5–8, ... .
    pub batch_sizes: [u64; BATCH_BUCKETS],
    /// Group commits that failed.
    pub failed_batches: u64,
    /// Data syncs of extent segments.
    pub extent_syncs: u64,
    /// Duration of the write and data sync of each group commit, microseconds.
    pub commit_us: Option<Histogram<u64>>,
    /// Log segments in use.
    pub log_segments: usize,
    /// Log segments ready for reuse.
    pub free_log_segments: usize,
    /// Bytes of batches in log segments.
    pub log_used_bytes: u64,
    /// The part of these bytes that is still needed.
    pub log_live_bytes: u64,
    /// Extent segments.
    pub extent_segments: usize,
    /// Bytes of extents in use or reserved.
    pub extent_live_bytes: u64,
    /// Bytes free inside extent segments.
    pub extent_free_bytes: u64,
    /// Index entries.
    pub index_entries: usize,
    /// Memory of the index, bytes.
    pub index_bytes: usize,
    /// Log segments rewritten since the start.
    pub compactions: u64,
    /// Damaged places found at start and since.
    pub damaged: u64,
    /// Free bytes of the file system at the last reading.
    pub free_bytes: u64,
}

/// The store's own counters.
pub(super) struct Counters {
    pub(super) batches: u64,
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) batch_sizes: [u64; BATCH_BUCKETS],
    pub(super) failed_batches: u64,
    pub(super) extent_syncs: u64,
    pub(super) compactions: u64,
    pub(super) damaged: u64,
    pub(super) sync_us: Option<Histogram<u64>>,
}

impl Counters {
    pub(super) fn new() -> Counters {
        Counters {
            batches: 0,
            records: 0,
            bytes: 0,
            batch_sizes: [0; BATCH_BUCKETS],
            failed_batches: 0,
            extent_syncs: 0,
            compactions: 0,
            damaged: 0,
            sync_us: Histogram::new_with_bounds(1, 60_000_000, 2).ok(),
        }
    }

    pub(super) fn batch(&mut self, records: usize, bytes: u64, took_us: u64) {
        self.batches += 1;
        self.records += records as u64;
        self.bytes += bytes;
        let bucket = records.max(1).next_power_of_two().ilog2() as usize;
        self.batch_sizes[bucket.min(BATCH_BUCKETS - 1)] += 1;
        if let Some(histogram) = &mut self.sync_us {
            histogram.saturating_record(took_us.max(1));
        }
    }
}
