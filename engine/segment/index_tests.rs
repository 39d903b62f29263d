use super::*;
use crate::ids::IdGenerator;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn id(n: u64) -> DataId {
    DataId(IdGenerator::new().next(n, u128::from(mix64(n))))
}

fn slot(n: u32) -> Slot {
    Slot { segment: n, offset: n.wrapping_mul(3), length: n, in_extent: n % 2 == 1, last: n % 3 == 1 }
}

fn key(n: u64, shard: u8, extent: u16) -> Key {
    Key { data_id: id(n), shard, extent }
}

#[test]
fn an_entry_costs_at_most_48_bytes_at_any_size_while_growing_and_while_shrinking() {
    let mut index = Index::new();
    for n in 0..120_000u64 {
        index.insert(key(n, 0, 0), slot(1));
        if n >= 10_000 {
            assert!(index.bytes() <= 48 * index.len(), "{} bytes for {}", index.bytes(), index.len());
        }
    }
    for n in 0..110_000u64 {
        assert!(index.remove(&key(n, 0, 0)).is_some());
        assert!(index.bytes() <= 48 * index.len().max(1), "{} bytes for {}", index.bytes(), index.len());
    }
}

#[test]
fn the_extents_of_a_blob_are_found_in_order_and_removed_together() {
    let mut index = Index::new();
    for n in 0..500 {
        index.insert(key(n, 0, 0), slot(7));
    }
    for extent in (0..100).rev() {
        index.insert(key(1000, 2, extent), slot(u32::from(extent)));
    }
    index.insert(key(1000, 3, 0), slot(1));
    let extents = index.shard(id(1000), 2);
    assert!(
        extents
            .iter()
            .enumerate()
            .all(|(at, (extent, found))| { usize::from(*extent) == at && *found == slot(at as u32) })
    );
    assert_eq!(extents.len(), 100);
    assert_eq!(index.remove_blob(id(1000)).len(), 101);
    assert!(!index.contains(id(1000)) && index.contains(id(3)));
    assert_eq!(index.len(), 500);
}

#[test]
fn unmarked_blobs_from_before_the_start_are_found() {
    let mut index = Index::new();
    for n in 0..1000 {
        index.insert(key(n, 0, 0), slot(1));
        index.insert(key(n, 0, 1), slot(1));
    }
    index.end_recovery();
    for n in (0..1000).step_by(2) {
        assert!(index.mark(id(n)));
    }
    assert!(!index.mark(id(5000)));
    // A moved entry keeps its mark or lack of one, and a new entry is marked.
    index.insert(key(0, 0, 0), slot(2));
    index.insert(key(1, 0, 0), slot(2));
    index.insert(key(2000, 0, 0), slot(2));
    let mut unmarked: Vec<DataId> = (0..index.tables()).flat_map(|table| index.unmarked(table)).collect();
    unmarked.sort_unstable();
    assert_eq!(unmarked, (1..1000).step_by(2).map(id).collect::<Vec<_>>());
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u64, u8, u16, u32),
    Remove(u64, u8, u16),
    RemoveBlob(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..300u64, 0..2u8, 0..6u16, any::<u32>()).prop_map(|(n, s, e, v)| Step::Insert(n, s, e, v)),
        3 => (0..300u64, 0..2u8, 0..6u16).prop_map(|(n, s, e)| Step::Remove(n, s, e)),
        1 => (0..300u64).prop_map(Step::RemoveBlob),
    ]
}

proptest! {
    #[test]
    fn the_index_behaves_like_an_ordered_map(steps in proptest::collection::vec(step(), 0..1500)) {
        let mut index = Index::new();
        let mut model = BTreeMap::new();
        for step in steps {
            match step {
                Step::Insert(n, s, e, v) => {
                    prop_assert_eq!(index.insert(key(n, s, e), slot(v)), model.insert(key(n, s, e), slot(v)));
                }
                Step::Remove(n, s, e) => {
                    prop_assert_eq!(index.remove(&key(n, s, e)), model.remove(&key(n, s, e)));
                }
                Step::RemoveBlob(n) => {
                    let gone: Vec<Key> = model.keys().copied().filter(|k| k.data_id == id(n)).collect();
                    let mut removed: Vec<Key> = index.remove_blob(id(n)).iter().map(|(k, _)| *k).collect();
                    removed.sort_unstable();
                    prop_assert_eq!(&removed, &gone);
                    model.retain(|k, _| k.data_id != id(n));
                }
            }
        }
        prop_assert_eq!(index.len(), model.len());
        let mut all: Vec<(Key, Slot)> = index.iter().collect();
        all.sort_unstable_by_key(|(k, _)| *k);
        prop_assert_eq!(all, model.iter().map(|(k, v)| (*k, *v)).collect::<Vec<_>>());
        for (k, v) in &model {
            prop_assert_eq!(index.get(k), Some(*v));
        }
    }
}
