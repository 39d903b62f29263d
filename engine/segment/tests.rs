use super::log::Fail;
use super::logs::Stage;
use super::*;
use crate::buf::Buf;
use crate::error::{Corrupt, Error};
use crate::format::{BlobHeader, HEADER_BYTES};
use crate::ids::{DataId, IdGenerator};
use crate::io::{self, File, block_on};
use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;

/// Runs a test on its own data folder.
pub(super) fn run(test: impl AsyncFnOnce(&Path)) {
    let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("temporary directory");
    block_on(test(directory.path())).expect("executor");
}

fn config(data: &Path) -> Config {
    Config {
        log_segment_bytes: 256 << 10,
        extent_segment_bytes: 4 << 20,
        extent_growth_bytes: 1 << 20,
        free_log_segments: 2,
        kept_free_extent_bytes: 1 << 20,
        reserve_bytes: 0,
        background: false,
        ..Config::new(&io::DiskSpace::new(data), 3)
    }
}

async fn open(data: &Path) -> Store {
    Store::open(config(data)).await.expect("open")
}

async fn reopen(store: Store, data: &Path) -> Store {
    store.shutdown().await;
    drop(store);
    open(data).await
}

fn id(n: u64) -> DataId {
    DataId(IdGenerator::new().next(n + 1, u128::from(n)))
}

fn blob(n: u64) -> BlobHeader {
    BlobHeader { data_id: id(n), k: 1, last: true, blocks: 1, payload_bytes: n, ..BlobHeader::default() }
}

fn body(n: u64, length: usize) -> Vec<u8> {
    (0..length).map(|at| (n as usize * 31 + at * 7) as u8).collect()
}

async fn put(store: &Store, n: u64, length: usize) -> Location {
    store.append_blob(blob(n), &[&body(n, length)]).await.expect("append")
}

async fn get(store: &Store, n: u64) -> Option<Vec<u8>> {
    let places = match store.locate(id(n), 0) {
        Ok(places) => places,
        Err(Error::NotFound) => return None,
        Err(error) => panic!("{error}"),
    };
    assert!(store.pin(&places));
    let files = &store.shared().files;
    let mut out = Vec::new();
    for place in &places {
        out.extend_from_slice(&files.read(3, place).await.expect("read"));
    }
    store.unpin(&places);
    Some(out)
}

async fn expect(store: &Store, n: u64, length: usize) {
    assert_eq!(get(store, n).await.as_deref(), Some(&body(n, length)[..]), "blob {n}");
}

async fn put_large(store: &Store, n: u64, extents: usize, length: usize) {
    let mut items = Vec::new();
    for extent in 0..extents {
        let at = store.reserve(length as u64).await.expect("reserve");
        write_extent(store, at, &body(n, length)).await;
        let blob = BlobHeader { extent: extent as u16, last: extent + 1 == extents, ..blob(n) };
        items.push(PublishItem { blob, at, length: length as u32 });
    }
    store.publish(&items).await.expect("publish");
}

async fn write_extent(store: &Store, at: Reservation, bytes: &[u8]) {
    let file = store.shared().files.get(3, Class::Extent, at.segment).await.expect("extent file");
    let mut buf = Buf::with_capacity(at.length as usize);
    buf.extend_from_slice(bytes);
    buf.pad_to(4096);
    file.write_at(buf, at.offset).await.expect("write");
    file.sync_data().await.expect("sync");
}

/// Overwrites bytes of a segment's file.
async fn scribble(data: &Path, class: Class, segment: u32, at: u64, bytes: &[u8]) {
    let file = File::open(&segment_path(data, 3, class, segment)).await.expect("open");
    let page = io::align_down(at);
    let start = (at - page) as usize;
    let old = file.read_at(page, io::align_up((start + bytes.len()) as u64) as usize).await.expect("read");
    let mut buf = Buf::with_capacity(old.len());
    buf.extend_from_slice(&old);
    buf[start..start + bytes.len()].copy_from_slice(bytes);
    file.write_at(buf, page).await.expect("write");
}

fn stage(store: &Store, segment: u32) -> Option<Stage> {
    store.shared().state.borrow().logs.get(segment).map(|segment| segment.stage)
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        io::yield_now().await;
    }
}

async fn reclaim_all(store: &Store) {
    let sealing = |store: &Store| {
        store.shared().state.borrow().logs.iter().any(|(_, segment)| segment.stage == Stage::Sealing)
    };
    until(|| !sealing(store)).await;
    while store.reclaim().await.expect("reclaim") {}
}

/// S12: the active segment.
#[test]
fn blobs_and_extents_read_back_at_once_and_after_a_restart() {
    run(async |data| {
        let store = open(data).await;
        for n in 0..20 {
            put(&store, n, 100 + 997 * n as usize).await;
        }
        put_large(&store, 50, 3, 70_000).await;
        for round in 0..2 {
            for n in 0..20 {
                expect(&store, n, 100 + 997 * n as usize).await;
            }
            assert_eq!(get(&store, 50).await.expect("large").len(), 210_000, "round {round}");
            assert_eq!(get(&store, 99).await, None);
            if round == 0 {
                let again = reopen(store.clone(), data).await;
                assert_eq!(again.report().damaged, 0);
                assert_eq!(again.stats().index_entries, 23);
                put(&again, 20, 5).await;
                expect(&again, 20, 5).await;
                again.shutdown().await;
            }
        }
    });
}

#[test]
fn concurrent_writers_share_a_sync_and_parts_are_joined() {
    run(async |data| {
        let store = open(data).await;
        put(&store, 1000, 10).await;
        let before = store.stats();
        let tasks: Vec<_> = (0..64)
            .map(|n| {
                let store = store.clone();
                io::spawn(async move {
                    let whole = body(n, 1000);
                    store.append_blob(blob(n), &[&whole[..10], &whole[10..]]).await.expect("append");
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        let stats = store.stats();
        assert_eq!(stats.records - before.records, 64);
        assert!(stats.batches - before.batches <= 4, "{stats:?}");
        for n in 0..64 {
            expect(&store, n, 1000).await;
        }
        store.shutdown().await;
    });
}

#[test]
fn an_append_whose_caller_went_away_is_still_finished() {
    run(async |data| {
        let store = open(data).await;
        let bytes = body(1, 500);
        let polled = futures_lite::future::poll_once(store.append_blob(blob(1), &[&bytes])).await;
        assert!(polled.is_none(), "no disk completes at once");
        until(|| store.locate(id(1), 0).is_ok()).await;
        expect(&store, 1, 500).await;
        store.shutdown().await;
        assert!(matches!(store.append_blob(blob(2), &[&bytes]).await, Err(Error::Closed)));
    });
}

#[test]
fn deleted_blobs_stay_deleted_after_a_restart() {
    run(async |data| {
        let store = open(data).await;
        for n in 0..10 {
            put(&store, n, 3000).await;
        }
        put_large(&store, 50, 2, 70_000).await;
        store.delete(&[id(3), id(50), id(777)]).await.expect("delete");
        assert_eq!((get(&store, 3).await, get(&store, 50).await), (None, None));
        let store = reopen(store, data).await;
        assert_eq!((get(&store, 3).await, get(&store, 50).await), (None, None));
        expect(&store, 4, 3000).await;
        assert_eq!(store.stats().index_entries, 9);
        assert_eq!(store.stats().extent_live_bytes, 0);
        store.shutdown().await;
    });
}

#[test]
fn full_segments_are_sealed_rewritten_when_mostly_dead_and_reused() {
    run(async |data| {
        let store = open(data).await;
        for n in 0..200 {
            put(&store, n, 5000).await;
        }
        assert!(store.stats().log_segments >= 4);
        let dead: Vec<DataId> = (0..200).filter(|n| n % 10 != 0).map(id).collect();
        store.delete(&dead).await.expect("delete");
        reclaim_all(&store).await;
        let stats = store.stats();
        assert!(stats.compactions >= 3 && stats.log_segments <= 3, "{stats:?}");
        assert_eq!(stats.free_log_segments, 2);
        for n in 1000..1100 {
            put(&store, n, 5000).await;
        }
        let store = reopen(store, data).await;
        assert_eq!(store.report().damaged, 0);
        for n in 0..200 {
            match n % 10 {
                0 => expect(&store, n, 5000).await,
                _ => assert_eq!(get(&store, n).await, None, "blob {n}"),
            }
        }
        for n in 1000..1100 {
            expect(&store, n, 5000).await;
        }
        store.shutdown().await;
    });
}

#[test]
fn a_rewritten_segment_keeps_tombstones_until_the_older_segments_of_their_blobs_are_gone() {
    run(async |data| {
        let store = open(data).await;
        // The first segment stays more than half live, and holds one blob that is deleted later.
        for n in 0..40 {
            put(&store, n, 5000).await;
        }
        let first = store.locate(id(0), 0).expect("placed")[0].segment;
        let second = put(&store, 40, 60_000).await.segment;
        assert_ne!(first, second);
        store.delete(&[id(0)]).await.expect("delete");
        // The second, which holds the tombstone, dies and is rewritten.
        for n in 41..50 {
            put(&store, n, 60_000).await;
        }
        store.delete(&(40..50).map(id).collect::<Vec<_>>()).await.expect("delete");
        reclaim_all(&store).await;
        assert_eq!(stage(&store, second), None, "rewritten");
        assert_eq!(stage(&store, first), Some(Stage::Sealed));
        let store = reopen(store, data).await;
        assert_eq!(get(&store, 0).await, None, "the delete outlived its segment");
        expect(&store, 1, 5000).await;
        // Once the first segment is gone, no tombstone is needed any more.
        store.delete(&(1..40).map(id).collect::<Vec<_>>()).await.expect("delete");
        for n in 60..66 {
            put(&store, n, 60_000).await;
        }
        reclaim_all(&store).await;
        assert_eq!(stage(&store, first), None);
        let store = reopen(store, data).await;
        for n in 0..50 {
            assert_eq!(get(&store, n).await, None, "blob {n}");
        }
        let live: u64 = 3 * 60_096;
        assert!(store.stats().log_live_bytes >= live);
        store.shutdown().await;
    });
}

#[test]
fn a_pinned_segment_and_a_pinned_extent_are_not_reused_until_unpinned() {
    run(async |data| {
        let store = open(data).await;
        for n in 0..50 {
            put(&store, n, 5000).await;
        }
        put_large(&store, 100, 1, 70_000).await;
        let small = store.locate(id(1), 0).expect("small");
        let large = store.locate(id(100), 0).expect("large");
        assert!(store.pin(&small) && store.pin(&large));
        store.delete(&(0..50).chain([100]).map(id).collect::<Vec<_>>()).await.expect("delete");
        for n in 200..250 {
            put(&store, n, 5000).await;
        }
        reclaim_all(&store).await;
        assert_eq!(stage(&store, small[0].segment), Some(Stage::Dead));
        let files = &store.shared().files;
        assert_eq!(&*files.read(3, &small[0]).await.expect("read"), &body(1, 5000)[..]);
        let other = store.reserve(70_000).await.expect("reserve");
        assert_ne!(other.offset, large[0].offset);
        store.unpin(&small);
        store.unpin(&large);
        reclaim_all(&store).await;
        assert_eq!(stage(&store, small[0].segment), None);
        assert_eq!(store.reserve(70_000).await.expect("reserve").offset, large[0].offset);
        assert!(!store.pin(&small), "gone");
        store.shutdown().await;
    });
}

/// S19: space that nothing claims.
#[test]
fn reservations_are_freed_by_a_release_and_by_a_restart_and_a_short_extent_frees_its_rest() {
    run(async |data| {
        let store = open(data).await;
        let first = store.reserve(500_000).await.expect("reserve");
        assert!(store.release(first) && !store.release(first));
        assert_eq!(store.reserve(500_000).await.expect("reserve"), first);
        let store = reopen(store, data).await;
        let again = store.reserve(500_000).await.expect("reserve");
        assert_eq!(again, first);
        write_extent(&store, again, &body(5, 5000)).await;
        let item = PublishItem { blob: blob(5), at: again, length: 5000 };
        store.publish(&[item]).await.expect("publish");
        assert!(matches!(store.publish(&[item]).await, Err(Error::Invalid(_))), "no longer reserved");
        assert_eq!(store.reserve(4096).await.expect("reserve").offset, again.offset + 8192);
        expect(&store, 5, 5000).await;
        let store = reopen(store, data).await;
        expect(&store, 5, 5000).await;
        assert_eq!(store.stats().extent_live_bytes, 8192);
        store.shutdown().await;
    });
}

#[test]
fn extents_beyond_what_is_kept_are_punched_out_and_reused() {
    run(async |data| {
        let store = open(data).await;
        for n in 0..4 {
            put_large(&store, n, 1, 1 << 20).await;
        }
        store.delete(&(0..4).map(id).collect::<Vec<_>>()).await.expect("delete");
        assert!(store.reclaim().await.expect("reclaim"));
        assert_eq!(store.shared().state.borrow().extents.backed_bytes(), 1 << 20);
        assert_eq!(store.stats().extent_free_bytes, 4 << 20);
        for n in 10..14 {
            put_large(&store, n, 1, 1 << 20).await;
        }
        assert_eq!(store.stats().extent_segments, 1);
        for n in 10..14 {
            expect(&store, n, 1 << 20).await;
        }
        store.shutdown().await;
    });
}

#[test]
fn a_failed_write_or_sync_fails_its_writers_and_the_next_batch_goes_to_a_new_segment() {
    run(async |data| {
        let store = open(data).await;
        for (round, fail) in [Fail::Sync, Fail::Write].into_iter().enumerate() {
            let round = 10 * round as u64;
            let before = put(&store, round, 1000).await.segment;
            store.shared().fail.set(Some(fail));
            let bytes = body(round + 1, 1000);
            let failed = store.append_blob(blob(round + 1), &[&bytes]).await;
            assert!(matches!(failed, Err(Error::Io { .. })), "{failed:?}");
            assert_eq!(get(&store, round + 1).await, None);
            assert_eq!(stage(&store, before), Some(Stage::Unsealed));
            let after = put(&store, round + 2, 1000).await.segment;
            assert_ne!(before, after);
        }
        assert_eq!(store.stats().failed_batches, 2);
        let store = reopen(store, data).await;
        assert_eq!(store.report().damaged, 0);
        for n in [0, 2, 10, 12] {
            expect(&store, n, 1000).await;
        }
        assert_eq!(get(&store, 11).await, None, "never written");
        store.shutdown().await;
    });
}

/// The node called such an end clean, and no later start swept.
#[test]
fn a_store_knows_that_a_failed_batch_may_have_left_blobs() {
    run(async |data| {
        let store = open(data).await;
        put(&store, 1, 1000).await;
        assert!(!store.may_hold_leftovers());
        store.shared().fail.set(Some(Fail::Sync));
        store.append_blob(blob(2), &[&body(2, 1000)]).await.expect_err("injected");
        assert!(store.may_hold_leftovers());
        let store = reopen(store, data).await;
        expect(&store, 2, 1000).await;
        assert!(!store.may_hold_leftovers());
        store.shutdown().await;
    });
}

#[test]
fn a_failed_publish_keeps_its_reservation_taken_since_its_record_may_come_back() {
    run(async |data| {
        let store = open(data).await;
        let at = store.reserve(8192).await.expect("reserve");
        store.shared().fail.set(Some(Fail::Sync));
        let failed = store.publish(&[PublishItem { blob: blob(1), at, length: 8000 }]).await;
        assert!(matches!(failed, Err(Error::Io { .. })), "{failed:?}");
        assert_ne!(store.reserve(8192).await.expect("reserve").offset, at.offset);
        store.shutdown().await;
    });
}

/// A retry used to find nothing in the index, write no tombstone and report that everything was gone. The blobs came
/// back at the next start, and the space of their extents stayed taken.
#[test]
fn a_failed_delete_is_completed_by_a_retry() {
    run(async |data| {
        let store = open(data).await;
        put(&store, 1, 3000).await;
        put_large(&store, 2, 1, 70_000).await;
        let place = store.locate(id(2), 0).expect("placed")[0];
        for _ in 0..2 {
            store.shared().fail.set(Some(Fail::Write));
            let failed = store.delete(&[id(1), id(2)]).await;
            assert!(matches!(failed, Err(Error::Io { .. })), "{failed:?}");
            assert_eq!((get(&store, 1).await, get(&store, 2).await), (None, None));
        }
        let between = store.reserve(70_000).await.expect("reserve");
        assert_ne!(between.offset, place.offset, "taken while the blob may come back");
        assert!(store.release(between));
        store.delete(&[id(1), id(2)]).await.expect("delete");
        let freed = store.reserve(70_000).await.expect("reserve");
        assert_eq!((freed.segment, freed.offset), (place.segment, place.offset));
        let batches = store.stats().batches;
        store.delete(&[id(1), id(2)]).await.expect("delete");
        assert_eq!(store.stats().batches, batches, "nothing is left to delete");
        let store = reopen(store, data).await;
        assert_eq!((get(&store, 1).await, get(&store, 2).await), (None, None));
        assert_eq!(store.stats().extent_live_bytes, 0);
        store.shutdown().await;
    });
}

/// When the sync of the folder failed, the file had been renamed already. Later attempts found no file, and the core reclaimed
/// nothing until the next start.
#[test]
fn a_segment_whose_retirement_failed_is_retired_later_and_holds_up_no_other() {
    run(async |data| {
        let store = open(data).await;
        for n in 0..200 {
            put(&store, n, 5000).await;
        }
        store.delete(&(0..200).map(id).collect::<Vec<_>>()).await.expect("delete");
        let before = store.stats().log_segments;
        store.shared().fail_dir_sync.set(true);
        let sealing = || {
            let state = store.shared().state.borrow();
            state.logs.iter().any(|(_, segment)| segment.stage == Stage::Sealing)
        };
        until(|| !sealing()).await;
        let failed = store.reclaim().await;
        assert!(matches!(failed, Err(Error::Io { .. })), "{failed:?}");
        assert_eq!(store.stats().log_segments, before);
        reclaim_all(&store).await;
        let stats = store.stats();
        assert_eq!((stats.log_segments, stats.free_log_segments), (1, 2), "{stats:?}");
        put(&store, 300, 5000).await;
        let store = reopen(store, data).await;
        assert_eq!((store.report().damaged, store.stats().index_entries), (0, 1));
        store.shutdown().await;
    });
}

/// The mark of a shortage stayed when a segment could be had again. With the next one not prepared yet, new blobs were
/// refused on a disk with much room.
#[test]
fn the_log_is_not_short_of_segments_once_one_could_be_had() {
    run(async |data| {
        let store = open(data).await;
        put(&store, 1, 5000).await;
        store.shutdown().await;
        let full = Config { reserve_bytes: u64::MAX / 2, ..config(data) };
        let store = Store::open(full).await.expect("open");
        let shared = store.shared();
        let taken = shared.take_fresh().await.expect("one is prepared");
        while shared.take_fresh().await.is_ok() {}
        assert!(shared.pool.is_starved());
        shared.retire(taken.id, taken.length).await.expect("retire");
        shared.take_fresh().await.expect("the free one");
        assert!(!shared.pool.is_starved());
        store.shutdown().await;
    });
}

/// With sixteen tasks under way, a publisher ran the syncs of a segment by itself, for as long as others asked for more.
#[test]
fn background_tasks_never_run_in_their_caller_and_shutdown_waits_for_all() {
    run(async |data| {
        let store = open(data).await;
        let (done, gate) = (Rc::new(Cell::new(0)), io::Semaphore::new(1));
        let shut = gate.try_acquire(1);
        for n in 0..100 {
            let (done, gate) = (done.clone(), gate.clone());
            let task = async move {
                drop(gate.acquire(1).await);
                done.set(done.get() + 1);
            };
            let started = futures_lite::future::poll_once(store.shared().background(task)).await;
            assert!(started.is_some(), "task {n} runs in its caller");
        }
        let mut shutdown = std::pin::pin!(store.shutdown());
        assert!(futures_lite::future::poll_once(shutdown.as_mut()).await.is_none());
        drop(shut);
        shutdown.await;
        assert_eq!(done.get(), 100);
    });
}

#[test]
fn without_space_new_data_is_refused_and_deletes_free_space() {
    run(async |data| {
        let store = open(data).await;
        for n in 0..100 {
            put(&store, n, 5000).await;
        }
        put_large(&store, 500, 1, 900_000).await;
        store.shutdown().await;
        let full = Config { reserve_bytes: u64::MAX / 2, free_log_segments: 4, ..config(data) };
        let store = Store::open(full).await.expect("open");
        let bytes = body(1, 10);
        assert_eq!(store.append_blob(blob(1000), &[&bytes]).await, Err(Error::Full));
        assert_eq!(store.reserve(4096).await, Err(Error::Full));
        expect(&store, 5, 5000).await;
        store.delete(&(0..100).chain([500]).map(id).collect::<Vec<_>>()).await.expect("delete");
        assert_eq!(get(&store, 5).await, None);
        store.reserve(900_000).await.expect("freed by the delete");
        reclaim_all(&store).await;
        assert!(store.stats().free_log_segments >= 2);
        put(&store, 1000, 5000).await;
        store.shutdown().await;
    });
}

#[test]
fn a_sweep_deletes_unmarked_blobs_from_before_the_start() {
    run(async |data| {
        let store = open(data).await;
        for n in 0..20 {
            put(&store, n, 100).await;
        }
        store.shutdown().await;
        let store = open(data).await;
        for n in 20..30 {
            put(&store, n, 100).await;
        }
        for n in (0..20).step_by(3) {
            assert!(store.mark(id(n)));
        }
        assert_eq!(store.sweep_unmarked().await, Ok(13));
        for n in 0..30 {
            assert_eq!(get(&store, n).await.is_some(), n % 3 == 0 || n >= 20, "blob {n}");
        }
        store.shutdown().await;
    });
}

#[test]
fn damage_found_while_rewriting_is_reported_and_the_segment_is_left_alone() {
    run(async |data| {
        let store = open(data).await;
        for n in 0..60 {
            put(&store, n, 5000).await;
        }
        let rotten = store.locate(id(3), 0).expect("placed")[0];
        store.delete(&(4..45).map(id).collect::<Vec<_>>()).await.expect("delete");
        scribble(data, Class::Log, rotten.segment, rotten.offset + 100, b"rot").await;
        reclaim_all(&store).await;
        let report = store.report();
        assert_eq!((report.damaged, report.damage[0].data_id), (1, Some(id(3))));
        assert_eq!(report.damage[0].what, Corrupt::Body);
        assert_eq!(report.damage[0].offset, rotten.offset - HEADER_BYTES as u64);
        assert_eq!(stage(&store, rotten.segment), Some(Stage::Damaged));
        expect(&store, 2, 5000).await;
        store.shutdown().await;
    });
}

mod crash;
mod syncs;
