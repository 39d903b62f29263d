//! Throughput of body hashing: MD5 over 1 to 32 streams, SHA-256 over 1 to 8 streams, CRC-64/NVME.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use engine::hash::{ChecksumAlgorithm, ChecksumState, Md5, Sha256, sha256, update_many};

/// A block's payload: what a connection hands over at once.
const PIECE_BYTES: usize = 65_504;

fn md5(c: &mut Criterion) {
    let mut group = c.benchmark_group("md5");
    let pieces: Vec<Vec<u8>> = (0..32).map(|seed| vec![seed; PIECE_BYTES]).collect();
    for count in [1, 2, 3, 4, 8, 16, 32] {
        group.throughput(Throughput::Bytes((PIECE_BYTES * count) as u64));
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            let mut states = vec![Md5::new(); count];
            let inputs: Vec<&[u8]> = pieces[..count].iter().map(Vec::as_slice).collect();
            b.iter(|| {
                let mut streams: Vec<&mut Md5> = states.iter_mut().collect();
                update_many(&mut streams, &inputs);
            });
        });
    }
    group.finish();
}

fn sha256_streams(c: &mut Criterion) {
    let mut group = c.benchmark_group("sha256");
    let pieces: Vec<Vec<u8>> = (0..8).map(|seed| vec![seed; PIECE_BYTES]).collect();
    for count in [1, 2, 4, 8] {
        group.throughput(Throughput::Bytes((PIECE_BYTES * count) as u64));
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            let mut states = vec![Sha256::new(); count];
            let inputs: Vec<&[u8]> = pieces[..count].iter().map(Vec::as_slice).collect();
            b.iter(|| {
                let mut streams: Vec<&mut Sha256> = states.iter_mut().collect();
                sha256::update_many(&mut streams, &inputs);
            });
        });
    }
    group.finish();
}

fn checksums(c: &mut Criterion) {
    let mut group = c.benchmark_group("checksum");
    let piece = vec![7; PIECE_BYTES];
    group.throughput(Throughput::Bytes(PIECE_BYTES as u64));
    for algorithm in [ChecksumAlgorithm::Sha256, ChecksumAlgorithm::Crc64Nvme] {
        group.bench_function(BenchmarkId::from_parameter(format!("{algorithm:?}")), |b| {
            let mut state = ChecksumState::new(algorithm);
            b.iter(|| state.update(&piece));
        });
    }
    group.finish();
}

criterion_group!(benches, md5, sha256_streams, checksums);
criterion_main!(benches);
