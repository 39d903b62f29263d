//! The index of one core: filling it, and lookups among a million entries, far more than the CPU's caches hold.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engine::ids::{DataId, IdGenerator, mix64};
use engine::segment::{Index, Key, Slot};

const FILL_ENTRIES: u64 = 100_000;
const ENTRIES: u64 = 1_000_000;
/// Ids are made at this rate, which decides how often their upper half changes.
const IDS_PER_MS: u64 = 10;

/// Keys as a core makes them, oldest first.
fn keys(count: u64) -> Vec<Key> {
    let mut ids = IdGenerator::new();
    let random = |n| u128::from(mix64(n)) << 64 | u128::from(mix64(!n));
    let id = |n| ids.data_id(1_750_000_000_000 + n / IDS_PER_MS, random(n));
    (0..count).map(id).map(key).collect()
}

fn key(data_id: DataId) -> Key {
    Key { data_id, shard: 0, extent: 0 }
}

fn slot(n: usize) -> Slot {
    Slot { segment: 1, offset: n as u32, length: 4136, in_extent: false, last: true }
}

fn filled(keys: &[Key]) -> Index {
    let mut index = Index::new();
    for (n, key) in keys.iter().enumerate() {
        index.insert(*key, slot(n));
    }
    index
}

fn fill(c: &mut Criterion) {
    let mut group = c.benchmark_group("index fill");
    let keys = keys(FILL_ENTRIES);
    group.throughput(Throughput::Elements(FILL_ENTRIES)).sample_size(20);
    group.bench_function("from empty", |b| b.iter(|| filled(black_box(&keys))));
    group.finish();
}

fn of_a_million(c: &mut Criterion) {
    let mut group = c.benchmark_group("index of a million");
    let all = keys(2 * ENTRIES);
    let (present, absent) = all.split_at(ENTRIES as usize);
    let mut index = filled(present);
    // In random order, so that the lines of neither the keys nor the tables are fetched ahead.
    let mut turn = 0;
    let mut any = move |keys: &[Key]| {
        turn += 1;
        keys[(mix64(turn) % ENTRIES) as usize]
    };
    group.throughput(Throughput::Elements(1));
    group.bench_function("get", |b| b.iter(|| index.get(&any(present)).expect("an entry")));
    group.bench_function("get of an absent one", |b| b.iter(|| index.get(&any(absent))));
    group.bench_function("shard", |b| b.iter(|| index.shard(any(present).data_id, 0)));
    group.bench_function("insert and remove", |b| {
        b.iter(|| {
            let key = any(absent);
            index.insert(key, slot(1));
            index.remove(&key)
        });
    });
    group.finish();
}

criterion_group!(benches, fill, of_a_million);
criterion_main!(benches);
