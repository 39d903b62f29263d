//! Durable appends to a core's log on a real disk: one writer pays a sync for each, many share them (group commit).

use std::path::Path;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use engine::format::BlobHeader;
use engine::frame::frame;
use engine::ids::{DataId, IdGenerator};
use engine::io::{self, DiskSpace};
use engine::segment::{Config, Store};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PAYLOAD_BYTES: usize = 4096;

/// A request for a number of rounds; the reply is how long they took.
type Request = (u64, flume::Sender<Duration>);

/// One append after the other, as one connection does it.
async fn write(store: Store, first: u64, rounds: u64) {
    let body = frame(&[7; PAYLOAD_BYTES], DataId::default(), 0);
    let mut ids = IdGenerator::new();
    // The writer's own time, so that no two writers make the same id.
    ids.data_id(first, 0);
    for _ in 0..rounds {
        let blob = BlobHeader {
            data_id: ids.data_id(first, 0),
            k: 1,
            last: true,
            blocks: 1,
            payload_bytes: PAYLOAD_BYTES as u64,
            created_ms: first,
            ..BlobHeader::default()
        };
        store.append_blob(blob, &[&body]).await.expect("an append");
    }
}

/// Runs the requested rounds on an executor that outlives the samples: opening a store fills segments with zeros.
async fn serve(directory: &Path, writers: u64, requests: flume::Receiver<Request>) {
    let store = Store::open(Config::new(&DiskSpace::new(directory), 0)).await.expect("a store");
    let mut tasks = 0;
    while let Ok((rounds, answer)) = requests.recv_async().await {
        let start = io::now();
        let running: Vec<_> = (0..writers)
            .map(|_| {
                tasks += 1;
                io::spawn(write(store.clone(), tasks, rounds))
            })
            .collect();
        for task in running {
            task.await.expect("a writer");
        }
        answer.send(start.elapsed()).expect("the benchmark");
    }
    store.shutdown().await;
}

fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("append 4 KiB");
    group.sample_size(20).measurement_time(Duration::from_secs(3));
    for writers in [1, 64] {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory");
        let (sender, requests) = flume::bounded::<Request>(1);
        let path = directory.path().to_owned();
        let body = move || io::block_on(serve(&path, writers, requests)).expect("an executor");
        let core = io::spawn_thread("core", body).expect("a thread");
        group.throughput(Throughput::Elements(writers));
        group.bench_function(BenchmarkId::new("writers", writers), |b| {
            b.iter_custom(|rounds| {
                let (answer, replies) = flume::bounded(1);
                sender.send((rounds, answer)).expect("the core");
                replies.recv().expect("the core")
            });
        });
        drop(sender);
        core.join().expect("the core");
    }
    group.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);
