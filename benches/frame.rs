//! Closing and verifying blocks: mostly CRC-32C, at the size of a small object and at a full block's.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use engine::frame::{BlockPlace, block_len, close_block, verify_block};
use engine::ids::DataId;
use engine::limits::BLOCK_PAYLOAD_BYTES;

const PLACE: BlockPlace = BlockPlace { data_id: DataId([7; 16]), shard: 0, block: 3 };

fn blocks(c: &mut Criterion) {
    let mut group = c.benchmark_group("frame");
    for payload in [1024, 4096, BLOCK_PAYLOAD_BYTES] {
        let mut area = vec![0; block_len(payload)];
        for (at, byte) in area.iter_mut().enumerate() {
            *byte = (at * 7) as u8;
        }
        group.throughput(Throughput::Bytes(payload as u64));
        group.bench_function(BenchmarkId::new("close", payload), |b| {
            b.iter(|| close_block(black_box(&mut area), payload, PLACE));
        });
        let len = close_block(&mut area, payload, PLACE);
        group.bench_function(BenchmarkId::new("verify", payload), |b| {
            b.iter(|| verify_block(black_box(&area[..len]), PLACE).expect("a good block").len());
        });
    }
    group.finish();
}

criterion_group!(benches, blocks);
criterion_main!(benches);
