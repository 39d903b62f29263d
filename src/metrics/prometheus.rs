//! The board in the Prometheus text format: base units (seconds, bytes), names `hamster_…`, a label `core` on what
//! cores count.

use super::families::{Families, Family};
use super::{Board, CoreStats, Span};
use std::sync::Arc;

/// Upper bounds of the latency buckets, µs.
const LATENCY_BOUNDS_US: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];
/// Upper bounds of the batch size buckets.
const BATCH_BOUNDS: [u64; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096];

/// Renders everything on the board.
pub fn render(board: &Board) -> String {
    gather(board).text()
}

/// Every metric there is, with its samples so far.
pub fn gather(board: &Board) -> Families {
    let cores: Vec<(String, Arc<CoreStats>)> = (0..board.cores())
        .filter_map(|core| board.span(core).map(|Span { latest, .. }| (core.to_string(), latest)))
        .collect();
    let mut families = Families::default();
    requests(&mut families, &cores);
    commits(&mut families, &cores);
    storage(&mut families, &cores);
    cores_themselves(&mut families, &cores);
    raft(&mut families, board);
    raft_log(&mut families, board);
    node(&mut families, board);
    families
}

type Cores = [(String, Arc<CoreStats>)];

/// A sample of each core.
fn each(family: &mut Family, cores: &Cores, value: impl Fn(&CoreStats) -> f64) {
    for (core, stats) in cores {
        family.sample(&[core], value(stats));
    }
}

/// A sample of each core and name.
fn each_named<'a>(
    family: &mut Family,
    cores: &'a Cores,
    values: impl Fn(&'a CoreStats) -> &'a [(&'static str, u64)],
) {
    for (core, stats) in cores {
        for (name, value) in values(stats) {
            family.sample(&[core, name], *value as f64);
        }
    }
}

fn requests(out: &mut Families, cores: &Cores) {
    let help = "Finished requests by S3 operation and HTTP status";
    let family = out.counter("hamster_requests_total", help, &["core", "operation", "status"]);
    for (core, stats) in cores {
        for request in &stats.requests {
            let labels = [core, request.operation, &request.status.to_string()];
            family.sample(&labels, request.count as f64);
        }
    }
    let help = "Time from a request's head to the last byte of its response, by class of operation";
    let family = out.histogram("hamster_request_duration_seconds", help, &["core", "class"]);
    for (core, stats) in cores {
        for latency in &stats.latency {
            family.buckets(&[core, latency.class], &latency.histogram, &LATENCY_BOUNDS_US, 1e6);
        }
    }
    let family = out.counter("hamster_received_bytes_total", "Bytes of request bodies", &["core"]);
    each(family, cores, |stats| stats.bytes_in as f64);
    let family = out.counter("hamster_sent_bytes_total", "Bytes of responses, heads included", &["core"]);
    each(family, cores, |stats| stats.bytes_out as f64);
    let family = out.gauge("hamster_connections", "Open S3 connections", &["core"]);
    each(family, cores, |stats| stats.connections_open as f64);
    let help = "S3 connections closed at once because the core had too many";
    let family = out.counter("hamster_connections_refused_total", help, &["core"]);
    each(family, cores, |stats| stats.connections_refused as f64);
    let help = "Requests refused because no memory, or no disk space to reserve, was available";
    let family = out.counter("hamster_memory_refused_total", help, &["core"]);
    each(family, cores, |stats| stats.shortages.refused as f64);
    let help = "Requests of slow clients that gave back their buffers";
    let family = out.counter("hamster_memory_shrunk_total", help, &["core"]);
    each(family, cores, |stats| stats.shortages.shrunk as f64);
    let help = "Requests of slow clients that were ended to make room for others";
    let family = out.counter("hamster_memory_ended_total", help, &["core"]);
    each(family, cores, |stats| stats.shortages.ended as f64);
}

fn commits(out: &mut Families, cores: &Cores) {
    let family = out.counter("hamster_commit_records_total", "Records written by group commits", &["core"]);
    each(family, cores, |stats| stats.commit_records as f64);
    let family = out.histogram("hamster_commit_batch_records", "Records in a group commit", &["core"]);
    for (core, stats) in cores {
        if let Some(sizes) = &stats.commit_batch_records {
            family.buckets(&[core], sizes, &BATCH_BOUNDS, 1.0);
        }
    }
    let help = "Time of a group commit's write and data sync";
    let family = out.histogram("hamster_commit_duration_seconds", help, &["core"]);
    for (core, stats) in cores {
        if let Some(times) = &stats.commit_us {
            family.buckets(&[core], times, &LATENCY_BOUNDS_US, 1e6);
        }
    }
    let help = "Group commits whose write or data sync failed; their segment takes no more writes";
    let family = out.counter("hamster_failed_commits_total", help, &["core"]);
    each(family, cores, |stats| stats.failed_commits as f64);
}

fn storage(out: &mut Families, cores: &Cores) {
    let help = "Segments by class: log, extent, and free log segments kept for reuse";
    let family = out.gauge("hamster_segments", help, &["core", "class"]);
    each_named(family, cores, |stats| &stats.segments);
    let family = out.gauge("hamster_live_bytes", "Bytes of stored records that are still needed", &["core"]);
    each(family, cores, |stats| stats.live_bytes as f64);
    let help = "Bytes of log records that are no longer needed and not yet reclaimed";
    let family = out.gauge("hamster_dead_bytes", help, &["core"]);
    each(family, cores, |stats| stats.dead_bytes as f64);
    let help = "Bytes allocated in extent segments and free for new extents";
    let family = out.gauge("hamster_extent_free_bytes", help, &["core"]);
    each(family, cores, |stats| stats.extent_free_bytes as f64);
    let help = "Log segments rewritten to reclaim their dead bytes";
    let family = out.counter("hamster_compactions_total", help, &["core"]);
    each(family, cores, |stats| stats.compactions as f64);
    let family = out.gauge("hamster_index_entries", "Entries of the in-memory index", &["core"]);
    each(family, cores, |stats| stats.index_entries as f64);
    let family = out.gauge("hamster_index_bytes", "Memory of the index", &["core"]);
    each(family, cores, |stats| stats.index_bytes as f64);
    let help = "Reads of a block whose checksum does not match; the download was aborted";
    let family = out.counter("hamster_corrupt_reads_total", help, &["core"]);
    each(family, cores, |stats| stats.corrupt_reads as f64);
    let help = "Damaged places found in segments, at start and since";
    let family = out.gauge("hamster_damaged_places", help, &["core"]);
    each(family, cores, |stats| stats.damaged as f64);
}

fn cores_themselves(out: &mut Families, cores: &Cores) {
    let family = out.gauge("hamster_queue_depth", "Entries waiting in each queue", &["core", "queue"]);
    each_named(family, cores, |stats| &stats.queues);
    let family = out.gauge("hamster_buffers_used_bytes", "Body buffers in use", &["core"]);
    each(family, cores, |stats| stats.buffers_used_bytes as f64);
    let family = out.gauge("hamster_buffers_limit_bytes", "Limit of body buffers", &["core"]);
    each(family, cores, |stats| stats.buffers_limit_bytes as f64);
    let help = "Memory of incomplete heads and of pipelined requests that wait";
    let family = out.gauge("hamster_input_used_bytes", help, &["core"]);
    each(family, cores, |stats| stats.input_used_bytes as f64);
    let help = "Disk space reserved for bodies in progress and not yet written";
    let family = out.gauge("hamster_reserved_bytes", help, &["core"]);
    each(family, cores, |stats| stats.reserved_bytes as f64);
    let family = out.counter("hamster_busy_seconds_total", "Time in which the core ran tasks", &["core"]);
    each(family, cores, |stats| stats.busy.as_secs_f64());
    let family = out.counter("hamster_row_cache_hits_total", "Rows found in the row cache", &["core"]);
    each(family, cores, |stats| stats.cache_hits as f64);
    let help = "Rows read from the metadata store";
    let family = out.counter("hamster_row_cache_misses_total", help, &["core"]);
    each(family, cores, |stats| stats.cache_misses as f64);
}

fn raft(out: &mut Families, board: &Board) {
    let raft = board.raft();
    let family = out.gauge("hamster_raft_state", "1 for the current state of this node", &["state"]);
    for state in ["leader", "follower", "candidate", "learner"] {
        family.sample(&[state], f64::from(u8::from(raft.state == state)));
    }
    let known = f64::from(u8::from(raft.leader.is_some()));
    out.gauge("hamster_raft_leader_known", "1 when this node knows a leader", &[]).sample(&[], known);
    for (name, help, value) in [
        ("hamster_raft_term", "The term", raft.term),
        ("hamster_raft_last_log_index", "The last entry in the log", raft.last_log),
        ("hamster_raft_committed_index", "The last committed entry", raft.committed),
        ("hamster_raft_applied_index", "The last applied entry", raft.applied),
        ("hamster_raft_snapshot_index", "The last entry in a snapshot", raft.snapshot),
    ] {
        out.gauge(name, help, &[]).sample(&[], value as f64);
    }
    let apply_busy = raft.apply_busy_us as f64 / 1e6;
    for (name, help, value) in [
        ("hamster_raft_proposals_total", "Commands proposed", raft.proposals as f64),
        ("hamster_raft_proposals_refused_total", "Commands that the group refused", raft.refused as f64),
        ("hamster_raft_apply_batches_total", "Batches of entries applied", raft.apply_batches as f64),
        ("hamster_raft_apply_entries_total", "Entries applied", raft.apply_entries as f64),
        ("hamster_raft_apply_busy_seconds_total", "Time in which the apply thread worked", apply_busy),
        ("hamster_store_stalls_total", "Metadata store writes over 10 ms", raft.kv_stalls as f64),
    ] {
        out.counter(name, help, &[]).sample(&[], value);
    }
    let longest = raft.kv_longest_write_us as f64 / 1e6;
    out.gauge("hamster_store_stall_max_seconds", "The longest metadata store write", &[])
        .sample(&[], longest);
}

fn raft_log(out: &mut Families, board: &Board) {
    let log = board.raft().wal;
    let waits = "How often the Raft log waited for its next segment to be prepared";
    for (name, help, value) in [
        ("hamster_raft_log_syncs_total", "Data syncs of the Raft log", log.syncs as f64),
        (
            "hamster_raft_log_sync_seconds_total",
            "Time of its writes and data syncs",
            log.flush_us as f64 / 1e6,
        ),
        ("hamster_raft_log_written_bytes_total", "Bytes written to the Raft log", log.bytes as f64),
        ("hamster_raft_log_segment_waits_total", waits, log.segment_waits as f64),
    ] {
        out.counter(name, help, &[]).sample(&[], value);
    }
    let segments = log.segments as f64;
    out.gauge("hamster_raft_log_segments", "Segments of the Raft log", &[]).sample(&[], segments);
}

fn node(out: &mut Families, board: &Board) {
    let ready = f64::from(u8::from(board.waits_for().is_empty()));
    out.gauge("hamster_ready", "1 when the node is serving", &[]).sample(&[], ready);
    let uptime = board.uptime().as_secs_f64();
    out.gauge("hamster_uptime_seconds", "Time since the process started", &[]).sample(&[], uptime);
    let system = board.system();
    let help = "Bytes free on the file system of the data directory";
    let family = out.gauge("hamster_disk_available_bytes", help, &[]);
    if let Some(bytes) = system.disk_available_bytes {
        family.sample(&[], bytes as f64);
    }
    let help = "Bytes reserved for deletes and metadata: with fewer left, writes are refused with 507";
    out.gauge("hamster_disk_reserve_bytes", help, &[]).sample(&[], engine::limits::RESERVE_BYTES as f64);
    let family = out.gauge("hamster_memory_bytes", "Resident memory of the process", &[]);
    if let Some(bytes) = system.memory_bytes {
        family.sample(&[], bytes as f64);
    }
    let dropped = board.access_log_dropped() as f64;
    let help = "Access log lines dropped because the file could not keep up";
    out.counter("hamster_access_log_dropped_total", help, &[]).sample(&[], dropped);
    let family = out.gauge("hamster_build_info", "The running version", &["version"]);
    family.sample(&[env!("CARGO_PKG_VERSION")], 1.0);
}

#[cfg(test)]
mod tests {
    use super::super::{Latency, RequestCount, histogram};
    use super::*;

    #[test]
    fn counts_carry_their_core_and_durations_are_seconds() {
        let board = Board::new(2);
        let mut latency = histogram();
        for micros in [90, 900, 900, 20_000_000] {
            latency.saturating_record(micros);
        }
        board.publish(
            1,
            CoreStats {
                requests: vec![RequestCount { operation: "GetObject", status: 206, count: 4 }],
                latency: vec![Latency { class: "get", histogram: latency }],
                segments: vec![("log", 3)],
                ..CoreStats::default()
            },
        );
        let text = render(&board);
        for line in [
            "hamster_requests_total{core=\"1\",operation=\"GetObject\",status=\"206\"} 4",
            "hamster_request_duration_seconds_bucket{core=\"1\",class=\"get\",le=\"0.0001\"} 1",
            "hamster_request_duration_seconds_bucket{core=\"1\",class=\"get\",le=\"0.001\"} 3",
            "hamster_request_duration_seconds_bucket{core=\"1\",class=\"get\",le=\"+Inf\"} 4",
            "hamster_request_duration_seconds_count{core=\"1\",class=\"get\"} 4",
            "hamster_segments{core=\"1\",class=\"log\"} 3",
            "hamster_ready 0",
        ] {
            assert!(text.lines().any(|printed| printed == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("core=\"0\""), "core 0 published nothing");
    }
}
