//! Applies PUT commands from their log bytes, a group at a time, as followers and the leader do for each entry.
//! Rows are in memory and the batch is not written, so that only the commands are measured.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use raft::apply::Applier;
use raft::command::{Command, CreateBucket, Kind, Outcome, PutVersion};
use raft::kv::{Kv, MemoryKv};
use raft::record::{BlobRef, Bytes16, ObjectHeaders, VersionRecord};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS: u64 = 100_000;
/// Entries applied as one batch.
const GROUP: u64 = 64;

fn entry(number: u64, kind: Kind) -> Vec<u8> {
    Command::new(id(number), 1_750_000_000_000 + number, kind).encode_bounded().expect("a short command")
}

fn id(number: u64) -> [u8; 16] {
    u128::from(number).to_be_bytes()
}

/// A PUT of key `key`, the `number`th command.
fn put(key: u64, number: u64) -> Vec<u8> {
    let data_id = Bytes16::from(id(number));
    let headers = ObjectHeaders { content_type: Some("image/jpeg".into()), ..ObjectHeaders::default() };
    let version = VersionRecord {
        version_id: data_id,
        modified_ms: 1_750_000_000_000 + number,
        size: 4096,
        md5: data_id,
        headers: Some(headers),
        blobs: vec![BlobRef { data_id, size: 4096, k: 1, ..BlobRef::default() }],
        ..VersionRecord::default()
    };
    let key = format!("photos/2025/{key:08}.jpg");
    entry(number, Kind::PutVersion(PutVersion { bucket: "photos".into(), key, version, precondition: None }))
}

fn apply(applier: &mut Applier, kv: &MemoryKv, entries: &[Vec<u8>]) -> raft::kv::Batch {
    let snapshot = kv.snapshot();
    let mut session = applier.begin(&snapshot);
    let mut changes = Vec::new();
    for entry in entries {
        let command = Command::from_entry(entry).expect("a command");
        let outcome = session.apply(command, &mut changes).expect("an outcome");
        assert!(matches!(outcome, Outcome::Written { .. } | Outcome::Done), "{outcome:?}");
    }
    black_box(&changes);
    session.finish()
}

fn puts(c: &mut Criterion) {
    let kv = MemoryKv::new();
    let mut applier = Applier::new();
    let bucket = CreateBucket { name: "photos".into(), owner: "owner".into() };
    let mut entries = vec![entry(0, Kind::CreateBucket(bucket))];
    entries.extend((1..=KEYS).map(|n| put(2 * n, n)));
    let batch = apply(&mut applier, &kv, &entries);
    kv.write(batch).expect("rows in memory");

    let mut group = c.benchmark_group("apply put");
    group.throughput(Throughput::Elements(GROUP));
    // Spread over the rows: new keys lie between old ones.
    let step = KEYS / GROUP;
    for (name, odd) in [("new key", 1), ("overwrite", 0)] {
        let group_of = |n| put(2 * (n * step + 1) + odd, KEYS + 1 + n);
        let entries: Vec<Vec<u8>> = (0..GROUP).map(group_of).collect();
        group.bench_function(name, |b| b.iter(|| apply(&mut applier, &kv, black_box(&entries))));
    }
    group.finish();
}

criterion_group!(benches, puts);
criterion_main!(benches);
