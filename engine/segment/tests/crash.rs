//! Tests for the rows of the tables in `open.rs` and `recovery.rs`, on real files.

use super::*;
use crate::format::{PAGE_BYTES, SegmentHeader};

async fn fill(store: &Store, ids: std::ops::Range<u64>) {
    for n in ids {
        put(store, n, 2000).await;
    }
}

async fn expect_all(store: &Store, ids: impl Iterator<Item = u64>) {
    for n in ids {
        expect(store, n, 2000).await;
    }
}

/// The place of the header of a blob's record.
fn record(store: &Store, n: u64) -> (u32, u64) {
    let at = store.locate(id(n), 0).expect("placed")[0];
    (at.segment, at.offset - HEADER_BYTES as u64)
}

#[test]
fn a_torn_last_batch_is_cut_off_and_its_place_is_rewritten() {
    run(async |data| {
        let store = open(data).await;
        fill(&store, 0..5).await;
        let (segment, at) = record(&store, 4);
        store.shutdown().await;
        scribble(data, Class::Log, segment, at + 1000, b"torn").await;
        let store = open(data).await;
        assert_eq!((store.report().torn_tails, store.report().damaged), (1, 0));
        assert_eq!(get(&store, 4).await, None);
        expect_all(&store, 0..4).await;
        fill(&store, 10..11).await;
        assert_eq!(record(&store, 10), (segment, at), "continues where it was cut off");
        let store = reopen(store, data).await;
        assert_eq!((store.report().torn_tails, store.report().damaged), (0, 0));
        expect_all(&store, (0..4).chain(10..11)).await;
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
        expect_all(&store, (0..3).chain(4..6)).await;
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
                expect_all(&store, (0..2).chain(3..6)).await;
                assert_eq!(stage(&store, segment), Some(Stage::Damaged), "left for repair at each start");
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
            expect_all(&store, (0..5).chain(6..11)).await;
            store.shutdown().await;
        });
    }
}

/// B8: a newer program's record.
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

/// S5: the first page does not verify.
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

/// Returns a sealed segment that holds blobs from 0 on, and the place of its footer. An active segment holds the rest
/// up to blob 80.
async fn sealed(data: &Path) -> (u32, u64) {
    let store = open(data).await;
    fill(&store, 0..80).await;
    store.delete(&[id(1)]).await.expect("delete");
    reclaim_all(&store).await;
    let (segment, _) = record(&store, 0);
    store.shutdown().await;
    let file = File::open(&segment_path(data, 3, Class::Log, segment)).await.expect("open");
    let page = file.read_at(config(data).log_segment_bytes - 4096, 4096).await.expect("read");
    (segment, u64::from_le_bytes(page[24..32].try_into().expect("eight")))
}

/// A crash while a segment was being sealed used to leave it damaged forever: it was never rewritten, and its space was
/// never freed.
#[test]
fn a_segment_is_loaded_from_its_footer_and_one_with_a_torn_footer_is_sealed_again() {
    #[derive(PartialEq)]
    enum Torn {
        Nothing,
        Trailer,
        Entries,
    }
    for (row, what) in [
        ("S8: a footer", Torn::Nothing),
        ("S9: a torn trailer", Torn::Trailer),
        ("S10: torn entries", Torn::Entries),
    ] {
        run(async |data| {
            let (segment, footer) = sealed(data).await;
            let trailer = config(data).log_segment_bytes - 4096;
            let torn = usize::from(what != Torn::Nothing);
            match what {
                Torn::Nothing => {}
                Torn::Trailer => scribble(data, Class::Log, segment, trailer + 30, b"torn").await,
                Torn::Entries => scribble(data, Class::Log, segment, footer + 50, b"torn").await,
            }
            for torn in [torn, 0] {
                let store = open(data).await;
                let report = store.report();
                assert_eq!((report.damaged, report.torn_footers), (0, torn), "{row}: {report:?}");
                assert_eq!((report.from_footer, report.scanned >= 1), (1 - torn, true), "{row}");
                until(|| stage(&store, segment) == Some(Stage::Sealed)).await;
                expect_all(&store, (0..1).chain(2..80)).await;
                assert_eq!(get(&store, 1).await, None, "{row}");
                store.shutdown().await;
            }
        });
    }
}

/// S11: a torn footer, and the last batch before it is lost.
#[test]
fn a_footer_that_shows_lost_batches_is_damage() {
    run(async |data| {
        let (segment, footer) = sealed(data).await;
        scribble(data, Class::Log, segment, footer + 50, b"rot").await;
        scribble(data, Class::Log, segment, footer - 4096, &[0; PAGE_BYTES]).await;
        for _ in 0..2 {
            let store = open(data).await;
            let report = store.report();
            assert_eq!((report.damaged, report.torn_footers, report.from_footer), (1, 0, 0), "{report:?}");
            assert_eq!(stage(&store, segment), Some(Stage::Damaged));
            expect_all(&store, (0..1).chain(2..30)).await;
            store.shutdown().await;
        }
    });
}

/// S14: abandoned, and the segment after it is sealed. The abandoned one used to be appended to. Blobs deleted then
/// came back at the next start, since the tombstone was replayed before its blob, and an extent's space was taken for
/// that of its previous owner.
#[test]
fn nothing_is_appended_to_a_segment_before_one_that_holds_something() {
    run(async |data| {
        let store = open(data).await;
        fill(&store, 0..3).await;
        store.shared().fail.set(Some(Fail::Sync));
        let bytes = body(9, 100);
        assert!(store.append_blob(blob(9), &[&bytes]).await.is_err());
        fill(&store, 10..80).await;
        let (abandoned, after, last) = (record(&store, 0).0, record(&store, 10).0, record(&store, 79).0);
        assert!(abandoned < after && after < last);
        until(|| stage(&store, after) == Some(Stage::Sealed)).await;
        store.shutdown().await;
        // The crash loses all batches of the last segment.
        let length = config(data).log_segment_bytes as usize;
        scribble(data, Class::Log, last, 4096, &vec![0; length - PAGE_BYTES]).await;
        let store = open(data).await;
        fill(&store, 100..101).await;
        assert!(record(&store, 100).0 > after);
        store.delete(&[id(10)]).await.expect("delete");
        let store = reopen(store, data).await;
        assert_eq!(stage(&store, abandoned), Some(Stage::Sealed));
        assert_eq!(get(&store, 10).await, None, "the blob stays deleted");
        expect_all(&store, (0..3).chain(11..20).chain(100..101)).await;
        store.shutdown().await;
    });
}

fn files(data: &Path) -> Vec<String> {
    let found = io::read_dir(&core_dir(data, 3)).expect("lists");
    let name = |path: &std::path::PathBuf| path.file_name().expect("named").to_string_lossy().into_owned();
    let mut names: Vec<String> = found.iter().map(name).collect();
    names.sort();
    names
}

/// S15: prepared, not used yet.
#[test]
fn a_prepared_segment_is_the_next_one_at_each_start() {
    run(async |data| {
        let store = open(data).await;
        fill(&store, 0..3).await;
        store.shutdown().await;
        let before = files(data);
        open(data).await.shutdown().await;
        assert_eq!(files(data), before, "no other segment was prepared");
    });
}

/// S16: its first write failed.
#[test]
fn a_segment_abandoned_before_its_first_batch_is_reused_under_a_new_id() {
    run(async |data| {
        let store = open(data).await;
        store.shared().fail.set(Some(Fail::Write));
        let bytes = body(9, 100);
        assert!(store.append_blob(blob(9), &[&bytes]).await.is_err());
        fill(&store, 0..3).await;
        let store = reopen(store, data).await;
        assert_eq!((store.stats().free_log_segments, store.report().damaged), (1, 0));
        expect_all(&store, 0..3).await;
        store.shutdown().await;
    });
}

/// S3: a reuse that was interrupted before the rename.
#[test]
fn a_free_file_with_the_header_of_its_next_use_is_reused_under_another_generation() {
    run(async |data| {
        let store = open(data).await;
        fill(&store, 0..90).await;
        store.delete(&(0..90).map(id).collect::<Vec<_>>()).await.expect("delete");
        reclaim_all(&store).await;
        store.shutdown().await;
        let free = files(data).into_iter().find(|name| name.starts_with("free-")).expect("one");
        let file = File::open(&core_dir(data, 3).join(&free)).await.expect("open");
        let header =
            SegmentHeader { segment: 0x99, generation: 7, core: 3, length: 256 << 10, created_ms: 0 };
        let mut page = Buf::with_capacity(PAGE_BYTES);
        page.extend_from_slice(&header.encode());
        page.pad_to(PAGE_BYTES);
        file.write_at(page, 0).await.expect("write");
        let store = open(data).await;
        fill(&store, 100..330).await;
        let generations: Vec<u32> =
            store.shared().state.borrow().logs.iter().map(|(_, segment)| segment.generation).collect();
        assert!(!files(data).contains(&free), "the file is in use");
        assert!(!generations.contains(&7), "{generations:?}");
        let store = reopen(store, data).await;
        assert_eq!(store.report().damaged, 0);
        expect_all(&store, 100..330).await;
        store.shutdown().await;
    });
}

#[test]
fn a_short_or_missing_log_segment_costs_only_its_own_blobs() {
    for (row, missing) in [("S7: shorter than its header says", false), ("S18: missing", true)] {
        run(async |data| {
            let store = open(data).await;
            fill(&store, 0..130).await;
            let (segment, _) = record(&store, 70);
            let lost: Vec<u64> = (0..130).filter(|n| record(&store, *n).0 == segment).collect();
            store.shutdown().await;
            let path = segment_path(data, 3, Class::Log, segment);
            match missing {
                true => io::remove_file(&path).await.expect("removes"),
                false => File::open(&path).await.expect("open").truncate(128 << 10).await.expect("truncates"),
            }
            let store = open(data).await;
            let report = store.report();
            if !missing {
                assert_eq!(report.damage[0].what, Corrupt::Field("segment length"), "{row}");
                assert_eq!(stage(&store, segment), Some(Stage::Damaged), "{row}");
            }
            for n in 0..130 {
                assert_eq!(get(&store, n).await.is_none(), lost.contains(&n), "{row}: blob {n}");
            }
            fill(&store, 200..210).await;
            store.shutdown().await;
        });
    }
}

/// S20: created, and not grown yet.
#[test]
fn an_extent_segment_of_length_0_grows_when_needed() {
    run(async |data| {
        open(data).await.shutdown().await;
        File::create(&core_dir(data, 3).join("extent-000000f0.seg")).await.expect("creates");
        let store = open(data).await;
        put_large(&store, 1, 2, 70_000).await;
        assert_eq!(store.locate(id(1), 0).expect("placed")[0].segment, 0xf0);
        let store = reopen(store, data).await;
        assert_eq!((store.report().damaged, get(&store, 1).await.map(|b| b.len())), (0, Some(140_000)));
        store.shutdown().await;
    });
}

/// S21: shorter than what is published in it.
#[test]
fn whole_extents_of_a_truncated_segment_are_read_and_the_others_fail() {
    run(async |data| {
        let store = open(data).await;
        put_large(&store, 1, 1, 70_000).await;
        put_large(&store, 2, 1, 70_000).await;
        let (first, second) =
            (store.locate(id(1), 0).expect("placed")[0], store.locate(id(2), 0).expect("placed")[0]);
        assert_eq!((first.segment, first.offset < second.offset), (second.segment, true));
        store.shutdown().await;
        let file = File::open(&segment_path(data, 3, Class::Extent, first.segment)).await.expect("open");
        file.truncate(second.offset + 4096).await.expect("truncates");
        let store = open(data).await;
        let report = store.report();
        assert_eq!((report.damaged, report.damage[0].data_id), (1, Some(id(2))));
        expect(&store, 1, 70_000).await;
        assert!(store.shared().files.read(3, &second).await.is_err());
        store.delete(&[id(2)]).await.expect("delete");
        put_large(&store, 3, 2, 70_000).await;
        let store = reopen(store, data).await;
        assert_eq!(store.report().damaged, 0);
        expect(&store, 1, 70_000).await;
        store.shutdown().await;
    });
}

/// S22: lost, and its id was the highest. The id used to be given to a new segment, which ended the process.
#[test]
fn the_id_of_a_lost_extent_segment_is_not_reused() {
    run(async |data| {
        let store = open(data).await;
        fill(&store, 10..11).await;
        put_large(&store, 1, 1, 70_000).await;
        let lost = store.locate(id(1), 0).expect("placed")[0].segment;
        store.shutdown().await;
        for path in io::read_dir(&core_dir(data, 3)).expect("lists") {
            if crate::segment::names::parse(&path).is_some_and(|(_, id)| id >= lost) {
                io::remove_file(&path).await.expect("removes");
            }
        }
        let store = open(data).await;
        assert_eq!(store.report().damaged, 1);
        put_large(&store, 2, 1, 70_000).await;
        assert!(store.locate(id(2), 0).expect("placed")[0].segment > lost);
        let store = reopen(store, data).await;
        expect(&store, 2, 70_000).await;
        store.shutdown().await;
    });
}

/// S24: publishing was interrupted.
#[test]
fn a_blob_without_its_last_extent_cannot_be_read_and_is_swept() {
    run(async |data| {
        let store = open(data).await;
        let at = store.reserve(8192).await.expect("reserve");
        write_extent(&store, at, &body(1, 8000)).await;
        let first = BlobHeader { extent: 0, last: false, ..blob(1) };
        store.publish(&[PublishItem { blob: first, at, length: 8000 }]).await.expect("publish");
        let store = reopen(store, data).await;
        assert_eq!(store.locate(id(1), 0), Err(Error::Corrupt(Corrupt::Field("extents"))));
        assert_eq!(store.sweep_unmarked().await, Ok(1));
        assert_eq!(store.reserve(8192).await, Ok(at), "its space is free again");
        store.shutdown().await;
    });
}

/// S13: a segment abandoned after a failed write.
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
        assert_eq!(
            (store.report().from_footer, store.report().scanned),
            (1, 2),
            "one of the scanned is empty"
        );
        expect_all(&store, 0..6).await;
        store.shutdown().await;
    });
}

/// S1: half filled. S2: free. S4: free, of another length.
#[test]
fn half_filled_files_are_removed_and_free_ones_are_kept_if_their_length_is_right() {
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
        assert!(store.shared().next_id.get() > 0x102, "ids are never reused");
        expect_all(&store, 0..3).await;
        store.shutdown().await;
    });
}

/// S25: a recycled file.
#[test]
fn bytes_of_an_earlier_use_of_a_file_are_not_taken_for_records() {
    run(async |data| {
        let store = open(data).await;
        fill(&store, 0..90).await;
        store.delete(&(0..90).map(id).collect::<Vec<_>>()).await.expect("delete");
        reclaim_all(&store).await;
        let free =
            |data| files(data).into_iter().filter(|name| name.starts_with("free-")).collect::<Vec<_>>();
        let emptied = free(data);
        fill(&store, 100..330).await;
        assert!(emptied.iter().any(|name| !free(data).contains(name)), "a file is reused");
        let store = reopen(store, data).await;
        assert_eq!(store.report().damaged, 0);
        assert_eq!(store.stats().index_entries, 230);
        expect_all(&store, 100..330).await;
        store.shutdown().await;
    });
}

/// S17: freeing was interrupted.
#[test]
fn a_crash_between_copying_and_freeing_brings_no_deleted_blob_back() {
    run(async |data| {
        let store = open(data).await;
        fill(&store, 0..100).await;
        let (first, _) = record(&store, 0);
        until(|| stage(&store, first) == Some(Stage::Sealed)).await;
        let path = segment_path(data, 3, Class::Log, first);
        let kept = data.join("kept");
        std::fs::copy(&path, &kept).expect("copy");
        // All blobs of the first segment but blob 0 die, and it is rewritten and freed. Then the crash is staged: the
        // old segment is there again.
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
        // Deleting blob 0 now must also cover the old copy, even once the new copy's own segment is gone.
        store.delete(&[id(0)]).await.expect("delete");
        let rest: Vec<DataId> = (1..100).map(id).collect();
        store.delete(&rest).await.expect("delete");
        fill(&store, 200..260).await;
        reclaim_all(&store).await;
        let store = reopen(store, data).await;
        assert_eq!(get(&store, 0).await, None);
        expect_all(&store, 200..260).await;
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

/// S23: overlapping publish records.
#[test]
fn a_publish_that_a_later_one_overlaps_is_dropped() {
    run(async |data| {
        let store = open(data).await;
        let at = store.reserve(8192).await.expect("reserve");
        write_extent(&store, at, &body(1, 8000)).await;
        store.shared().fail.set(Some(Fail::Sync));
        assert!(store.publish(&[PublishItem { blob: blob(1), at, length: 8000 }]).await.is_err());
        // Its record is on disk. Give its space to another blob, as no process would within one life.
        store.shared().state.borrow_mut().extents.forget(at);
        assert_eq!(store.reserve(8192).await, Ok(at));
        write_extent(&store, at, &body(2, 8000)).await;
        store.publish(&[PublishItem { blob: blob(2), at, length: 8000 }]).await.expect("publish");
        let store = reopen(store, data).await;
        assert_eq!(get(&store, 1).await, None);
        expect(&store, 2, 8000).await;
        store.shutdown().await;
    });
}

/// S6: a misplaced file.
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
