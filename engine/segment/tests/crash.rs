//! A test for each row of the tables in `open.rs` and `recovery.rs`, on real files.

use super::*;
use crate::format::{PAGE_BYTES, SegmentHeader};

async fn fill(store: &Store, ids: std::ops::Range<u64>) {
    for n in ids {
        put(store, n, 2000).await;
    }
}

async fn all(store: &Store, ids: impl Iterator<Item = u64>) {
    for n in ids {
        expect(store, n, 2000).await;
    }
}

/// Where the header of a blob's record lies.
fn record(store: &Store, n: u64) -> (u32, u64) {
    let at = store.locate(id(n), 0).expect("placed")[0];
    (at.segment, at.offset - HEADER_BYTES as u64)
}

#[test]
fn a_torn_last_batch_is_cut_and_its_place_written_again() {
    run(async |data| {
        let store = open(data).await;
        fill(&store, 0..5).await;
        let (segment, at) = record(&store, 4);
        store.shutdown().await;
        scribble(data, Class::Log, segment, at + 1000, b"torn").await;
        let store = open(data).await;
        assert_eq!((store.report().torn_tails, store.report().damaged), (1, 0));
        assert_eq!(get(&store, 4).await, None);
        all(&store, 0..4).await;
        fill(&store, 10..11).await;
        assert_eq!(record(&store, 10), (segment, at), "goes on where it was cut");
        let store = reopen(store, data).await;
        assert_eq!((store.report().torn_tails, store.report().damaged), (0, 0));
        all(&store, (0..4).chain(10..11)).await;
        store.shutdown().await;
    });
}

#[test]
fn a_last_batch_without_its_first_page_is_the_end() {
    run(async |data| {
        let store = open(data).await;
        fill(&store, 0..3).await;
        put(&store, 3, 20_000).await;
        let (segment, at) = record(&store, 3);
        store.shutdown().await;
        scribble(data, Class::Log, segment, at, &[0; PAGE_BYTES]).await;
        let store = open(data).await;
        assert_eq!((store.report().damaged, get(&store, 3).await), (0, None));
        fill(&store, 4..6).await;
        let store = reopen(store, data).await;
        all(&store, (0..3).chain(4..6)).await;
        assert_eq!(store.report().damaged, 0);
        store.shutdown().await;
    });
}

#[test]
fn a_rotten_record_before_others_is_reported_and_the_others_are_kept() {
    for (inside, what) in [(500, Corrupt::Body), (20, Corrupt::Header)] {
        run(async |data| {
            let store = open(data).await;
            fill(&store, 0..6).await;
            let (segment, at) = record(&store, 2);
            store.shutdown().await;
            scribble(data, Class::Log, segment, at + inside, b"rot").await;
            for _ in 0..2 {
                let store = open(data).await;
                let report = store.report();
                assert_eq!((report.damaged, report.torn_tails), (1, 0));
                assert_eq!((report.damage[0].segment, report.damage[0].offset), (segment, at));
                assert_eq!(report.damage[0].what, what);
                assert_eq!(get(&store, 2).await, None);
                all(&store, (0..2).chain(3..6)).await;
                assert_eq!(stage(&store, segment), Some(Stage::Damaged), "left for repair, at each start");
                store.shutdown().await;
            }
        });
    }
}

#[test]
fn one_rotten_record_in_a_batch_costs_only_itself() {
    for inside in [500, 20] {
        run(async |data| {
            let store = open(data).await;
            let tasks: Vec<_> = (0..10)
                .map(|n| {
                    let store = store.clone();
                    io::spawn(async move {
                        put(&store, n, 2000).await;
                    })
                })
                .collect();
            for task in tasks {
                task.await;
            }
            fill(&store, 10..11).await;
            let (segment, at) = record(&store, 5);
            store.shutdown().await;
            scribble(data, Class::Log, segment, at + inside, b"rot").await;
            let store = open(data).await;
            assert_eq!(store.report().damaged, 1);
            assert_eq!(get(&store, 5).await, None);
            all(&store, (0..5).chain(6..11)).await;
            store.shutdown().await;
        });
    }
}

#[test]
fn a_record_of_a_later_version_refuses_the_start() {
    run(async |data| {
        let store = open(data).await;
        fill(&store, 0..3).await;
        let (segment, at) = record(&store, 1);
        let generation = store.shared().state.borrow().logs.get(segment).expect("known").generation;
        store.shutdown().await;
        let file = File::open(&segment_path(data, 3, Class::Log, segment)).await.expect("open");
        let page = file.read_at(at, PAGE_BYTES).await.expect("read");
        let mut header = page[..HEADER_BYTES].to_vec();
        header[4] = 2;
        let salt = crate::format::Salt { segment, generation };
        crate::format::Header::put_in_batch(&mut header, salt, 2, PAGE_BYTES as u32);
        scribble(data, Class::Log, segment, at, &header).await;
        assert!(matches!(Store::open(config(data)).await, Err(Error::Unsupported(_))));
    });
}

#[test]
fn a_segment_whose_first_page_is_lost_is_reported_and_never_reused() {
    run(async |data| {
        let store = open(data).await;
        fill(&store, 0..3).await;
        let (segment, _) = record(&store, 0);
        store.shutdown().await;
        scribble(data, Class::Log, segment, 10, b"rot").await;
        let store = open(data).await;
        assert_eq!(store.report().damaged, 1);
        assert_eq!(stage(&store, segment), Some(Stage::Damaged));
        fill(&store, 5..8).await;
        reclaim_all(&store).await;
        assert!(io::file_exists(&segment_path(data, 3, Class::Log, segment)));
        store.shutdown().await;
    });
}

#[test]
fn a_segment_with_a_footer_is_opened_by_it_and_without_it_by_its_records() {
    for damage in [None, Some(0), Some(200_000)] {
        run(async |data| {
            let store = open(data).await;
            fill(&store, 0..80).await;
            store.delete(&[id(1)]).await.expect("delete");
            reclaim_all(&store).await;
            let (segment, _) = record(&store, 0);
            store.shutdown().await;
            let length = config(data).log_segment_bytes;
            // Of the trailer, or of the entries behind the batches.
            match damage {
                Some(0) => scribble(data, Class::Log, segment, length - 4096 + 30, b"rot").await,
                Some(_) => {
                    let file = File::open(&segment_path(data, 3, Class::Log, segment)).await.expect("open");
                    let page = file.read_at(length - 4096, 4096).await.expect("read");
                    let offset = u64::from_le_bytes(page[24..32].try_into().expect("eight"));
                    scribble(data, Class::Log, segment, offset + 50, b"rot").await;
                }
                None => {}
            }
            let store = open(data).await;
            let report = store.report();
            assert_eq!(report.damaged, u64::from(damage.is_some()), "{report:?}");
            assert_eq!((report.from_footer, report.scanned >= 1), (usize::from(damage.is_none()), true));
            all(&store, (0..1).chain(2..80)).await;
            assert_eq!(get(&store, 1).await, None);
            store.shutdown().await;
        });
    }
}

#[test]
fn an_earlier_segment_without_a_footer_gets_one() {
    run(async |data| {
        let store = open(data).await;
        fill(&store, 0..3).await;
        store.shared().fail.set(Some(Fail::Sync));
        let bytes = body(9, 100);
        assert!(store.append_blob(blob(9), &[&bytes]).await.is_err());
        fill(&store, 3..6).await;
        let (first, _) = record(&store, 0);
        let store = reopen(store, data).await;
        until(|| stage(&store, first) == Some(Stage::Sealed)).await;
        let store = reopen(store, data).await;
        assert_eq!((store.report().from_footer, store.report().scanned), (1, 2), "one more is empty");
        all(&store, 0..6).await;
        store.shutdown().await;
    });
}

#[test]
fn half_made_files_are_removed_and_free_ones_kept_if_they_fit() {
    run(async |data| {
        let store = open(data).await;
        fill(&store, 0..3).await;
        store.shutdown().await;
        let folder = core_dir(data, 3);
        for (name, length) in
            [("new-00000100.seg", 8192), ("free-00000101.seg", 8192), ("free-00000102.seg", 256 << 10)]
        {
            let file = File::create(&folder.join(name)).await.expect("create");
            file.truncate(length).await.expect("truncate");
        }
        let store = open(data).await;
        assert!(!io::file_exists(&folder.join("new-00000100.seg")));
        assert!(!io::file_exists(&folder.join("free-00000101.seg")));
        assert_eq!(store.stats().free_log_segments, 1);
        assert!(store.shared().next_id.get() > 0x102, "ids are never used twice");
        all(&store, 0..3).await;
        store.shutdown().await;
    });
}

#[test]
fn bytes_of_an_earlier_use_of_a_file_are_not_taken_for_records() {
    run(async |data| {
        let store = open(data).await;
        fill(&store, 0..90).await;
        store.delete(&(0..90).map(id).collect::<Vec<_>>()).await.expect("delete");
        reclaim_all(&store).await;
        fill(&store, 100..330).await;
        let generations: Vec<u32> =
            store.shared().state.borrow().logs.iter().map(|(_, segment)| segment.generation).collect();
        assert!(generations.iter().any(|generation| *generation > 1), "{generations:?}");
        let store = reopen(store, data).await;
        assert_eq!(store.report().damaged, 0);
        assert_eq!(store.stats().index_entries, 230);
        all(&store, 100..330).await;
        store.shutdown().await;
    });
}

#[test]
fn a_crash_between_copying_and_freeing_leaves_no_blob_that_comes_back() {
    run(async |data| {
        let store = open(data).await;
        fill(&store, 0..100).await;
        let (first, _) = record(&store, 0);
        until(|| stage(&store, first) == Some(Stage::Sealed)).await;
        let path = segment_path(data, 3, Class::Log, first);
        let kept = data.join("kept");
        std::fs::copy(&path, &kept).expect("copy");
        // All but blob 0 of the first segment die; it is rewritten and freed, then the crash is staged: the old
        // segment is there again.
        let in_first: Vec<DataId> = (1..100).filter(|n| record(&store, *n).0 == first).map(id).collect();
        store.delete(&in_first).await.expect("delete");
        reclaim_all(&store).await;
        assert_ne!(record(&store, 0).0, first);
        store.shutdown().await;
        std::fs::copy(&kept, &path).expect("copy");
        let store = open(data).await;
        expect(&store, 0, 2000).await;
        for id in &in_first {
            assert_eq!(store.locate(*id, 0), Err(Error::NotFound));
        }
        // Deleting blob 0 now must reach the old copy, too, also once the copy's own segment is gone.
        store.delete(&[id(0)]).await.expect("delete");
        let rest: Vec<DataId> = (1..100).map(id).collect();
        store.delete(&rest).await.expect("delete");
        fill(&store, 200..260).await;
        reclaim_all(&store).await;
        let store = reopen(store, data).await;
        assert_eq!(get(&store, 0).await, None);
        all(&store, 200..260).await;
        store.shutdown().await;
    });
}

#[test]
fn a_lost_extent_segment_is_reported_and_its_blobs_fail_rather_than_vanish() {
    run(async |data| {
        let store = open(data).await;
        put_large(&store, 1, 2, 70_000).await;
        let segment = store.locate(id(1), 0).expect("placed")[0].segment;
        store.shutdown().await;
        io::remove_file(&segment_path(data, 3, Class::Extent, segment)).await.expect("remove");
        let store = open(data).await;
        assert_eq!(store.report().damaged, 2);
        let places = store.locate(id(1), 0).expect("still indexed");
        assert!(store.shared().files.read(3, &places[0]).await.is_err());
        put_large(&store, 2, 2, 70_000).await;
        store.delete(&[id(1)]).await.expect("delete");
        let store = reopen(store, data).await;
        assert_eq!(store.report().damaged, 0);
        assert_eq!(get(&store, 2).await.map(|bytes| bytes.len()), Some(140_000));
        store.shutdown().await;
    });
}

#[test]
fn a_publish_that_a_later_one_overlaps_is_dropped() {
    run(async |data| {
        let store = open(data).await;
        let at = store.reserve(8192).await.expect("reserve");
        write_extent(&store, at, &body(1, 8000)).await;
        store.shared().fail.set(Some(Fail::Sync));
        assert!(store.publish(&[PublishItem { blob: blob(1), at, length: 8000 }]).await.is_err());
        // Its record is on disk; give the place to another, as no process would within one life.
        assert!(store.release(at));
        assert_eq!(store.reserve(8192).await, Ok(at));
        write_extent(&store, at, &body(2, 8000)).await;
        store.publish(&[PublishItem { blob: blob(2), at, length: 8000 }]).await.expect("publish");
        let store = reopen(store, data).await;
        assert_eq!(get(&store, 1).await, None);
        expect(&store, 2, 8000).await;
        store.shutdown().await;
    });
}

#[test]
fn a_segment_of_another_core_or_name_is_not_taken() {
    run(async |data| {
        let store = open(data).await;
        fill(&store, 0..3).await;
        let (segment, _) = record(&store, 0);
        store.shutdown().await;
        let header = SegmentHeader { segment, generation: 1, core: 2, length: 256 << 10, created_ms: 0 };
        scribble(data, Class::Log, segment, 0, &header.encode()).await;
        let store = open(data).await;
        assert_eq!(store.report().damage[0].what, Corrupt::Field("segment id"));
        store.shutdown().await;
    });
}
