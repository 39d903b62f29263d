use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::frame::frame;
use crate::limits::SPACE_BUDGET_BYTES;
use crate::peer::harness::{PROFILE, fill, keep, on_one_core, pattern, write};
use crate::peer::{Hold, Located};
use crate::read::read_to_vec;

const LIMIT: usize = 1 << 30;

fn writer(bytes: &ByteStore, id: u8, size: Option<u64>, plan: Plan) -> BlobWriter {
    let data_id = DataId([id; 16]);
    BlobWriter::new(bytes, &bytes.budget().holder(), 7, data_id, PROFILE, size, plan).expect("writer")
}

#[test]
fn small_blobs_are_returned_framed_and_are_stored_with_their_commit() {
    on_one_core(|bytes| async move {
        for (id, len) in [0, 1, 4096, 65_504, 65_505, SMALL_BLOB_BYTES].into_iter().enumerate() {
            for known in [false, true] {
                let id = (2 * id + usize::from(known)) as u8 + 1;
                let payload = pattern(len);
                let (finished, digests) = write(&bytes, 7, id, &payload, known).await;
                assert_eq!(digests.md5, Some(<::md5::Md5 as ::md5::Digest>::digest(&payload).into()));
                let blob = finished.blob_ref();
                let Finished::Small(small, held) = finished else { panic!("{len} bytes are small") };
                assert_eq!(small.framed, frame(&payload, DataId([id; 16]), 0));
                assert_eq!((small.header.partition, small.header.payload_bytes), (7, len as u64));
                let framed = small.framed.len();
                bytes.store(small).await.expect("stored");
                // They left the budget before they were stored: behind a slow disk, memory had no bound.
                assert_eq!(BODY_BUDGET_BYTES - bytes.budget_free(), framed);
                drop(held);
                assert_eq!(bytes.budget_free(), BODY_BUDGET_BYTES);
                let back = read_to_vec(&bytes, blob, None, 0..u64::MAX, LIMIT).await.expect("read");
                assert_eq!(back, payload);
            }
        }
    });
}

#[test]
fn large_blobs_are_published_and_read_back() {
    on_one_core(|bytes| async move {
        let one_extent = EXTENT_BLOCKS * BLOCK_PAYLOAD_BYTES;
        let lens = [SMALL_BLOB_BYTES + 1, 262_016, 262_017, 5 << 20, one_extent, one_extent + 70_000];
        for (id, len) in lens.into_iter().enumerate() {
            for known in [false, true] {
                if len >= one_extent && known == (len == one_extent) {
                    continue;
                }
                let id = (2 * id + usize::from(known)) as u8 + 1;
                let payload = pattern(len);
                let (finished, digests) = write(&bytes, 7, id, &payload, known).await;
                assert_eq!(digests.md5, Some(<::md5::Md5 as ::md5::Digest>::digest(&payload).into()));
                assert!(matches!(finished, Finished::Stored(_)), "{len} bytes are large");
                let blob = keep(&bytes, finished).await;
                assert_eq!(blob.size, len as u64);
                let back = read_to_vec(&bytes, blob, None, 0..u64::MAX, LIMIT).await.expect("read");
                assert!(back == payload, "{len} bytes differ");
            }
        }
        assert_eq!(bytes.budget_free(), BODY_BUDGET_BYTES);
    });
}

#[test]
fn a_body_reserves_an_extent_with_its_first_block_and_gives_back_what_it_has_written() {
    on_one_core(|bytes| async move {
        let reserved = || bytes.budget().held(MemoryClass::Space) as u64;
        let mut blob = writer(&bytes, 1, Some(EXTENT_BYTES), Plan::default());
        let mut seen = Vec::new();
        while blob.received() < 20 << 20 {
            let count = blob.space().await.expect("space").len();
            blob.advance(count).await.expect("advanced");
            seen.push(reserved());
        }
        assert_eq!(seen[0], 0, "nothing is written yet");
        let most = *seen.iter().max().expect("some");
        assert!((EXTENT_BYTES - (1 << 20)..EXTENT_BYTES).contains(&most), "{most}");
        assert!(*seen.last().expect("some") <= EXTENT_BYTES - (18 << 20));
        drop(blob);
        assert_eq!(reserved(), 0);
        let other = bytes.budget().holder();
        let mut blob = writer(&bytes, 2, Some(1 << 20), Plan::default());
        let all = other.try_acquire(MemoryClass::Space, SPACE_BUDGET_BYTES).expect("space");
        let open = |id| {
            let holder = bytes.budget().holder();
            let size = Some(SMALL_BLOB_BYTES as u64 + id);
            BlobWriter::new(&bytes, &holder, 7, DataId([9; 16]), PROFILE, size, Plan::default())
        };
        assert!(matches!(open(1), Err(Error::Busy(_))), "it is refused before it is received");
        assert!(open(0).is_ok(), "a small blob reserves nothing");
        let refused = loop {
            let count = blob.space().await.expect("space").len();
            if let Err(error) = blob.advance(count).await {
                break error;
            }
        };
        assert!(matches!(refused, Error::Busy(_)));
        drop((blob, all));
        let (finished, _) = write(&bytes, 7, 3, &pattern(1 << 20), true).await;
        assert_eq!(reserved(), 0);
        drop(finished);
    });
}

#[test]
fn a_blob_of_unknown_size_takes_no_more_space_than_one_of_known_size() {
    on_one_core(|bytes| async move {
        let _finished = write(&bytes, 7, 1, &pattern(300_000), false).await;
        let located = bytes.locate(7, DataId([1; 16]), 0, Hold::Extents).await.expect("located");
        assert_eq!(u64::from(located.locations[0].length), framed_len(300_000));
        let taken = bytes.home().segments().stats().extent_live_bytes;
        assert_eq!(taken, io::align_up(framed_len(300_000)));
    });
}

/// Records that a future that was polled by hand has been woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

async fn settled(bytes: &ByteStore) -> u64 {
    // Writes in flight hold their space and their share of the budget until they end.
    while bytes.budget_free() < BODY_BUDGET_BYTES {
        io::yield_now().await;
        io::sleep(std::time::Duration::from_millis(1)).await;
    }
    bytes.home().settle();
    bytes.home().segments().stats().extent_live_bytes
}

#[test]
fn an_abandoned_blob_releases_everything() {
    on_one_core(|bytes| async move {
        let payload = pattern(9 << 20);
        for size in [None, Some(20 << 20)] {
            let mut writer = writer(&bytes, 1, size, Plan::default());
            fill(&mut writer, &payload, usize::MAX).await.expect("written");
            assert!(bytes.home().segments().stats().extent_live_bytes > 0);
            drop(writer);
            assert_eq!(settled(&bytes).await, 0);
            assert_eq!(
                bytes.locate(7, DataId([1; 16]), 0, Hold::Extents).await.unwrap_err(),
                Error::NotFound
            );
        }
    });
}

#[test]
fn a_blob_whose_writer_is_dropped_while_it_finishes_is_deleted_again() {
    on_one_core(|bytes| async move {
        let mut writer = writer(&bytes, 1, None, Plan::default());
        fill(&mut writer, &pattern(3 << 20), usize::MAX).await.expect("written");
        let mut finish = Box::pin(writer.finish());
        std::future::poll_fn(|cx| {
            assert!(finish.as_mut().poll(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        drop(finish);
        let mut waited = 0;
        while settled(&bytes).await > 0 {
            io::sleep(std::time::Duration::from_millis(5)).await;
            waited += 1;
            assert!(waited < 2000, "the blob is still there");
        }
        assert_eq!(bytes.locate(7, DataId([1; 16]), 0, Hold::Extents).await.unwrap_err(), Error::NotFound);
    });
}

#[test]
fn a_stored_blob_that_is_not_kept_is_deleted_again() {
    on_one_core(|bytes| async move {
        let (kept, _) = write(&bytes, 7, 1, &pattern(300_000), true).await;
        keep(&bytes, kept).await;
        let before = settled(&bytes).await;
        assert!(before > 0);
        let (finished, _) = write(&bytes, 7, 2, &pattern(300_000), true).await;
        let Finished::Stored(stored) = finished else { panic!("the blob is large") };
        stored.discard().await;
        assert_eq!(settled(&bytes).await, before);
        drop(write(&bytes, 7, 3, &pattern(300_000), true).await);
        let mut waited = 0;
        while settled(&bytes).await > before {
            io::sleep(std::time::Duration::from_millis(5)).await;
            waited += 1;
            assert!(waited < 2000, "the blob is still there");
        }
    });
}

/// A blob stored just as its writer left used to stay forever: the task that stored it had seen somebody waiting, and
/// the waiter never looked at the result.
#[test]
fn a_blob_whose_writer_leaves_without_taking_the_result_is_deleted_again() {
    on_one_core(|bytes| async move {
        let mut writer = writer(&bytes, 1, None, Plan::default());
        fill(&mut writer, &pattern(3 << 20), usize::MAX).await.expect("written");
        let mut finish = Box::pin(writer.finish());
        let woken = Arc::new(Woken::default());
        let waker = woken.clone().into();
        assert!(finish.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
        while !woken.0.load(Ordering::Relaxed) {
            io::sleep(std::time::Duration::from_millis(1)).await;
        }
        drop(finish);
        let mut waited = 0;
        while settled(&bytes).await > 0 {
            io::sleep(std::time::Duration::from_millis(5)).await;
            waited += 1;
            assert!(waited < 2000, "the blob is still there");
        }
    });
}

#[test]
fn more_or_fewer_bytes_than_announced_are_refused() {
    on_one_core(|bytes| async move {
        let open = || writer(&bytes, 1, Some(10), Plan::default());
        let mut writer = open();
        assert_eq!(writer.space().await.expect("space").len(), 10);
        assert!(matches!(writer.advance(11).await, Err(Error::Invalid(_))));
        let mut writer = open();
        fill(&mut writer, &[1; 9], 3).await.expect("written");
        assert!(matches!(writer.finish().await, Err(Error::Invalid(_))));
        let mut writer = open();
        fill(&mut writer, &[1; 10], 3).await.expect("written");
        assert_eq!(writer.space().await.expect("space").len(), 0);
        assert_eq!(writer.finish().await.expect("finished").0.blob_ref().size, 10);
    });
}

#[test]
fn a_writer_that_was_interrupted_takes_no_more_bytes() {
    on_one_core(|bytes| async move {
        let plan = Plan { md5: true, ..Plan::default() };
        // Another request is in flight, so that the hash waits for others.
        let _both = (io::begin_request(), io::begin_request());
        let mut writer = writer(&bytes, 1, None, plan);
        let blocks = pattern(SLICE_BLOCKS * BLOCK_PAYLOAD_BYTES);
        let mut fill = Box::pin(fill(&mut writer, &blocks, usize::MAX));
        std::future::poll_fn(|cx| {
            assert!(fill.as_mut().poll(cx).is_pending(), "waits for its hash");
            std::task::Poll::Ready(())
        })
        .await;
        drop(fill);
        assert!(matches!(writer.space().await, Err(Error::Invalid(_))));
        assert!(writer.finish().await.is_err());
    });
}

#[test]
fn profiles_with_more_than_one_shard_are_refused() {
    on_one_core(|bytes| async move {
        let profile = Profile { k: 2, m: 1 };
        let writer = BlobWriter::new(
            &bytes,
            &bytes.budget().holder(),
            7,
            DataId([1; 16]),
            profile,
            None,
            Plan::default(),
        );
        assert!(matches!(writer.map(|_| ()), Err(Error::Unsupported(_))));
    });
}

#[test]
fn many_slow_writers_and_readers_share_the_budget_and_all_finish() {
    const CLIENTS: u8 = 250;
    on_one_core(|bytes| async move {
        let payload = Rc::new(pattern(1_000_000));
        let least = Rc::new(Cell::new(usize::MAX));
        let mut tasks = Vec::new();
        for id in 1..=CLIENTS {
            let (bytes, payload, least) = (bytes.clone(), payload.clone(), least.clone());
            tasks.push(io::spawn(async move {
                let mut writer = writer(&bytes, id, Some(1_000_000), Plan::default());
                for piece in payload.chunks(40_000) {
                    fill(&mut writer, piece, usize::MAX).await?;
                    least.set(least.get().min(bytes.budget_free()));
                    io::yield_now().await;
                }
                let blob = keep(&bytes, writer.finish().await?.0).await;
                let mut reader =
                    crate::read::BlobReader::new(&bytes, &bytes.budget().holder(), blob, None, 0..u64::MAX);
                let mut at = 0;
                while let Some(piece) = reader.next().await? {
                    assert!(piece == &payload[at..at + piece.len()]);
                    at += piece.len();
                    io::yield_now().await;
                }
                assert_eq!(at, payload.len());
                Ok::<_, Error>(())
            }));
        }
        for task in tasks {
            task.await.expect("ran").expect("written and read");
        }
        assert!(least.get() < BODY_BUDGET_BYTES / 3, "the budget was tight: {} free", least.get());
        assert_eq!(bytes.budget_free(), BODY_BUDGET_BYTES);
    });
}

/// Thousands of uploads that had just begun held 256 KiB each, so that others read and wrote in small pieces.
#[test]
fn a_long_body_begins_with_one_block_while_memory_is_not_ample() {
    on_one_core(|bytes| async move {
        let first_buffer = async |id| {
            let free = bytes.budget_free();
            let mut writer = writer(&bytes, id, Some(64 << 20), Plan::default());
            writer.space().await.expect("memory");
            free - bytes.budget_free()
        };
        assert_eq!(first_buffer(1).await, SLICE_BLOCKS * BLOCK_BYTES);
        let other = bytes.budget().holder();
        let used = BODY_BUDGET_BYTES - AMPLE_BODY_BYTES + 1;
        let _held = other.try_acquire(MemoryClass::Large, used).expect("memory");
        assert_eq!(first_buffer(2).await, BLOCK_BYTES);
    });
}

#[test]
fn a_stalled_body_holds_no_more_than_has_arrived_of_its_block() {
    on_one_core(|bytes| async move {
        let payload = pattern(5 << 20);
        for (size, kept) in [(Some(5 << 20), BLOCK_BYTES), (Some(100_000), 40 << 10), (None, BLOCK_BYTES)] {
            let mut writer = writer(&bytes, 1, size, Plan::default());
            let arrived = if size == Some(100_000) { 40_000 } else { 700_000 };
            fill(&mut writer, &payload[..arrived], 50_000).await.expect("written");
            writer.park().await.expect("parked");
            assert!(!writer.has_buffer());
            // What is on its way to the disk is released once it gets there.
            while BODY_BUDGET_BYTES - bytes.budget_free() > kept {
                io::sleep(std::time::Duration::from_millis(1)).await;
            }
            assert_eq!(writer.received(), arrived as u64);
        }
        assert_eq!(settled(&bytes).await, 0);
    });
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(8))]
    #[test]
    fn a_blob_that_was_parked_anywhere_holds_what_was_sent(
        len in proptest::prop_oneof![1usize..140_000, 140_000usize..3_000_000],
        known in proptest::bool::ANY,
        steps in proptest::collection::vec((1usize..200_000, proptest::bool::ANY), 1..40),
    ) {
        on_one_core(|bytes| async move {
            let payload = pattern(len);
            let plan = Plan { md5: true, ..Plan::default() };
            let size = known.then_some(len as u64);
            let mut writer = writer(&bytes, 1, size, plan);
            let mut rest = &payload[..];
            for (step, park) in steps.into_iter().cycle() {
                let count = step.min(rest.len());
                fill(&mut writer, &rest[..count], usize::MAX).await.expect("written");
                rest = &rest[count..];
                if park {
                    writer.park().await.expect("parked");
                }
                if rest.is_empty() {
                    break;
                }
            }
            let (finished, digests) = writer.finish().await.expect("finished");
            assert_eq!(digests.md5, Some(<::md5::Md5 as ::md5::Digest>::digest(&payload).into()));
            let blob = keep(&bytes, finished).await;
            let back = read_to_vec(&bytes, blob, None, 0..u64::MAX, LIMIT).await.expect("read");
            assert!(back == payload, "{len} bytes differ");
            assert_eq!(bytes.budget_free(), BODY_BUDGET_BYTES);
        });
    }
}

#[test]
fn blobs_that_end_together_share_their_syncs() {
    const BLOBS: u8 = 24;
    on_one_core(|bytes| async move {
        let mut writers = Vec::new();
        for id in 1..=BLOBS {
            let size = Some(300_000);
            let mut writer = writer(&bytes, id, size, Plan::default());
            fill(&mut writer, &pattern(300_000), usize::MAX).await.expect("written");
            writers.push(io::spawn(async move { writer.finish().await }));
        }
        for writer in writers {
            writer.await.expect("ran").expect("stored");
        }
        let syncs = bytes.home().segments().stats().extent_syncs;
        assert!(syncs <= u64::from(BLOBS) / 2, "{syncs} syncs for {BLOBS} blobs");
    });
}

/// A failed sync used to retain only the space of the blob that waited for it. The pages of another blob in the same
/// file were lost with it, and the next sync, which succeeded, acknowledged that blob.
#[test]
fn a_failed_sync_fails_every_unsynced_blob_and_no_other() {
    on_one_core(|bytes| async move {
        // Beside so many requests, the end of a body waits for its sync before it is hashed.
        let _requests: Vec<_> = (0..5).map(|_| io::begin_request()).collect();
        let plan = Plan { md5: true, ..Plan::default() };
        let payload = pattern(3 << 20);
        let _finished = write(&bytes, 7, 1, &payload, true).await;
        let segment = |located: &Located| located.locations[0].segment;
        let poisoned = segment(&bytes.locate(7, DataId([1; 16]), 0, Hold::Extents).await.expect("published"));
        let mut writers = Vec::new();
        for id in 2..=4 {
            let size = Some(payload.len() as u64);
            let mut writer = writer(&bytes, id, size, plan);
            fill(&mut writer, &payload, usize::MAX).await.expect("written");
            writers.push(writer);
        }
        bytes.home().segments().fail_next_extent_sync();
        for writer in writers {
            assert!(writer.finish().await.is_err(), "the pages of this blob may be lost");
        }
        // Their publish records may have been written all the same: then they are deleted again.
        for id in 2..=4 {
            let found = bytes.locate(7, DataId([id; 16]), 0, Hold::Extents).await;
            assert_eq!(found.err(), Some(Error::NotFound));
        }
        assert!(!bytes.home().segments().may_hold_leftovers());
        // What was published stays, and new blobs go to another segment.
        let _finished = write(&bytes, 7, 5, &payload, true).await;
        for id in [1, 5] {
            let located = bytes.locate(7, DataId([id; 16]), 0, Hold::Extents).await.expect("published");
            assert_eq!(segment(&located) == poisoned, id == 1);
        }
        assert_eq!(
            settled(&bytes).await,
            2 * io::align_up(framed_len(3 << 20)),
            "the other blobs released their space"
        );
    });
}
