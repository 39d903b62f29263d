//! A case for each row of the table in `reconcile.rs`; then whole nodes for the states that take more than a
//! decision.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use engine::io::{DiskSpace, block_on, run_executors};
use engine::peer::Home;
use openraft::BasicNode;
use openraft::storage::IOFlushed;

use super::*;
use crate::command::{Command, CreateBucket, Kind};
use crate::key::APPLIED;
use crate::kv::{Batch, Kv, MemoryKv};
use crate::node::{GroupConfig, assemble};
use crate::types::{Entry, Membership, Payload, StoredMembership, log_id};
use crate::wal::Wal;

fn members(ids: &[u64]) -> Membership {
    let nodes: BTreeMap<u64, BasicNode> = ids.iter().map(|id| (*id, BasicNode::default())).collect();
    Membership::new(vec![BTreeSet::from_iter(ids.iter().copied())], nodes).expect("voters that are nodes")
}

fn log(purged: Option<u64>, last: Option<u64>, at_mark: Option<LogId>) -> LogContents {
    let id = |index| log_id(1, 1, index);
    LogContents { voted: true, purged: purged.map(id), last: last.map(id), at_mark }
}

fn marked(index: u64) -> StoreContents {
    let membership = StoredMembership::new(Some(log_id(0, 1, 0)), members(&[1]));
    StoreContents { mark: Mark { last: Some(log_id(1, 1, index)), membership }, strays: false }
}

fn one_of_three(index: u64) -> StoreContents {
    let mut found = marked(index);
    found.mark.membership = StoredMembership::new(Some(log_id(0, 1, 0)), members(&[1, 2, 3]));
    found
}

/// What [`decide`] has to say: what to do, or words of the refusal.
type Decision = std::result::Result<Start, &'static [&'static str]>;

#[test]
fn each_row_is_decided_as_the_table_says() {
    let (gone, empty) = (LogContents::default(), StoreContents::default());
    let strays = StoreContents { strays: true, ..StoreContents::default() };
    let founded = LogContents { last: Some(log_id(0, 1, 0)), ..LogContents::default() };
    let nine = Some(log_id(1, 1, 9));
    let cases: Vec<(&str, LogContents, StoreContents, Decision)> = vec![
        ("T1: nothing, nothing", gone.clone(), empty.clone(), Ok(Start::New)),
        ("T2: nothing, a mark", gone.clone(), marked(9), Err(&["entry 9", "the log is gone"])),
        ("T3: nothing, rows without a mark", gone, strays.clone(), Err(&["has rows", "the log is gone"])),
        ("T4: only the founding entry, nothing", founded, empty.clone(), Ok(Start::Apply)),
        ("T5: from entry 0, nothing", log(None, Some(20), None), empty.clone(), Ok(Start::Apply)),
        (
            "T6: from entry 0, rows without a mark",
            log(None, Some(20), None),
            strays.clone(),
            Ok(Start::Cleared),
        ),
        ("T7: a vote alone, rows without a mark", log(None, None, None), strays.clone(), Ok(Start::Cleared)),
        ("T8: purged, nothing", log(Some(0), Some(20), None), empty, Err(&["empty", "after entry 0"])),
        (
            "T9: purged, rows without a mark",
            log(Some(5), Some(20), None),
            strays,
            Err(&["half", "after entry 5"]),
        ),
        (
            "T10: purged beyond the mark",
            log(Some(12), Some(20), None),
            marked(9),
            Err(&["entry 9", "after 12"]),
        ),
        ("T11: purged up to the mark", log(Some(9), Some(20), nine), marked(9), Ok(Start::Apply)),
        ("T12: reaching back beyond the mark", log(Some(5), Some(20), nine), marked(9), Ok(Start::Apply)),
        ("T13: ending at the mark", log(None, Some(9), nine), marked(9), Ok(Start::Apply)),
        (
            "T14: another entry at the mark",
            log(Some(5), Some(20), Some(log_id(2, 1, 9))),
            marked(9),
            Err(&["entry 9", "not the same"]),
        ),
        (
            "T15: ending before the mark, one member",
            log(Some(2), Some(7), None),
            marked(9),
            Err(&["entry 9", "the log ends at 7"]),
        ),
        (
            "T16: ending before the mark, several",
            log(Some(2), Some(7), None),
            one_of_three(9),
            Ok(Start::Apply),
        ),
    ];
    for (row, log, store, wanted) in cases {
        match (decide(&log, &store, 1), wanted) {
            (Ok(start), Ok(wanted)) => assert_eq!(start, wanted, "{row}"),
            (Err(error), Err(words)) => {
                let line = error.to_string();
                let complete = words.iter().chain(&["restore"]).all(|word| line.contains(word));
                assert!(complete && !line.contains('\n'), "{row}: {line}");
            }
            (other, _) => panic!("{row}: {other:?}"),
        }
    }
}

/// T17: a mark that does not parse.
#[test]
fn a_damaged_mark_is_refused_with_advice() {
    let kv = MemoryKv::new();
    put(&kv, APPLIED, b"\x01junk");
    let line = StoreContents::of(&kv.snapshot()).expect_err("refused").to_string();
    assert!(line.contains("applied mark") && line.contains("restore"), "{line}");
}

fn put(kv: &MemoryKv, key: &[u8], value: &[u8]) {
    let mut batch = Batch::default();
    batch.put(key, value);
    kv.write(batch).expect("writes");
}

fn create_bucket(number: u8) -> Command {
    let kind = CreateBucket { name: format!("b{number}"), owner: "o".to_owned() };
    Command::new([number; 16], 1, Kind::CreateBucket(kind))
}

/// Starts a node of one core, creates some buckets, and stops it. Returns its buckets, or why it did not start.
fn start(folder: &Path, kv: &Arc<MemoryKv>, create: u8, may_found: bool) -> Result<Vec<u8>> {
    let on_fatal = Arc::new(|why: &str| panic!("{why}"));
    let mut config = GroupConfig::new(1, folder.join("raft"), DiskSpace::new(folder), 1, on_fatal);
    config.wal.segment_bytes = 256 << 10;
    let (node, mut cores) = assemble(config, kv.clone())?;
    let seeds = Arc::new(Mutex::new(Some((node, cores.remove(0)))));
    let outcome = Arc::new(Mutex::new(None));
    let (result, home) = (outcome.clone(), folder.to_owned());
    let executors = run_executors(1, move |_| {
        let (seeds, result, home) = (seeds.clone(), result.clone(), home.clone());
        async move {
            let (node, metadata) = seeds.lock().expect("lock").take().expect("one core");
            let bytes = Home::open(&DiskSpace::new(&home), 0).await.expect("store");
            let metadata = metadata.start(1, bytes.clone());
            let refusal = Error::Refused("blobs are there".to_owned());
            let may_found = async move { if may_found { Ok(()) } else { Err(refusal) } };
            let ended = match node.start(may_found).await {
                Err(error) => Err(error),
                Ok(node) => {
                    for number in 0..create {
                        metadata.commit(create_bucket(number)).await.expect("commits");
                    }
                    let mut buckets = Vec::new();
                    for number in 0..20 {
                        let found = metadata.bucket(&format!("b{number}")).await.expect("reads");
                        buckets.extend(found.map(|_| number));
                    }
                    node.stop().await.map(|()| buckets)
                }
            };
            *result.lock().expect("lock") = Some(ended);
            bytes.close().await;
        }
    });
    executors.expect("starts").join().expect("no core fails");
    let result = outcome.lock().expect("lock").take();
    result.expect("the core has ended")
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("temporary directory")
}

#[test]
fn a_half_replaced_store_is_rebuilt_from_the_log() {
    let (folder, kv) = (folder(), Arc::new(MemoryKv::new()));
    assert_eq!(start(folder.path(), &kv, 3, true), Ok(vec![0, 1, 2]));
    // An interrupted replacement leaves some rows of another state, and no mark.
    let half = Arc::new(MemoryKv::new());
    for number in 5..9 {
        let record =
            kv.snapshot().get(&crate::key::bucket("b0").expect("name")).expect("reads").expect("is there");
        put(&half, &crate::key::bucket(&format!("b{number}")).expect("name"), &record);
    }
    assert_eq!(start(folder.path(), &half, 0, true), Ok(vec![0, 1, 2]), "no stray row is left");
    assert!(StoreContents::of(&half.snapshot()).expect("reads").mark.last.is_some());
}

#[test]
fn a_lost_log_or_store_is_refused_every_time_without_a_write() {
    let (folder, kv) = (folder(), Arc::new(MemoryKv::new()));
    start(folder.path(), &kv, 2, true).expect("starts");
    std::fs::rename(folder.path().join("raft"), folder.path().join("kept")).expect("renames");
    for _ in 0..2 {
        let line = start(folder.path(), &kv, 0, true).expect_err("refused").to_string();
        assert!(line.contains("the log is gone"), "{line}");
    }
    std::fs::remove_dir_all(folder.path().join("raft")).expect("removes");
    std::fs::rename(folder.path().join("kept"), folder.path().join("raft")).expect("renames");
    assert_eq!(start(folder.path(), &kv, 0, true), Ok(vec![0, 1]));
}

/// A node whose log and store were both gone founded a new group. The sweep then deleted all of its blobs, because
/// nothing referred to them.
#[test]
fn a_group_is_not_founded_without_permission() {
    let (folder, kv) = (folder(), Arc::new(MemoryKv::new()));
    for _ in 0..2 {
        let line = start(folder.path(), &kv, 0, false).expect_err("refused").to_string();
        assert!(line.contains("blobs are there"), "{line}");
    }
    assert_eq!(start(folder.path(), &kv, 1, true), Ok(vec![0]));
}

#[test]
fn a_group_with_only_its_founding_entry_durable_gets_a_leader() {
    let (folder, kv) = (folder(), Arc::new(MemoryKv::new()));
    block_on(async {
        let mut config =
            crate::wal::WalConfig::new(folder.path().join("raft"), DiskSpace::new(folder.path()));
        config.segment_bytes = 256 << 10;
        let wal = Wal::open(config, |why| panic!("{why}")).await.expect("opens");
        let founding = Entry { log_id: log_id(0, 1, 0), payload: Payload::Membership(members(&[1])) };
        wal.append([founding], IOFlushed::noop()).expect("appends");
        wal.close().await.expect("closes");
    })
    .expect("executor");
    assert_eq!(start(folder.path(), &kv, 1, false), Ok(vec![0]));
}
