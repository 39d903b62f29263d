use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::*;
use crate::ids::DataId;
use crate::io::run_executors;
use crate::peer::harness::{directory, flip, keep, on_one_core, pattern, start, write};
use crate::peer::seeds;

const LIMIT: usize = 1 << 30;

/// Writes a payload and stores the blob, small or large.
async fn stored(bytes: &ByteStore, partition: u16, id: u8, payload: &[u8]) -> BlobRef {
    let (finished, _) = write(bytes, partition, id, payload, true).await;
    keep(bytes, finished).await
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]
    #[test]
    fn every_range_reads_the_bytes_that_were_written(
        len in prop_oneof![1usize..131_072, 131_073usize..3_000_000],
        ranges in prop::collection::vec((any::<prop::sample::Index>(), 0usize..2_000_000), 30),
    ) {
        on_one_core(|bytes| async move {
            let payload = pattern(len);
            let blob = stored(&bytes, 3, 1, &payload).await;
            for (start, count) in ranges {
                let start = start.index(len + 1);
                let end = (start + count).min(len);
                let range = start as u64..(start + count) as u64;
                let back = read_to_vec(&bytes, blob, None, range, LIMIT).await.expect("read");
                assert!(back == payload[start..end], "{start}..{end} of {len}");
            }
            assert_eq!(bytes.budget_free(), BODY_BUDGET_BYTES);
        });
    }
}

#[test]
fn a_small_range_of_a_large_blob_reads_one_block() {
    on_one_core(|bytes| async move {
        let blob = stored(&bytes, 3, 1, &pattern(5 << 20)).await;
        let mut reader = BlobReader::new(&bytes, &bytes.budget().holder(), blob, None, 1_000_000..1_004_096);
        assert_eq!(reader.next().await.expect("read").map(<[u8]>::len), Some(4096));
        let piece = reader.piece.as_ref().expect("a piece");
        assert_eq!(piece.buf.len(), BLOCK_BYTES);
        assert!(reader.ahead.is_none());
        assert_eq!(reader.next().await, Ok(None));
    });
}

#[test]
fn a_flipped_byte_is_found_in_its_block_and_in_no_other() {
    on_one_core(|bytes| async move {
        for len in [100_000, 5 << 20] {
            let payload = pattern(len);
            let id = (len % 251) as u8;
            let blob = stored(&bytes, 3, id, &payload).await;
            let located = bytes.locate(3, DataId([id; 16]), 0, Hold::Extents).await.expect("located");
            flip(&bytes, 0, &located.locations[0], 65_536 + 10).await;
            drop(located);
            let whole = read_to_vec(&bytes, blob, None, 0..len as u64, LIMIT).await;
            assert_eq!(whole, Err(Error::Corrupt(Corrupt::Block(1))), "{len} bytes");
            let first = read_to_vec(&bytes, blob, None, 0..65_504, LIMIT).await.expect("sound");
            assert_eq!(first, payload[..65_504]);
        }
        // The piece that was being read ahead arrives first.
        while bytes.budget_free() < BODY_BUDGET_BYTES {
            io::sleep(std::time::Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn a_small_record_that_moved_is_located_again() {
    on_one_core(|bytes| async move {
        let payload = pattern(10_000);
        let blob = stored(&bytes, 3, 1, &payload).await;
        // As if the location known to the caller held other bytes by now.
        let other = pattern(10_000);
        stored(&bytes, 3, 2, &other).await;
        let stale = bytes.locate(3, DataId([2; 16]), 0, Hold::Extents).await.expect("located");
        let back = read_to_vec(&bytes, blob, Some(stale), 0..u64::MAX, LIMIT).await.expect("read");
        assert_eq!(back, payload);
        bytes.delete(3, vec![DataId([1; 16])]).await.expect("deleted");
        let gone = read_to_vec(&bytes, blob, None, 0..u64::MAX, LIMIT).await;
        assert_eq!(gone, Err(Error::NotFound));
    });
}

/// As if a record had been rewritten each time that its slow reader had waited for its client. The second time it was
/// taken for rotten, and its answer was broken off.
#[test]
fn a_small_record_that_moves_again_is_located_again() {
    on_one_core(|bytes| async move {
        let payload = pattern(100_000);
        let blob = stored(&bytes, 3, 1, &payload).await;
        let mut reader = BlobReader::new(&bytes, &bytes.budget().holder(), blob, None, 0..u64::MAX);
        let mut back = Vec::new();
        for other in [2, 3] {
            stored(&bytes, 3, other, &pattern(100_000)).await;
            let stale = bytes.locate(3, DataId([other; 16]), 0, Hold::Extents).await.expect("located");
            reader.located = Some(Rc::new(stale));
            back.extend_from_slice(reader.next().await.expect("read").expect("bytes"));
            reader.release().await;
        }
        assert!(back == payload);
        assert_eq!(bytes.corrupt_reads(), 0);
    });
}

#[test]
fn a_blob_deleted_while_it_is_read_can_be_read_to_its_end() {
    on_one_core(|bytes| async move {
        let payload = pattern(6 << 20);
        let blob = stored(&bytes, 3, 1, &payload).await;
        let mut reader = BlobReader::new(&bytes, &bytes.budget().holder(), blob, None, 0..u64::MAX);
        let mut back = reader.next().await.expect("read").expect("bytes").to_vec();
        bytes.delete(3, vec![blob.data_id]).await.expect("deleted");
        // If its space were free, the next blob would take it.
        stored(&bytes, 3, 2, &vec![0; 6 << 20]).await;
        while let Some(piece) = reader.next().await.expect("read") {
            back.extend_from_slice(piece);
        }
        assert!(back == payload);
        drop(reader);
        bytes.home().settle();
        bytes.delete(3, vec![DataId([2; 16])]).await.expect("deleted");
        assert_eq!(bytes.home().segments().stats().extent_live_bytes, 0);
    });
}

/// Deletes blob 0 and writes over the segment that held it: more than a log segment holds, then the same amount again,
/// which takes a free segment.
async fn delete_and_write_over(bytes: &ByteStore) {
    for _ in 0..2 {
        let others = (1..=200).map(|id| {
            let bytes = bytes.clone();
            io::spawn(async move { stored(&bytes, 3, id, &vec![0xff; 100_000]).await })
        });
        for other in others.collect::<Vec<_>>() {
            other.await.expect("stored");
        }
        bytes.delete(3, (0..=200).map(|id| DataId([id; 16])).collect()).await.expect("deleted");
        while bytes.home().segments().reclaim().await.expect("reclaimed") {}
    }
}

/// A slow client's answer was broken off if its buffer was taken back and the object replaced before it took the rest.
#[test]
fn a_small_blob_deleted_while_it_is_read_can_be_read_to_its_end() {
    for deleted_before in [false, true] {
        on_one_core(|bytes| async move {
            let payload = pattern(100_000);
            let blob = stored(&bytes, 3, 0, &payload).await;
            let mut reader = BlobReader::new(&bytes, &bytes.budget().holder(), blob, None, 0..u64::MAX);
            let mut back = reader.next().await.expect("read").expect("bytes").to_vec();
            if deleted_before {
                bytes.delete(3, vec![blob.data_id]).await.expect("deleted");
            }
            reader.release().await;
            assert_eq!(reader.is_loaded(), deleted_before);
            delete_and_write_over(&bytes).await;
            while let Some(piece) = reader.next().await.expect("read") {
                back.extend_from_slice(piece);
            }
            assert!(back == payload);
        });
    }
}

#[test]
fn a_held_small_blob_can_be_read_after_its_segment_was_emptied() {
    for hold in [Hold::All, Hold::Extents] {
        on_one_core(|bytes| async move {
            let payload = pattern(100_000);
            let blob = stored(&bytes, 3, 0, &payload).await;
            let located = bytes.locate(3, blob.data_id, 0, hold).await.expect("located");
            delete_and_write_over(&bytes).await;
            let read = read_to_vec(&bytes, blob, Some(located), 0..u64::MAX, LIMIT).await;
            match hold {
                Hold::All => assert!(read.expect("held") == payload),
                Hold::Extents => assert_eq!(read, Err(Error::NotFound)),
            }
        });
    }
}

#[test]
fn blobs_of_other_cores_are_written_and_read_through_local_handles() {
    let directory = directory();
    let path = directory.path().to_owned();
    let seeds = Arc::new(Mutex::new(seeds(2).into_iter().map(Some).collect::<Vec<_>>()));
    let done = Arc::new(AtomicUsize::new(0));
    let counted = done.clone();
    let executors = run_executors(2, move |core| {
        let seed = seeds.lock().expect("not poisoned")[core].take().expect("once");
        let (path, done) = (path.clone(), counted.clone());
        async move {
            let bytes = start(core, &path, seed).await;
            for (step, len) in [5_000, 3 << 20, 130_000, 9 << 20].into_iter().enumerate() {
                for partition in [0, 1] {
                    let payload = pattern(len);
                    let id = (16 * step + 4 * core + partition as usize) as u8 + 1;
                    let blob = stored(&bytes, partition, id, &payload).await;
                    let located =
                        bytes.locate(partition, blob.data_id, 0, Hold::Extents).await.expect("located");
                    assert_eq!(located.core, usize::from(partition));
                    let back = read_to_vec(&bytes, blob, Some(located), 0..u64::MAX, LIMIT).await;
                    assert!(back.expect("read") == payload);
                    if step % 2 == 1 {
                        bytes.delete(partition, vec![blob.data_id]).await.expect("deleted");
                    }
                }
            }
            done.fetch_add(1, Ordering::SeqCst);
            while done.load(Ordering::SeqCst) < 2 {
                io::sleep(std::time::Duration::from_millis(1)).await;
            }
            bytes.home().segments().shutdown().await;
        }
    });
    executors.expect("executors").join().expect("join");
    assert_eq!(done.load(Ordering::SeqCst), 2);
}

#[test]
fn a_released_reader_holds_nothing_and_continues_where_it_was() {
    on_one_core(|bytes| async move {
        for len in [100_000, 5 << 20] {
            let payload = pattern(len);
            let blob = stored(&bytes, 3, (len % 251) as u8, &payload).await;
            let mut reader = BlobReader::new(&bytes, &bytes.budget().holder(), blob, None, 1000..u64::MAX);
            let (mut back, mut step) = (Vec::new(), 1);
            loop {
                let slice = reader.fill().await.expect("read");
                let count = slice.len().min(step);
                back.extend_from_slice(&slice[..count]);
                reader.consume(count);
                if count == 0 {
                    break;
                }
                if step % 3 == 0 {
                    reader.release().await;
                    while bytes.budget_free() < BODY_BUDGET_BYTES {
                        // Wait for what was being read ahead.
                        io::sleep(std::time::Duration::from_millis(1)).await;
                    }
                }
                step += 7000;
            }
            assert!(back == payload[1000..], "{len} bytes differ");
        }
    });
}
