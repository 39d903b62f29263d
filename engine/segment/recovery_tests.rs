//! The cases of the table, without a disk: batches made by hand.

use super::super::batch::{Pending, Queue, Record};
use super::*;
use crate::format::BlobHeader;
use crate::io::Semaphore;
use proptest::prelude::*;

const SALT: Salt = Salt { segment: 4, generation: 2 };

fn id(n: u8) -> DataId {
    DataId([n; 16])
}

fn batch_of(number: u32, ids: &[u8], length: usize) -> Vec<u8> {
    let queue = Queue::new(1 << 20);
    let room = Semaphore::new(1 << 20);
    for &n in ids {
        let body = vec![n; length];
        let blob = BlobHeader { data_id: id(n), last: true, ..BlobHeader::default() };
        let record = Record { kind: Kind::Blob, blob, body: &[&body] };
        let permit = room.try_acquire(1).expect("free");
        let fresh = |record| Entry {
            data_id: id(n),
            shard: 0,
            extent: 0,
            last: true,
            record,
            kind: EntryKind::Blob { length: 0 },
        };
        assert!(queue.push(&record, permit, |at, pending| pending.push(Pending::fresh(fresh(at)))).is_ok());
    }
    let mut batch = queue.take().expect("one");
    batch.seal(SALT, number).to_vec()
}

fn ids(entries: &[Entry]) -> Vec<DataId> {
    entries.iter().map(|entry| entry.data_id).collect()
}

/// B1: a whole batch. B6: an older batch. B7: an older batch before a later one.
#[test]
fn a_whole_batch_with_a_higher_number_is_replayed_and_an_older_one_is_the_end() {
    let bytes = batch_of(3, &[1, 2], 1000);
    let read = || read_batch(&bytes, 4096, SALT).expect("readable");
    let Verdict::Replay { number, entries, bad, next } = judge(read(), 4096, 4, 2, None) else {
        panic!("not replayed")
    };
    assert_eq!((number, ids(&entries), bad.len(), next), (3, vec![id(1), id(2)], 0, 4096 + 4096));
    assert_eq!(judge(read(), 4096, 4, 3, None), Verdict::End { torn: false });
    assert!(matches!(judge(read(), 4096, 4, 3, Some(8192)), Verdict::Replay { number: 3, next: 8192, .. }));
}

/// B2: the end. B3: a lost header.
#[test]
fn a_place_without_a_header_is_the_end_unless_a_later_batch_follows() {
    assert_eq!(judge(BatchAt::Nothing, 4096, 4, 2, None), Verdict::End { torn: false });
    let Verdict::Replay { number: 2, entries, bad, next: 16384 } =
        judge(BatchAt::Nothing, 4096, 4, 2, Some(16384))
    else {
        panic!("not damage")
    };
    assert_eq!((entries.len(), bad[0].offset), (0, 4096));
}

/// B4: a torn tail. B5: damage.
#[test]
fn a_partial_batch_is_a_torn_tail_unless_a_later_batch_follows() {
    let mut bytes = batch_of(3, &[1, 2, 3], 3000);
    bytes[3500] ^= 1;
    let read = || read_batch(&bytes, 4096, SALT).expect("readable");
    assert_eq!(judge(read(), 4096, 4, 2, None), Verdict::End { torn: true });
    let Verdict::Replay { entries, bad, .. } = judge(read(), 4096, 4, 2, Some(65536)) else {
        panic!("not damage")
    };
    assert_eq!(ids(&entries), [id(1), id(3)]);
    assert_eq!((bad.len(), bad[0].data_id), (1, Some(id(2))));
}

#[test]
fn a_later_batch_is_found_by_number_and_salt() {
    let mut bytes = vec![0; 8192];
    bytes.extend(batch_of(7, &[1], 100));
    assert_eq!(later_batch(&bytes, 4096, SALT, 6), Some(12288));
    assert_eq!(later_batch(&bytes, 4096, SALT, 7), None);
    assert_eq!(later_batch(&bytes, 4096, Salt { segment: 5, ..SALT }, 0), None);
}

#[test]
fn a_batch_cut_by_the_end_of_the_file_is_partial() {
    let bytes = batch_of(1, &[1, 2], 3000);
    assert!(matches!(read_batch(&bytes[..4096], 0, SALT), Ok(BatchAt::Partial { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// However a batch is damaged, every record replayed from it is one that was written.
    #[test]
    fn no_damage_yields_a_wrong_record(places in proptest::collection::vec((any::<prop::sample::Index>(), 1..=255u8), 1..5)) {
        let mut bytes = batch_of(1, &[1, 2, 3, 4], 900);
        let clean = match read_batch(&bytes, 0, SALT) {
            Ok(BatchAt::Whole { entries, .. }) => entries,
            other => panic!("{other:?}"),
        };
        for (at, flip) in &places {
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
        }
        if let Ok(BatchAt::Whole { entries, .. } | BatchAt::Partial { entries, .. }) = read_batch(&bytes, 0, SALT) {
            prop_assert!(entries.iter().all(|entry| clean.contains(entry)), "{entries:?}");
        }
    }

    #[test]
    fn the_scanner_survives_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..9000)) {
        let _ = read_batch(&bytes, 4096, SALT);
        let _ = later_batch(&bytes, 4096, SALT, 0);
    }
}
