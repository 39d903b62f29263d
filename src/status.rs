//! The output of `hamster status`: gathered on the node from the board, sent over the cluster port, printed as a table
//! or as JSON.

use crate::identity::NodeRecord;
use crate::metrics::{Board, CoreStats, Latency, Span};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::fmt::Write;

/// A node's answer to the status call. Field numbers are frozen.
#[derive(Clone, PartialEq, prost::Message, Serialize)]
pub struct Status {
    /// The version that runs.
    #[prost(string, tag = "1")]
    pub version: String,
    /// The cluster's id.
    #[prost(string, tag = "2")]
    pub cluster_id: String,
    /// The cluster's name.
    #[prost(string, tag = "3")]
    pub cluster_name: String,
    /// Milliseconds since the node started.
    #[prost(uint64, tag = "4")]
    pub uptime_ms: u64,
    /// What the node waits for before it is ready.
    #[prost(string, repeated, tag = "5")]
    pub waits_for: Vec<String>,
    /// The members of the cluster.
    #[prost(message, repeated, tag = "6")]
    pub members: Vec<Member>,
    /// The cores of this node.
    #[prost(message, repeated, tag = "7")]
    pub cores: Vec<Core>,
    /// The Raft group as this node sees it.
    #[prost(message, optional, tag = "8")]
    pub raft: Option<Raft>,
}

/// A member of the cluster.
#[derive(Clone, PartialEq, prost::Message, Serialize)]
pub struct Member {
    /// The node's id.
    #[prost(string, tag = "1")]
    pub node_id: String,
    /// Its name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Its cluster port.
    #[prost(string, tag = "3")]
    pub listen: String,
    /// Its machine.
    #[prost(string, tag = "4")]
    pub host: String,
    /// Its zone.
    #[prost(string, tag = "5")]
    pub zone: String,
    /// Its capacity in bytes.
    #[prost(uint64, tag = "6")]
    pub capacity_bytes: u64,
    /// Its role in the Raft group.
    #[prost(string, tag = "7")]
    pub role: String,
}

/// One core. Rates and latencies cover the last 5 to 10 seconds, unless a field says otherwise.
#[derive(Clone, PartialEq, prost::Message, Serialize)]
pub struct Core {
    /// Its number.
    #[prost(uint32, tag = "1")]
    pub core: u32,
    /// Finished requests per second.
    #[prost(double, tag = "2")]
    pub requests_per_second: f64,
    /// Bytes of request bodies per second.
    #[prost(double, tag = "3")]
    pub bytes_in_per_second: f64,
    /// Bytes of responses per second, heads included.
    #[prost(double, tag = "4")]
    pub bytes_out_per_second: f64,
    /// Median latency, µs.
    #[prost(uint64, tag = "5")]
    pub p50_us: u64,
    /// 99th percentile of latency, µs.
    #[prost(uint64, tag = "6")]
    pub p99_us: u64,
    /// Share of time in which the core ran tasks.
    #[prost(double, tag = "7")]
    pub busy_share: f64,
    /// Open connections.
    #[prost(uint64, tag = "8")]
    pub connections: u64,
    /// Current length of each queue.
    #[prost(message, repeated, tag = "9")]
    pub queues: Vec<Named>,
    /// Current number of segments by class.
    #[prost(message, repeated, tag = "10")]
    pub segments: Vec<Named>,
    /// Bytes of records that are still needed.
    #[prost(uint64, tag = "11")]
    pub live_bytes: u64,
    /// Bytes that wait to be reclaimed.
    #[prost(uint64, tag = "12")]
    pub dead_bytes: u64,
    /// Finished requests since the start.
    #[prost(uint64, tag = "13")]
    pub requests_total: u64,
    /// Latency by class of operation.
    #[prost(message, repeated, tag = "14")]
    pub classes: Vec<Class>,
}

/// A named number.
#[derive(Clone, PartialEq, prost::Message, Serialize)]
pub struct Named {
    /// The name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The number.
    #[prost(uint64, tag = "2")]
    pub count: u64,
}

/// The latency of a class of operations on one core.
#[derive(Clone, PartialEq, prost::Message, Serialize)]
pub struct Class {
    /// The class.
    #[prost(string, tag = "1")]
    pub class: String,
    /// Requests per second.
    #[prost(double, tag = "2")]
    pub requests_per_second: f64,
    /// Median latency, µs.
    #[prost(uint64, tag = "3")]
    pub p50_us: u64,
    /// 99th percentile of latency, µs.
    #[prost(uint64, tag = "4")]
    pub p99_us: u64,
}

/// The Raft group.
#[derive(Clone, PartialEq, prost::Message, Serialize)]
pub struct Raft {
    /// This node's role.
    #[prost(string, tag = "1")]
    pub state: String,
    /// The term.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// The last entry in the log.
    #[prost(uint64, tag = "3")]
    pub last_log: u64,
    /// The last committed entry.
    #[prost(uint64, tag = "4")]
    pub committed: u64,
    /// The last applied entry.
    #[prost(uint64, tag = "5")]
    pub applied: u64,
    /// The last entry in a snapshot.
    #[prost(uint64, tag = "6")]
    pub snapshot: u64,
}

/// The status of the node that `record` describes.
pub fn gather(record: &NodeRecord, board: &Board) -> Status {
    let raft = board.raft();
    let member = Member {
        node_id: record.node_id().to_string(),
        name: record.node_name.clone(),
        listen: record.listen.clone(),
        host: record.host.clone(),
        zone: record.zone.clone(),
        capacity_bytes: record.capacity_bytes,
        role: raft.state.to_owned(),
    };
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cluster_id: record.cluster_id().to_string(),
        cluster_name: record.cluster_name.clone(),
        uptime_ms: board.uptime().as_millis() as u64,
        waits_for: board.waits_for(),
        members: vec![member],
        cores: (0..board.cores())
            .filter_map(|core| board.span(core).map(|span| of_core(core, &span)))
            .collect(),
        raft: Some(Raft {
            state: raft.state.to_owned(),
            term: raft.term,
            last_log: raft.last_log,
            committed: raft.committed,
            applied: raft.applied,
            snapshot: raft.snapshot,
        }),
    }
}

fn of_core(core: u16, span: &Span) -> Core {
    let latest = &*span.latest;
    let nothing = CoreStats::default();
    let earlier = span.earlier.as_deref().unwrap_or(&nothing);
    // Without an earlier snapshot the window begins with the process.
    let window = span.earlier.as_ref().map_or(latest.total, |earlier| latest.at - earlier.at);
    let seconds = window.as_secs_f64().max(1e-3);
    let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;

    let mut all: Option<Histogram<u64>> = None;
    let mut classes = Vec::new();
    for latency in &latest.latency {
        let recent = since(latency, earlier);
        classes.push(Class {
            class: latency.class.to_owned(),
            requests_per_second: recent.len() as f64 / seconds,
            p50_us: recent.value_at_quantile(0.5),
            p99_us: recent.value_at_quantile(0.99),
        });
        match &mut all {
            Some(all) => drop(all.add(&recent)),
            None => all = Some(recent),
        }
    }
    let quantile = |at: f64| all.as_ref().map_or(0, |all| all.value_at_quantile(at));
    let total = latest.total.saturating_sub(earlier.total).as_secs_f64();
    let busy = latest.busy.saturating_sub(earlier.busy).as_secs_f64();
    Core {
        core: u32::from(core),
        requests_per_second: rate(finished(latest), finished(earlier)),
        bytes_in_per_second: rate(latest.bytes_in, earlier.bytes_in),
        bytes_out_per_second: rate(latest.bytes_out, earlier.bytes_out),
        p50_us: quantile(0.5),
        p99_us: quantile(0.99),
        busy_share: if total > 0.0 { (busy / total).min(1.0) } else { 0.0 },
        connections: latest.connections_open,
        queues: named(&latest.queues),
        segments: named(&latest.segments),
        live_bytes: latest.live_bytes,
        dead_bytes: latest.dead_bytes,
        requests_total: finished(latest),
        classes,
    }
}

/// The latencies that a class recorded since an earlier snapshot.
fn since(latency: &Latency, earlier: &CoreStats) -> Histogram<u64> {
    let mut recent = latency.histogram.clone();
    if let Some(before) = earlier.latency.iter().find(|before| before.class == latency.class)
        && recent.subtract(&before.histogram).is_err()
    {
        // The histograms don't match; then all latencies since the start are the better answer.
        recent.clone_from(&latency.histogram);
    }
    recent
}

fn finished(stats: &CoreStats) -> u64 {
    stats.requests.iter().map(|request| request.count).sum()
}

fn named(pairs: &[(&'static str, u64)]) -> Vec<Named> {
    pairs.iter().map(|(name, count)| Named { name: (*name).to_owned(), count: *count }).collect()
}

/// The status as text for people.
pub fn table(status: &Status) -> String {
    let mut out = String::new();
    let ready = match status.waits_for.as_slice() {
        [] => "ready".to_owned(),
        waits => format!("waits for {}", waits.join(", ")),
    };
    let hours = status.uptime_ms as f64 / 3_600_000.0;
    // Writing to a String can't fail.
    let _ = writeln!(
        out,
        "cluster {} ({}), hamster {}, {ready}, up {hours:.1} h",
        status.cluster_name, status.cluster_id, status.version
    );
    if let Some(raft) = &status.raft {
        let _ = writeln!(
            out,
            "raft    {} in term {}, log {}, committed {}, applied {}, snapshot {}",
            if raft.state.is_empty() { "starting" } else { &raft.state },
            raft.term,
            raft.last_log,
            raft.committed,
            raft.applied,
            raft.snapshot
        );
    }
    let members = status.members.iter().map(|member| {
        let (id, name, listen) = (member.node_id.clone(), member.name.clone(), member.listen.clone());
        let (role, size) = (member.role.clone(), bytes(member.capacity_bytes));
        vec![id, name, listen, member.host.clone(), member.zone.clone(), size, role]
    });
    out.push('\n');
    columns(
        &mut out,
        &["member", "name", "cluster port", "host", "zone", "capacity", "role"],
        members.collect(),
    );
    out.push('\n');
    let heads = [
        "core", "req/s", "GB/s in", "GB/s out", "p50 ms", "p99 ms", "busy", "conns", "queues", "segments",
        "live", "dead",
    ];
    columns(&mut out, &heads, status.cores.iter().map(core_row).collect());
    out
}

fn core_row(core: &Core) -> Vec<String> {
    let list = |list: &[Named]| match list {
        [] => "-".to_owned(),
        list => list.iter().map(|one| format!("{} {}", one.name, one.count)).collect::<Vec<_>>().join(", "),
    };
    vec![
        core.core.to_string(),
        format!("{:.0}", core.requests_per_second),
        format!("{:.3}", core.bytes_in_per_second / 1e9),
        format!("{:.3}", core.bytes_out_per_second / 1e9),
        format!("{:.2}", core.p50_us as f64 / 1e3),
        format!("{:.2}", core.p99_us as f64 / 1e3),
        format!("{:.0} %", core.busy_share * 100.0),
        core.connections.to_string(),
        list(&core.queues),
        list(&core.segments),
        bytes(core.live_bytes),
        bytes(core.dead_bytes),
    ]
}

/// Left-aligned columns, two spaces apart, as wide as their longest cell.
fn columns(out: &mut String, heads: &[&str], rows: Vec<Vec<String>>) {
    let heads = heads.iter().map(|head| (*head).to_owned()).collect::<Vec<_>>();
    let width =
        |at: usize| rows.iter().chain([&heads]).map(|row| row[at].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    for row in [&heads].into_iter().chain(&rows) {
        let line = row
            .iter()
            .zip(&widths)
            .fold(String::new(), |line, (cell, width)| line + &format!("{cell:<width$}  "));
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

/// Formats a number of bytes with a binary unit.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{RequestCount, histogram};
    use engine::io::Instant;
    use prost::Message;
    use std::time::Duration;

    fn stats(second: u64, requests: u64, micros: u64) -> CoreStats {
        let mut latency = histogram();
        latency.saturating_record_n(micros, requests);
        CoreStats {
            at: Instant(second * 1_000_000_000),
            requests: vec![RequestCount { operation: "GetObject", status: 200, count: requests }],
            latency: vec![Latency { class: "get", histogram: latency }],
            bytes_out: requests * 1000,
            busy: Duration::from_secs(second / 2),
            total: Duration::from_secs(second),
            segments: vec![("log", 2)],
            live_bytes: 3 << 20,
            ..CoreStats::default()
        }
    }

    #[test]
    fn rates_and_percentiles_are_those_of_the_window() {
        let board = Board::new(1);
        board.publish(0, stats(10, 100, 1000));
        let mut later = stats(18, 100, 1000);
        later.requests[0].count = 900;
        later.latency[0].histogram.saturating_record_n(50, 800);
        board.publish(0, later);
        let status = gather(&NodeRecord::default(), &board);
        let core = &status.cores[0];
        assert_eq!(core.requests_per_second, 100.0);
        assert_eq!((core.p50_us, core.p99_us), (50, 50));
        assert_eq!(core.busy_share, 0.5);
        assert_eq!(core.requests_total, 900);
    }

    #[test]
    fn the_table_shows_a_row_per_core_and_the_wire_keeps_everything() {
        let board = Board::new(2);
        board.publish(0, stats(10, 100, 1000));
        board.publish(1, stats(10, 0, 1));
        let status = gather(&NodeRecord::default(), &board);
        let text = table(&status);
        assert!(text.contains("3.0 MiB") && text.contains("waits for start"), "{text}");
        assert!(text.lines().any(|line| line.starts_with("1 ")), "{text}");
        assert_eq!(Status::decode(status.encode_to_vec().as_slice()).unwrap(), status);
        let json = serde_json::to_string(&status).unwrap();
        assert!(json.contains("\"requests_per_second\":10.0"), "{json}");
    }
}
