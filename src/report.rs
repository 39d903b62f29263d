//! Publishes a core's counters: on the board every second, in the access log after every request.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use engine::budget::Class as MemoryClass;
use engine::io::{self, sleep};
use engine::peer::ByteStore;
use engine::segment::Store;
use hdrhistogram::Histogram;
use raft::Metadata;
use s3::counters::Class;
use s3::service::{Finished, Service};

use crate::access_log::{Entry, Logger};
use crate::metrics::{CoreStats, Latency, RequestCount, System};
use crate::node::Shared;

/// The sources of a core's numbers.
pub struct Sources {
    pub service: Option<Rc<Service>>,
    pub bytes: ByteStore,
    pub metadata: Metadata,
    pub store: Store,
    /// The Raft group, on the core that hosts it.
    pub group: Option<raft::Node>,
}

/// Maximum length of `/proc/self/status`.
const STATUS_BYTES_MAX: u64 = 16 << 10;

/// Publishes a core's numbers at every interval, forever. The core that hosts the Raft group also publishes those
/// of the group and of the process.
pub async fn every(interval: Duration, core: usize, shared: Arc<Shared>, sources: Sources) {
    loop {
        shared.plan.board.publish(u16::try_from(core).unwrap_or(u16::MAX), core_stats(&sources));
        if let Some(group) = &sources.group {
            shared.plan.board.publish_raft(group.stats());
            shared.plan.board.publish_system(system(&shared.plan.config.data_dir));
        }
        sleep(interval).await;
    }
}

fn core_stats(sources: &Sources) -> CoreStats {
    let store = sources.store.stats();
    let metadata = sources.metadata.stats();
    let (busy, total) = io::busy_share();
    let mut stats = CoreStats {
        at: io::now(),
        queues: vec![
            ("bytes", sources.bytes.depths().requests as u64),
            ("metadata", metadata.requests_waiting as u64),
            ("commit", metadata.pending as u64),
            ("hash", sources.bytes.hashes().depth() as u64),
            ("reclaim", metadata.reclaim_queue as u64),
        ],
        commit_records: store.records,
        commit_batch_records: batch_records(&store.batch_sizes),
        commit_us: store.commit_us,
        failed_commits: store.failed_batches,
        segments: vec![
            ("log", store.log_segments as u64),
            ("free", store.free_log_segments as u64),
            ("extent", store.extent_segments as u64),
        ],
        live_bytes: store.log_live_bytes + store.extent_live_bytes,
        dead_bytes: store.log_used_bytes.saturating_sub(store.log_live_bytes),
        extent_free_bytes: store.extent_free_bytes,
        compactions: store.compactions,
        index_entries: store.index_entries as u64,
        index_bytes: store.index_bytes as u64,
        buffers_used_bytes: (engine::limits::BODY_BUDGET_BYTES - sources.bytes.budget_free()) as u64,
        buffers_limit_bytes: engine::limits::BODY_BUDGET_BYTES as u64,
        shortages: sources.bytes.budget().shortages(),
        input_used_bytes: sources.bytes.budget().held(MemoryClass::Input) as u64,
        reserved_bytes: sources.bytes.budget().held(MemoryClass::Space) as u64,
        corrupt_reads: sources.bytes.corrupt_reads(),
        damaged: store.damaged,
        busy,
        total,
        cache_hits: metadata.rows.hits,
        cache_misses: metadata.rows.misses,
        ..CoreStats::default()
    };
    if let Some(service) = &sources.service {
        let counters = &service.counters;
        stats.bytes_in = counters.bytes_in.get();
        stats.bytes_out = counters.bytes_out.get();
        stats.connections_open = counters.connections.get() as u64;
        stats.connections_refused = counters.connections_refused.get();
        stats.requests = counters
            .requests
            .borrow()
            .iter()
            .map(|((operation, status), count)| RequestCount { operation, status: *status, count: *count })
            .collect();
        stats.latency = Class::ALL
            .iter()
            .zip(counters.latency_us.borrow().iter())
            .map(|(class, histogram)| Latency { class: class.name(), histogram: histogram.clone() })
            .collect();
    }
    stats
}

fn system(data_dir: &Path) -> System {
    System { disk_available_bytes: io::free_bytes(data_dir).ok(), memory_bytes: resident_bytes() }
}

/// Resident memory, from the line `VmRSS: N kB` of `/proc/self/status` (proc(5)).
fn resident_bytes() -> Option<u64> {
    let status = io::read_small_file(Path::new("/proc/self/status"), STATUS_BYTES_MAX).ok()?;
    let line = std::str::from_utf8(&status).ok()?.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
}

/// Records per group commit: the store counts commits by the power of two that their records reach.
fn batch_records(sizes: &[u64]) -> Option<Histogram<u64>> {
    let mut histogram = Histogram::new_with_max(1 << sizes.len(), 1).ok()?;
    for (power, count) in sizes.iter().enumerate() {
        histogram.saturating_record_n(1 << power, *count);
    }
    Some(histogram)
}

/// Prints what recovery found damaged in a core's segments. It stays in place for repair and is never dropped silently.
pub fn damage(core: usize, store: &Store) {
    for damage in store.report().damage {
        io::log_line(&format!("hamster: core {core}: damaged: {damage:?}"));
    }
}

/// Writes the access log's line of a finished request.
pub fn log(logger: Option<&Logger>, finished: &Finished<'_>) {
    let Some(logger) = logger else { return };
    let head = finished.head;
    logger.log(&Entry {
        unix_ms: io::unix_ms(),
        request_id: finished.request_id.as_str(),
        remote: finished.peer,
        method: head.and_then(|head| std::str::from_utf8(head.method_text()).ok()),
        path: head.map_or(&[], |head| head.path()),
        query: head.map_or(&[], |head| head.query().raw()),
        operation: finished.operation.map(|operation| operation.name()),
        bucket: finished.bucket.as_deref(),
        key: finished.key.as_deref(),
        status: finished.status,
        error: finished.error.map(|code| code.name()),
        bytes_in: finished.bytes_in,
        bytes_out: finished.bytes_out,
        duration: finished.duration,
        user_agent: head.and_then(|head| head.header_str("user-agent")),
        access_key_id: finished.access_key.as_deref(),
    });
}
