use super::*;
use crate::ids::DataId;
use proptest::prelude::*;

const PAGE: u64 = 4096;

fn key(n: u8) -> Key {
    Key { data_id: DataId([n; 16]), shard: 0, extent: 0 }
}

fn grown(pages: u64) -> Extents {
    let mut extents = Extents::default();
    extents.add_segment(1, 0, false);
    extents.grow(1, pages * PAGE);
    extents
}

#[test]
fn free_ranges_join_and_the_first_that_fits_is_taken() {
    let mut extents = grown(10);
    let places: Vec<_> = (0..5).map(|_| extents.reserve(2 * PAGE).expect("room")).collect();
    assert_eq!(extents.reserve(1), None);
    for index in [1, 3, 2] {
        assert!(extents.release(places[index]));
    }
    let whole = extents.reserve(6 * PAGE).expect("joined");
    assert_eq!(whole.offset, 2 * PAGE);
}

#[test]
fn a_range_is_free_only_when_its_delete_is_durable_and_its_last_reader_has_finished() {
    let mut extents = grown(2);
    let at = extents.reserve(2 * PAGE).expect("room");
    extents.published(1, at.offset, 2 * PAGE, key(1), 7);
    assert!(!extents.release(at), "published");
    assert!(extents.pin(1, 0) && extents.pin(1, 0));
    assert_eq!(extents.begin_delete(1, 0), Some(7));
    assert_eq!(extents.begin_delete(1, 0), None, "only once");
    extents.unpin(1, 0);
    assert_eq!(extents.reserve(1), None);
    extents.end_delete(1, 0);
    assert_eq!(extents.reserve(1), None);
    extents.unpin(1, 0);
    assert!(extents.reserve(2 * PAGE).is_some());
}

#[test]
fn after_recovery_every_unclaimed_range_is_free_and_hollow() {
    let mut extents = Extents::default();
    extents.add_segment(1, 10 * PAGE, false);
    assert!(extents.replay(1, 2 * PAGE, 3000, key(1), 5).is_empty());
    assert!(extents.replay(1, 4 * PAGE, 3 * PAGE, key(2), 5).is_empty());
    assert_eq!(extents.replay(1, 5 * PAGE, PAGE, key(3), 6), [(key(2), 5)], "overlapped by a later extent");
    assert_eq!(extents.replay_delete(1, 2 * PAGE), Some(5));
    extents.finish_recovery();
    assert_eq!(extents.totals(), (1, PAGE, 9 * PAGE));
    assert_eq!(extents.reserve(PAGE), None, "nothing is known to be backed");
    let at = extents.take_hollow(PAGE, 3 * PAGE).expect("hollow");
    assert_eq!((at.offset, at.length), (0, 3 * PAGE));
    assert_eq!(extents.take_hollow(5 * PAGE, 9 * PAGE), None, "no hollow range is that long");
    extents.add_backed(at);
    assert_eq!(extents.reserve(3 * PAGE).map(|at| at.offset), Some(0));
    assert_eq!(extents.totals(), (1, 4 * PAGE, 6 * PAGE));
    assert_eq!(extents.take_for_punching(0, true).len(), 2);
    assert!(extents.take_for_punching(0, true).is_empty(), "only once");
}

#[test]
fn a_sealed_segment_takes_no_reservations_and_its_free_space_is_punched_out() {
    let mut extents = grown(10);
    let [kept, released] = [0, 1].map(|_| extents.reserve(2 * PAGE).expect("room"));
    extents.published(1, kept.offset, 2 * PAGE, key(1), 7);
    extents.seal(1);
    assert!(extents.release(released));
    assert_eq!((extents.reserve(PAGE), extents.growable(PAGE, 1 << 30)), (None, None));
    assert_eq!(extents.backed_bytes(), 0);
    let punched: u64 = extents.take_for_punching(u64::MAX, false).iter().map(|at| at.length).sum();
    assert_eq!(punched, 8 * PAGE);
    assert!(extents.pin(1, kept.offset), "what was published stays readable");
}

#[test]
fn a_missing_file_offers_no_space() {
    let mut extents = Extents::default();
    extents.replay(9, 2 * PAGE, PAGE, key(1), 5);
    extents.finish_recovery();
    assert_eq!(extents.reserve(PAGE), None);
    assert_eq!(extents.take_hollow(PAGE, PAGE), None);
    assert_eq!(extents.growable(PAGE, 1 << 30), None);
    assert!(!extents.in_file(9, PAGE));
}

proptest! {
    /// Whatever happens, no two ranges overlap and every page is in exactly one book.
    #[test]
    fn ranges_never_overlap(steps in proptest::collection::vec((0..7u8, 1..5u64, any::<prop::sample::Index>()), 1..200)) {
        let mut extents = grown(32);
        let mut reserved: Vec<Reservation> = Vec::new();
        let mut published: Vec<Reservation> = Vec::new();
        let mut punching: Vec<Reservation> = Vec::new();
        for (step, pages, which) in steps {
            match step {
                0 | 1 => reserved.extend(extents.reserve(pages * PAGE)),
                6 => extents.take_hollow(PAGE, pages * PAGE).into_iter().for_each(|at| extents.add_backed(at)),
                2 if !reserved.is_empty() => {
                    prop_assert!(extents.release(reserved.swap_remove(which.index(reserved.len()))));
                }
                3 if !reserved.is_empty() => {
                    let at = reserved.swap_remove(which.index(reserved.len()));
                    let length = at.length.min(pages * PAGE);
                    extents.published(1, at.offset, length, key(1), 1);
                    published.push(Reservation { length, ..at });
                }
                4 if !published.is_empty() => {
                    let at = published.swap_remove(which.index(published.len()));
                    prop_assert_eq!(extents.begin_delete(1, at.offset), Some(1));
                    extents.end_delete(1, at.offset);
                }
                5 => {
                    punching.extend(extents.take_for_punching(pages * PAGE, false));
                    punching.drain(..).for_each(|at| extents.add_hollow(at));
                }
                _ => {}
            }
            let mut held: Vec<_> = reserved.iter().chain(&published).map(|at| (at.offset, at.length)).collect();
            held.sort_unstable();
            prop_assert!(held.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0));
            let taken: u64 = held.iter().map(|(_, length)| length).sum();
            prop_assert_eq!(extents.totals(), (1, taken, 32 * PAGE - taken));
        }
    }
}
