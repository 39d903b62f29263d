use super::*;
use crate::segment::logs::Stage;

const BLOB: DataId = DataId([1; 16]);

/// A blob of two extents, published in log segment 1. Segments 2 and 3 exist too.
fn published() -> (State, [Entry; 2]) {
    let mut state = State::default();
    for id in 1..=3 {
        state.logs.add(id, 1, 1 << 20, Stage::Sealed);
    }
    state.extents.add_segment(9, 1 << 20, false);
    let entries = [0, 1].map(|extent| Entry {
        data_id: BLOB,
        shard: 0,
        extent,
        last: extent == 1,
        record: 4096,
        kind: EntryKind::Publish(Publish { segment: 9, offset: u64::from(extent) * 8192, length: 8192 }),
    });
    entries.iter().for_each(|entry| state.replay(entry, 1));
    (state, entries)
}

/// A compaction's copy of a record in log segment 1.
fn copy(state: &mut State, entry: Entry) -> Pending {
    state.copy_queued(entry.data_id);
    Pending { entry, moved: Some(Moved::Publish(1)), frees: Vec::new() }
}

/// The state used to forget a blob's queued copies once its first extent's copy was durable. A delete then wrote a
/// tombstone whose range ended before the segment that the second copy went to. Once the tombstone was dropped, a
/// restart found that copy, and half of the blob was back.
#[test]
fn a_blob_counts_as_moving_until_its_last_extent_has_moved() {
    let (mut state, [first, second]) = published();
    let copies = [first, second].map(|entry| copy(&mut state, entry));
    state.durable(&copies[0], 2);
    let deletion = state.delete(BLOB);
    assert_eq!(deletion.range, Some((1, u32::MAX)), "the second copy may land anywhere");
    state.durable(&copies[1], 3);
    assert_eq!(state.index.get(&key_of(&second)), None, "a copy does not bring a deleted blob back");
    assert!(state.queued_copies.is_empty());
}

/// A rewrite that breaks off leaves copies in the queue, and the next rewrite copies the same records again. The
/// segment of such a second copy used to be outside the range of later tombstones.
#[test]
fn a_segment_with_a_second_copy_of_a_live_record_stretches_the_range_of_tombstones() {
    let (mut state, [first, second]) = published();
    let copies = [first, first, second].map(|entry| copy(&mut state, entry));
    state.durable(&copies[0], 2);
    state.durable(&copies[1], 3);
    state.durable(&copies[2], 2);
    assert_eq!(state.delete(BLOB).range, Some((2, 3)));
}
