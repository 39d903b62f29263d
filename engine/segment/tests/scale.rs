//! Slow measurements, run by name: `cargo test --release -p hamster-engine -- --ignored segment`.

use super::*;
use std::time::Duration;

const OBJECTS: u64 = 1_000_000;
const WRITERS: u64 = 1000;

#[test]
#[ignore = "writes hundreds of megabytes"]
fn a_million_objects_open_within_two_seconds_and_cost_microseconds_each() {
    run(async |data| {
        let config = Config { reserve_bytes: 0, ..Config::new(data, 3) };
        let store = Store::open(config.clone()).await.expect("open");
        let started = io::now();
        let tasks: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let store = store.clone();
                io::spawn(async move {
                    for n in (writer..OBJECTS).step_by(WRITERS as usize) {
                        store.append_blob(blob(n), &[&[n as u8; 300]]).await.expect("append");
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        let wrote = started.elapsed();
        let stats = store.stats();
        assert!(stats.index_bytes <= 48 * stats.index_entries, "{stats:?}");
        store.shutdown().await;
        let started = io::now();
        let store = Store::open(config).await.expect("open");
        let opened = started.elapsed();
        assert_eq!(store.stats().index_entries as u64, OBJECTS);
        expect_one(&store).await;
        store.shutdown().await;
        let per_object = wrote / OBJECTS as u32;
        assert!(
            opened <= Duration::from_secs(2) && per_object <= Duration::from_micros(20),
            "opened in {opened:?}, {per_object:?} an append, {stats:?}"
        );
    });
}

async fn expect_one(store: &Store) {
    assert_eq!(get(store, 777).await.as_deref(), Some(&[777u64 as u8; 300][..]));
}
