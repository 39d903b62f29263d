//! A whole node over the memory store: log on disk, group, apply thread, cores.

use std::path::Path;
use std::sync::Mutex;

use engine::io::{DiskSpace, now, run_executors, unix_ms};

use super::*;
use crate::apply::Change;
use crate::command::{CreateBucket, DeleteBucket, DeleteVersion, Kind, PutVersion};
use crate::kv::MemoryKv;
use crate::node::{GroupConfig, Node, NodeSeed, assemble};
use crate::record::{BlobRef, VersionKind};

const CORES: usize = 2;

fn config(directory: &Path) -> GroupConfig {
    let mut config = GroupConfig::new(
        1,
        directory.join("raft"),
        DiskSpace::new(directory),
        CORES,
        Arc::new(|why: &str| panic!("{why}")),
    );
    config.wal.segment_bytes = 256 << 10;
    config.snapshot_every = 200;
    config
}

fn id(number: u64) -> Bytes16 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Bytes16::from(bytes)
}

fn put(key: &str, number: u64) -> Command {
    let blob = BlobRef { data_id: id(number), size: 5, partition: 7, k: 1, ..BlobRef::default() };
    let version = VersionRecord {
        version_id: id(number),
        kind: VersionKind::Object.into(),
        modified_ms: number,
        size: 5,
        blobs: vec![blob],
        ..VersionRecord::default()
    };
    let kind = PutVersion { bucket: "b".to_owned(), key: key.to_owned(), version, precondition: None };
    Command::new(id(number), unix_ms(), Kind::PutVersion(kind))
}

fn create_bucket(number: u64) -> Command {
    let kind = CreateBucket { name: "b".to_owned(), owner: "o".to_owned() };
    Command::new(id(number), unix_ms(), Kind::CreateBucket(kind))
}

/// A key whose home is this core.
fn key_of(core: usize) -> String {
    let home = |key: &String| home_core(partition_of_key("b", key.as_bytes()), CORES);
    (0..).map(|n| format!("k{n}")).find(|key| home(key) == core).expect("a key")
}

fn current() -> Selector {
    Selector::Current(true)
}

/// Runs `test` on each core of a node, with the node itself on core 0.
fn on_a_node<F>(
    directory: &Path,
    kv: Arc<MemoryKv>,
    test: impl Fn(usize, Option<Node>, Metadata) -> F + Clone + Send + 'static,
) where
    F: Future<Output = ()> + 'static,
{
    on_a_node_with_late_cores(directory, kv, |_| Duration::ZERO, test);
}

/// The same with cores that get apply's news late.
fn on_a_node_with_late_cores<F>(
    directory: &Path,
    kv: Arc<MemoryKv>,
    late: impl Fn(usize) -> Duration + Clone + Send + 'static,
    test: impl Fn(usize, Option<Node>, Metadata) -> F + Clone + Send + 'static,
) where
    F: Future<Output = ()> + 'static,
{
    let (node, cores) = assemble(config(directory), kv).expect("assembles");
    let seeds: Vec<Option<MetadataSeed>> = cores.into_iter().map(Some).collect();
    type Seeds = (Option<NodeSeed>, Vec<Option<MetadataSeed>>);
    let shared: Arc<Mutex<Seeds>> = Arc::new(Mutex::new((Some(node), seeds)));
    let home = directory.to_owned();
    run_executors(CORES, move |core| {
        let (shared, test, home, late) = (shared.clone(), test.clone(), home.clone(), late.clone());
        async move {
            let mut seed = shared.lock().expect("lock").1[core].take().expect("one seed a core");
            seed.feed = delayed(seed.feed, late(core));
            let bytes = Home::open(&DiskSpace::new(&home), core).await.expect("store");
            let metadata = seed.start(CORES, bytes.clone());
            let node = if core == 0 { shared.lock().expect("lock").0.take() } else { None };
            let node = match node {
                Some(seed) => Some(seed.start(async { Ok(()) }).await.expect("starts")),
                None => None,
            };
            test(core, node, metadata).await;
            bytes.close().await;
        }
    })
    .expect("executors start")
    .join()
    .expect("no core fails");
}

/// A feed whose messages come later.
fn delayed(mut feed: Receiver<Feed>, by: Duration) -> Receiver<Feed> {
    if by.is_zero() {
        return feed;
    }
    let (sender, receiver) = engine::io::mailbox(100);
    spawn(async move {
        while let Some(message) = feed.recv().await {
            engine::io::sleep(by).await;
            let _ = sender.send(message).await;
        }
    });
    receiver
}

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("temporary directory")
}

/// Lets the cores meet: returns on each core once all have called it. A core that failed never does.
async fn meet(count: &std::sync::atomic::AtomicUsize, target: usize) {
    count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    let deadline = now() + Duration::from_secs(60);
    while count.load(std::sync::atomic::Ordering::SeqCst) < target {
        assert!(now() < deadline, "another core is missing");
        engine::io::sleep(Duration::from_millis(1)).await;
    }
}

/// Two writes of one key that were applied together had the same index, and the later one was taken for stale. The
/// row in memory was then one of a version that had already been replaced.
#[test]
fn the_last_of_several_writes_applied_together_is_read() {
    let directory = temporary();
    let done = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    on_a_node(directory.path(), Arc::new(MemoryKv::new()), move |core, node, metadata| {
        let done = done.clone();
        async move {
            if let Some(node) = node {
                overwrite_at_once(core, &metadata).await;
                assert!(node.stats().apply_largest_batch > 1, "writes were applied together");
            }
            meet(&done, 2).await;
        }
    });
}

/// Writes a key of this core from several writers at once, again and again, and checks each time that a read
/// returns what the store holds.
async fn overwrite_at_once(core: usize, metadata: &Metadata) {
    metadata.commit(create_bucket(1)).await.expect("commits");
    let key = key_of(core);
    for round in 1..50 {
        let writers: Vec<_> = (0..4)
            .map(|n| {
                let (metadata, command) = (metadata.clone(), put(&key, round * 10 + n));
                spawn(async move { metadata.commit(command).await.expect("commits") })
            })
            .collect();
        for writer in writers {
            writer.await.expect("runs");
        }
        let known = metadata.resolve("b", &key, current()).await.expect("reads").expect("is there");
        let name = key.clone();
        let stored = move |view: &reads::View<'_>| read::current(view, Name::new("b", &name)?);
        let (_, stored) = metadata.read_store(stored).await.expect("reads");
        assert_eq!(Some(&*known), stored.as_ref());
    }
}

#[test]
fn all_cores_read_at_once_what_one_core_writes() {
    let directory = temporary();
    let at = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    on_a_node(directory.path(), Arc::new(MemoryKv::new()), move |core, node, metadata| {
        let at = at.clone();
        async move {
            if core == 0 {
                assert_eq!(metadata.bucket("b").await.expect("reads"), None);
                meet(&at, 2).await;
                assert_eq!(metadata.commit(create_bucket(1)).await.expect("commits"), Outcome::Done);
                meet(&at, 4).await;
                for number in 10..110 {
                    let key = format!("k{}", number % 20);
                    let outcome = metadata.commit(put(&key, number)).await.expect("commits");
                    assert!(matches!(outcome, Outcome::Written { .. }), "{outcome:?}");
                    let found =
                        metadata.resolve("b", &key, current()).await.expect("reads").expect("is there");
                    assert_eq!(found.version_id, id(number));
                }
                meet(&at, 6).await;
            } else {
                // The bucket's absence is cached, and must not outlast the command.
                assert_eq!(metadata.bucket("b").await.expect("reads"), None);
                meet(&at, 2).await;
                meet(&at, 4).await;
                assert!(metadata.bucket("b").await.expect("reads").is_some());
                meet(&at, 6).await;
                let query = ListQuery { bucket: "b".to_owned(), max: 1000, ..ListQuery::default() };
                assert_eq!(metadata.list_objects(query).await.expect("lists").entries.len(), 20);
                for number in 0..20 {
                    let key = format!("k{number}");
                    let found = metadata.resolve("b", &key, current()).await.expect("reads");
                    let latest = if number < 10 { 100 + number } else { 80 + number };
                    assert_eq!(found.map(|found| found.version_id), Some(id(latest)));
                    let by_id = metadata.resolve("b", &key, Selector::Id(id(latest))).await.expect("reads");
                    assert_eq!(by_id, None, "a null version has no id for clients");
                }
                assert_eq!(metadata.resolve("b", "absent", current()).await.expect("reads"), None);
            }
            meet(&at, 8).await;
            if let Some(node) = node {
                let stats = node.stats();
                assert_eq!((stats.state, stats.leader), ("leader", Some(1)));
                assert!(stats.applied >= 101 && stats.wal.syncs > 0 && node.is_ready(), "{stats:?}");
                node.stop().await.expect("stops");
            }
        }
    });
}

#[test]
fn a_restart_finds_everything_acknowledged_even_if_the_store_lost_what_was_not_persisted() {
    let directory = temporary();
    let kv = Arc::new(MemoryKv::new());
    let write = move |core: usize, node: Option<Node>, metadata: Metadata| async move {
        let Some(node) = node else { return };
        assert_eq!(core, 0);
        metadata.commit(create_bucket(1)).await.expect("commits");
        let writers: Vec<_> = (0..20_u64)
            .map(|writer| {
                let metadata = metadata.clone();
                engine::io::spawn(async move {
                    for round in 0..25 {
                        let number = 100 + writer * 25 + round;
                        metadata.commit(put(&format!("k{number}"), number)).await.expect("commits");
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.expect("ends");
        }
        node.stop().await.expect("stops");
        let stats = node.stats();
        assert!(stats.snapshot >= 200, "{stats:?}");
        assert!(stats.apply_batches < 501 && stats.propose_calls < 501, "{stats:?}");
    };
    // Core 1 must live for as long as core 0 sends it requests.
    let done = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let both = move |core, node, metadata| {
        let (write, done) = (write, done.clone());
        async move {
            write(core, node, metadata).await;
            meet(&done, 2).await;
        }
    };
    on_a_node(directory.path(), kv.clone(), both);
    // Half of what was not persisted is left, or nothing: the log has the rest.
    for keep in [kv.unpersisted() / 2, 0] {
        let done = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let read = move |core, node: Option<Node>, metadata: Metadata| {
            let done = done.clone();
            async move {
                if core == 0 {
                    for number in 100..600 {
                        let key = format!("k{number}");
                        let found = metadata.resolve("b", &key, current()).await.expect("reads");
                        assert_eq!(found.map(|found| found.version_id), Some(id(number)), "{key}");
                    }
                }
                meet(&done, 2).await;
                if let Some(node) = node {
                    node.stop().await.expect("stops");
                }
            }
        };
        on_a_node(directory.path(), Arc::new(kv.crash(keep)), read);
    }
}

#[test]
fn released_blobs_are_reclaimed_and_forgotten() {
    let directory = temporary();
    let at = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    on_a_node(directory.path(), Arc::new(MemoryKv::new()), move |core, node, metadata| {
        let at = at.clone();
        async move {
            let deleted = Rc::new(RefCell::new(Vec::new()));
            let seen = deleted.clone();
            metadata.start_reclaim(Box::new(move |records| {
                let ids: Vec<Bytes16> = records.iter().map(|record| record.data_id).collect();
                seen.borrow_mut().extend(ids.clone());
                Box::pin(async move { ids })
            }));
            if core == 0 {
                metadata.commit(create_bucket(1)).await.expect("commits");
                metadata.commit(put("k", 10)).await.expect("commits");
                metadata.commit(put("k", 11)).await.expect("commits");
                let mut live = Vec::new();
                metadata.all_blob_refs(async |blobs| live.extend(blobs)).await.expect("reads");
                assert_eq!(live, [BlobPlace { data_id: id(11), partition: 7 }]);
            } else {
                // Partition 7 belongs to core 1.
                while deleted.borrow().is_empty() {
                    engine::io::sleep(Duration::from_millis(1)).await;
                }
                assert_eq!(*deleted.borrow(), [id(10)]);
                loop {
                    let left = metadata.0.readers.read(|view| read::reclaim_queue(view, None, 10)).await;
                    if left.expect("reads").1.is_empty() {
                        break;
                    }
                    engine::io::sleep(Duration::from_millis(1)).await;
                }
            }
            meet(&at, 2).await;
            drop(node);
        }
    });
}

/// The core of a blob was told that nothing refers to it and deleted its bytes while the core of its key, which was told
/// later, still resolved the version: a GET was answered 500.
#[test]
fn a_blob_is_reclaimed_once_every_core_knows() {
    let directory = temporary();
    let at = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    // Longer than blobs wait for others.
    let late = |core| Duration::from_millis(if core == 0 { 1200 } else { 0 });
    on_a_node_with_late_cores(
        directory.path(),
        Arc::new(MemoryKv::new()),
        late,
        move |core, node, metadata| {
            let at = at.clone();
            async move {
                let (reclaimed, asker) = (Rc::new(Cell::new(0)), metadata.clone());
                let count = reclaimed.clone();
                metadata.start_reclaim(Box::new(move |records| {
                    let (count, metadata) = (count.clone(), asker.clone());
                    Box::pin(async move {
                        let ids: Vec<Bytes16> = records.iter().map(|record| record.data_id).collect();
                        let shown = metadata.resolve("b", &key_of(0), current()).await.expect("reads");
                        let shown = shown.map(|version| version.version_id);
                        assert!(
                            shown.is_none_or(|id| !ids.contains(&id)),
                            "a blob of a version that is still shown"
                        );
                        count.set(count.get() + ids.len());
                        ids
                    })
                }));
                if core == 0 {
                    metadata.commit(create_bucket(1)).await.expect("commits");
                    for number in 10..13 {
                        metadata.commit(put(&key_of(0), number)).await.expect("commits");
                    }
                } else {
                    // Partition 7 belongs to core 1.
                    while reclaimed.get() < 2 {
                        engine::io::sleep(Duration::from_millis(1)).await;
                    }
                }
                meet(&at, 2).await;
                drop(node);
            }
        },
    );
}

/// After a crash of the machine a core served while apply's news of the log was still on its way to it: from a row that
/// a later entry, acknowledged before the crash, had replaced.
#[test]
fn a_restarted_node_serves_once_every_core_has_seen_the_log() {
    const WRITES: u64 = 300;
    let directory = temporary();
    let kv = Arc::new(MemoryKv::new());
    let done = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    on_a_node(directory.path(), kv.clone(), move |_, node, metadata| {
        let done = done.clone();
        async move {
            if let Some(node) = node {
                metadata.commit(create_bucket(1)).await.expect("commits");
                for number in 10..10 + WRITES {
                    metadata.commit(put(&key_of(1), number)).await.expect("commits");
                }
                node.stop().await.expect("stops");
            }
            meet(&done, 2).await;
        }
    });
    let late = |core| Duration::from_millis(if core == 1 { 100 } else { 0 });
    let done = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    on_a_node_with_late_cores(directory.path(), Arc::new(kv.crash(0)), late, move |_, node, metadata| {
        let done = done.clone();
        async move {
            if node.is_some() {
                // By now the first message of several has arrived.
                engine::io::sleep(Duration::from_millis(150)).await;
                let shown =
                    metadata.resolve("b", &key_of(1), current()).await.expect("reads").expect("is there");
                assert_eq!(shown.version_id, id(9 + WRITES));
            }
            meet(&done, 2).await;
        }
    });
}

#[test]
fn refusals_of_a_command_are_outcomes_and_a_bad_name_is_an_error() {
    let directory = temporary();
    let at = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    on_a_node(directory.path(), Arc::new(MemoryKv::new()), move |core, node, metadata| {
        let at = at.clone();
        async move {
            if core == 0 {
                assert_eq!(metadata.commit(put("k", 5)).await.expect("commits"), Outcome::NoSuchBucket);
                metadata.commit(create_bucket(1)).await.expect("commits");
                let again = metadata.commit(create_bucket(2)).await.expect("commits");
                assert_eq!(again, Outcome::BucketAlreadyExists { same_owner: true });
                metadata.commit(put("k", 10)).await.expect("commits");
                let delete = DeleteBucket { name: "b".to_owned() };
                let delete = |number| Command::new(id(number), unix_ms(), Kind::DeleteBucket(delete.clone()));
                assert_eq!(metadata.commit(delete(3)).await.expect("commits"), Outcome::BucketNotEmpty);
                let delete_object = DeleteVersion {
                    bucket: "b".to_owned(),
                    key: "k".to_owned(),
                    selector: Some(Selector::Current(true)),
                    marker_version_id: id(20),
                    ..DeleteVersion::default()
                };
                metadata
                    .commit(Command::new(id(4), unix_ms(), Kind::DeleteVersion(delete_object)))
                    .await
                    .expect("commits");
                assert_eq!(metadata.resolve("b", "k", current()).await.expect("reads"), None);
                assert_eq!(metadata.commit(delete(6)).await.expect("commits"), Outcome::Done);
                assert!(matches!(metadata.resolve("b", "", current()).await, Err(Error::InvalidName(_))));
            }
            meet(&at, 2).await;
            drop(node);
        }
    });
}

#[test]
fn updates_go_to_the_home_core_and_buckets_to_all() {
    let mut updates: Vec<crate::feed::Applied> = (0..4).map(|_| Default::default()).collect();
    let mut changes = vec![
        Change::Bucket { name: "b".to_owned(), record: None },
        Change::Key { bucket: "b".to_owned(), key: "k".to_owned(), current: None },
    ];
    let home = home_core(partition_of(&put("k", 1)), 4);
    assert_eq!(home, home_core(partition_of_key("b", b"k"), 4), "a command's home is its key's");
    crate::feed::distribute(&mut updates, home, &mut changes);
    for (core, updates) in updates.iter().enumerate() {
        assert_eq!(updates.changes.len(), if core == home { 2 } else { 1 });
    }
}
