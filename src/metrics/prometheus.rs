//! The board in the Prometheus text format: one label `core`, base units (seconds, bytes), names `hamster_…`.

use super::{Board, CoreStats, Span};
use ::prometheus::proto::{
    Bucket, Counter, Gauge, Histogram as Buckets, LabelPair, Metric, MetricFamily, MetricType,
};
use ::prometheus::{Encoder, TextEncoder};
use hdrhistogram::Histogram;
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
    let cores: Vec<(String, Arc<CoreStats>)> = (0..board.cores())
        .filter_map(|core| board.span(core).map(|Span { latest, .. }| (core.to_string(), latest)))
        .collect();
    let mut families = Families::default();
    requests(&mut families, &cores);
    storage(&mut families, &cores);
    reads(&mut families, &cores);
    cores_themselves(&mut families, &cores);
    raft(&mut families, board);
    node(&mut families, board);
    families.text()
}

type Cores = [(String, Arc<CoreStats>)];

fn requests(out: &mut Families, cores: &Cores) {
    out.begin(
        "hamster_requests_total",
        "Finished requests by S3 operation and HTTP status",
        MetricType::COUNTER,
    );
    for (core, stats) in cores {
        for request in &stats.requests {
            let status = request.status.to_string();
            out.counter(
                &[("core", core), ("operation", request.operation), ("status", &status)],
                request.count,
            );
        }
    }
    out.begin("hamster_request_duration_seconds", "Time from head to last byte", MetricType::HISTOGRAM);
    for (core, stats) in cores {
        for latency in &stats.latency {
            let labels = [("core", core.as_str()), ("class", latency.class)];
            out.histogram(&labels, &latency.histogram, &LATENCY_BOUNDS_US, 1e6);
        }
    }
    out.counters("hamster_received_bytes_total", "Bytes of request bodies", cores, |stats| stats.bytes_in);
    out.counters("hamster_sent_bytes_total", "Bytes of response bodies", cores, |stats| stats.bytes_out);
    out.gauges("hamster_connections", "Connections open", cores, |stats| stats.connections_open as f64);
    out.counters("hamster_connections_refused_total", "Connections refused at the cap", cores, |stats| {
        stats.connections_refused
    });
}

fn storage(out: &mut Families, cores: &Cores) {
    out.counters("hamster_commit_batches_total", "Group commits", cores, |stats| stats.commit_batches);
    out.counters("hamster_commit_records_total", "Records in group commits", cores, |stats| {
        stats.commit_records
    });
    out.begin("hamster_commit_batch_records", "Records a group commit", MetricType::HISTOGRAM);
    for (core, stats) in cores {
        if let Some(sizes) = &stats.commit_batch_records {
            out.histogram(&[("core", core)], sizes, &BATCH_BOUNDS, 1.0);
        }
    }
    out.counters("hamster_data_syncs_total", "Data syncs of segment files", cores, |stats| stats.data_syncs);
    out.named_gauges("hamster_segments", "Segments by class", cores, "class", |stats| &stats.segments);
    out.gauges("hamster_live_bytes", "Bytes of records that are referred to", cores, |stats| {
        stats.live_bytes as f64
    });
    out.gauges("hamster_dead_bytes", "Bytes of records that wait to be reclaimed", cores, |stats| {
        stats.dead_bytes as f64
    });
    out.gauges("hamster_index_entries", "Entries of the index", cores, |stats| stats.index_entries as f64);
    out.gauges("hamster_index_bytes", "Memory of the index", cores, |stats| stats.index_bytes as f64);
}

fn reads(out: &mut Families, cores: &Cores) {
    let what = "Reads that ended at a block which is not what was written";
    out.counters("hamster_corrupt_reads_total", what, cores, |stats| stats.corrupt_reads);
}

fn cores_themselves(out: &mut Families, cores: &Cores) {
    out.named_gauges("hamster_queue_depth", "What waits in each queue", cores, "queue", |stats| {
        &stats.queues
    });
    out.gauges("hamster_buffers_used_bytes", "Buffer pool in use", cores, |stats| {
        stats.buffers_used_bytes as f64
    });
    out.gauges("hamster_buffers_limit_bytes", "Limit of the buffer pool", cores, |stats| {
        stats.buffers_limit_bytes as f64
    });
    out.begin("hamster_busy_seconds_total", "Time in which the core ran tasks", MetricType::COUNTER);
    for (core, stats) in cores {
        out.counter_f64(&[("core", core)], stats.busy.as_secs_f64());
    }
    out.counters("hamster_row_cache_hits_total", "Rows found in the row cache", cores, |stats| {
        stats.cache_hits
    });
    out.counters("hamster_row_cache_misses_total", "Rows read from the metadata store", cores, |stats| {
        stats.cache_misses
    });
}

fn raft(out: &mut Families, board: &Board) {
    let raft = board.raft();
    out.begin("hamster_raft_state", "1 for the state that this node is in", MetricType::GAUGE);
    for state in ["leader", "follower", "candidate", "learner"] {
        out.gauge(&[("state", state)], f64::from(u8::from(raft.state == state)));
    }
    let numbers = [
        ("hamster_raft_term", "The term", raft.term),
        ("hamster_raft_last_log_index", "The last entry in the log", raft.last_log),
        ("hamster_raft_committed_index", "The last committed entry", raft.committed),
        ("hamster_raft_applied_index", "The last applied entry", raft.applied),
        ("hamster_raft_snapshot_index", "The last entry in a snapshot", raft.snapshot),
    ];
    for (name, help, value) in numbers {
        out.begin(name, help, MetricType::GAUGE);
        out.gauge(&[], value as f64);
    }
    let counts = [
        ("hamster_raft_apply_batches_total", "Batches applied", raft.apply_batches),
        ("hamster_raft_apply_entries_total", "Entries applied", raft.apply_entries),
        ("hamster_raft_log_syncs_total", "Data syncs of the Raft log", raft.wal.syncs),
        ("hamster_store_stalls_total", "Metadata store calls that took over 10 ms", raft.kv_stalls),
    ];
    for (name, help, value) in counts {
        out.begin(name, help, MetricType::COUNTER);
        out.counter(&[], value);
    }
    out.begin("hamster_store_stall_max_seconds", "The longest such call", MetricType::GAUGE);
    out.gauge(&[], raft.kv_longest_write_us as f64 / 1e6);
}

fn node(out: &mut Families, board: &Board) {
    out.begin("hamster_ready", "1 when the node serves", MetricType::GAUGE);
    out.gauge(&[], f64::from(u8::from(board.waits_for().is_empty())));
    out.begin("hamster_uptime_seconds", "Time since the process started", MetricType::GAUGE);
    out.gauge(&[], board.uptime().as_secs_f64());
    out.begin("hamster_access_log_dropped_total", "Access log lines dropped", MetricType::COUNTER);
    out.counter(&[], board.access_log_dropped());
    out.begin("hamster_build_info", "The version that runs", MetricType::GAUGE);
    out.gauge(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
}

/// Metric families under construction; samples go to the one begun last.
#[derive(Default)]
struct Families(Vec<MetricFamily>);

impl Families {
    fn begin(&mut self, name: &str, help: &str, kind: MetricType) {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        self.0.push(family);
    }

    fn counters(&mut self, name: &str, help: &str, cores: &Cores, value: impl Fn(&CoreStats) -> u64) {
        self.begin(name, help, MetricType::COUNTER);
        for (core, stats) in cores {
            self.counter(&[("core", core)], value(stats));
        }
    }

    fn gauges(&mut self, name: &str, help: &str, cores: &Cores, value: impl Fn(&CoreStats) -> f64) {
        self.begin(name, help, MetricType::GAUGE);
        for (core, stats) in cores {
            self.gauge(&[("core", core)], value(stats));
        }
    }

    fn named_gauges(
        &mut self,
        name: &str,
        help: &str,
        cores: &Cores,
        label: &str,
        values: impl Fn(&CoreStats) -> &[(&'static str, u64)],
    ) {
        self.begin(name, help, MetricType::GAUGE);
        for (core, stats) in cores {
            for (of, value) in values(stats) {
                self.gauge(&[("core", core), (label, of)], *value as f64);
            }
        }
    }

    fn counter(&mut self, labels: &[(&str, &str)], value: u64) {
        self.counter_f64(labels, value as f64);
    }

    fn counter_f64(&mut self, labels: &[(&str, &str)], value: f64) {
        let mut counter = Counter::default();
        counter.set_value(value);
        self.sample(labels).set_counter(counter);
    }

    fn gauge(&mut self, labels: &[(&str, &str)], value: f64) {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        self.sample(labels).set_gauge(gauge);
    }

    /// `per_unit` recorded values make one base unit.
    fn histogram(
        &mut self,
        labels: &[(&str, &str)],
        recorded: &Histogram<u64>,
        bounds: &[u64],
        per_unit: f64,
    ) {
        let mut counts = vec![0; bounds.len()];
        let mut sum = 0.0;
        for value in recorded.iter_recorded() {
            sum += value.value_iterated_to() as f64 * value.count_at_value() as f64 / per_unit;
            // A value stands for a range of its histogram's precision; it goes where the range begins.
            let low = recorded.lowest_equivalent(value.value_iterated_to());
            if let Some(bucket) = bounds.iter().position(|bound| low <= *bound) {
                counts[bucket] += value.count_at_value();
            }
        }
        let mut cumulative = 0;
        let buckets = bounds.iter().zip(counts).map(|(bound, count)| {
            cumulative += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound as f64 / per_unit);
            bucket.set_cumulative_count(cumulative);
            bucket
        });
        let mut histogram = Buckets::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(recorded.len());
        histogram.set_sample_sum(sum);
        self.sample(labels).set_histogram(histogram);
    }

    fn sample(&mut self, labels: &[(&str, &str)]) -> &mut Metric {
        let labels = labels.iter().map(|(name, value)| {
            let mut label = LabelPair::default();
            label.set_name((*name).to_owned());
            label.set_value((*value).to_owned());
            label
        });
        let metrics = self.0.last_mut().expect("a family was begun").mut_metric();
        metrics.push(Metric::from_label(labels.collect()));
        metrics.last_mut().expect("one was just pushed")
    }

    fn text(mut self) -> String {
        // The encoder refuses a family without samples.
        self.0.retain(|family| !family.get_metric().is_empty());
        let mut out = Vec::new();
        match TextEncoder::new().encode(&self.0, &mut out) {
            Ok(()) => String::from_utf8_lossy(&out).into_owned(),
            Err(error) => format!("# {error}\n"),
        }
    }
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
