//! Every key's history is linearizable as a register: each operation takes effect at one moment between its start and
//! its end (Wing and Gong's search with Lowe's memoization).
//!
//! An operation of unknown outcome need not have happened, so the search may leave it out. It is placed only directly
//! before an operation that depends on the state. That loses no history: take an order that explains one and has as few
//! of unknown outcome as possible. If one of them is the last, or the one after it overwrites what it left, the order
//! explains the history without it, too, and was not the shortest. Nor is a value that never comes back overwritten
//! before all that need it are placed.
//!
//! This implies that nothing acknowledged is lost, even by a crash: the reads after it are part of the history.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use engine::io::sim::Random;

use crate::history::{Action, Entry, History};
use crate::value::{ValueId, Values};

/// The most operations on one key that the search handles.
pub const ENTRIES_MAX: usize = 128;
/// Configurations after which the search gives up.
const TRIED_MAX: usize = 400_000;

/// Checks every key. Returns how many could not be decided.
///
/// # Errors
/// A key with a history that no order explains.
pub fn check(history: &History, values: &Values) -> Result<usize, String> {
    let mut undecided = 0;
    for (key, entries) in &history.keys {
        let entries = shortened(with_copies(history, entries, values));
        match judge(&entries) {
            Some(true) => {}
            Some(false) => return Err(story(key, &entries)),
            None => undecided += 1,
        }
    }
    Ok(undecided)
}

/// A history that is too long is judged without the last of its reads, which is a weaker judgment, but a sound one.
fn shortened(mut entries: Vec<Entry>) -> Vec<Entry> {
    while let Some(last) = entries.iter().rposition(|entry| entry.action.only_looks())
        && entries.len() > ENTRIES_MAX
    {
        entries.remove(last);
    }
    entries
}

/// The values by which some client told the key's state.
fn observed(entries: &[Entry]) -> BTreeSet<ValueId> {
    let mut found = BTreeSet::new();
    for entry in entries {
        match &entry.action {
            Action::Read(Some(value)) | Action::Replace(value, _) => drop(found.insert(*value)),
            Action::IsNot(value) | Action::HoldsAnother(value) => drop(found.insert(*value)),
            Action::HoldsOneOf(values) => found.extend(values),
            _ => {}
        }
    }
    found
}

/// The values that a key may ever have had: those written there, and those of the sources of copies with unknown
/// outcome.
fn possible(history: &History, key: &str) -> BTreeSet<ValueId> {
    let (mut keys, mut next) = (BTreeSet::new(), vec![key]);
    let mut found = BTreeSet::new();
    while let Some(key) = next.pop() {
        if !keys.insert(key) {
            continue;
        }
        for entry in history.keys.get(key).into_iter().flatten() {
            match &entry.action {
                Action::CopyOf(source) => next.push(source),
                _ => found.extend(written(entry)),
            }
        }
    }
    found
}

/// A copy with unknown outcome may have set any value that its source ever had. Of the values that nobody found here,
/// one stands for all.
fn with_copies(history: &History, entries: &[Entry], values: &Values) -> Vec<Entry> {
    let observed = observed(entries);
    let mut all = Vec::new();
    for entry in entries {
        let Action::CopyOf(source) = &entry.action else {
            all.push(entry.clone());
            continue;
        };
        let flat: BTreeSet<ValueId> =
            possible(history, source).into_iter().map(|value| values.get(value).flat).collect();
        let (found, not_found): (Vec<_>, Vec<_>) =
            flat.into_iter().partition(|value| observed.contains(value));
        let possible = found.into_iter().chain(not_found.into_iter().next());
        all.extend(possible.map(|value| Entry { action: Action::Write(value), ..entry.clone() }));
    }
    all.sort_by_key(|entry| entry.invoked);
    all
}

fn written(entry: &Entry) -> Option<ValueId> {
    match entry.action {
        Action::Write(value) | Action::Create(value) | Action::Replace(_, value) => Some(value),
        _ => None,
    }
}

/// Whether an order explains the entries; `None` if that was not decided. Operations of unknown outcome need not have
/// happened. So an order without those whose value nobody found is tried first: they are what makes the search long.
fn judge(entries: &[Entry]) -> Option<bool> {
    let observed = observed(entries);
    let telling = |entry: &&Entry| {
        entry.returned.is_some() || written(entry).is_none_or(|value| observed.contains(&value))
    };
    let telling: Vec<Entry> = entries.iter().filter(telling).cloned().collect();
    if search(&telling) == Some(true) { Some(true) } else { search(entries) }
}

fn is_unknown(entry: &Entry) -> bool {
    entry.returned.is_none()
}

/// The entries before this one that are equal to it, if its outcome is unknown.
fn earlier_twins(entries: &[Entry], at: usize) -> u128 {
    let is_twin = |other: &usize| {
        let (other, entry) = (&entries[*other], &entries[at]);
        is_unknown(other) && is_unknown(entry) && other.action == entry.action
    };
    (0..at).filter(is_twin).fold(0, |mask, other| mask | 1 << other)
}

/// Whether an entry certainly happened, and in this state only.
fn needs(entry: &Entry, state: Option<ValueId>) -> bool {
    let needs = match &entry.action {
        Action::Read(found) => *found == state,
        Action::Replace(expected, _) => Some(*expected) == state,
        Action::Create(_) => state.is_none(),
        _ => false,
    };
    needs && !is_unknown(entry)
}

/// Whether an entry brings about this state.
fn makes(entry: &Entry, state: Option<ValueId>) -> bool {
    !entry.action.only_looks() && written(entry) == state
}

/// How far an order has got.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// The entries placed, by index.
    done: u128,
    held: Option<ValueId>,
    /// The last one placed is of unknown outcome: the next one must depend on what it left.
    unknown: bool,
}

/// Whether an order explains the entries, which are sorted by their beginning; `None` if that was not decided.
fn search(entries: &[Entry]) -> Option<bool> {
    if entries.len() > ENTRIES_MAX {
        return None;
    }
    let needed = entries
        .iter()
        .enumerate()
        .filter(|(_, entry)| entry.returned.is_some())
        .fold(0_u128, |mask, (at, _)| mask | 1 << at);
    // Of equal operations of unknown outcome, the one that began first is placed first.
    let twins: Vec<u128> = (0..entries.len()).map(|at| earlier_twins(entries, at)).collect();
    let mut tried: BTreeSet<Place> = BTreeSet::new();
    let mut open = vec![Place { done: 0, held: None, unknown: false }];
    while let Some(place) = open.pop() {
        let Place { done, held, unknown } = place;
        if done & needed == needed {
            return Some(true);
        }
        if !tried.insert(place) {
            continue;
        }
        if tried.len() > TRIED_MAX {
            return None;
        }
        let left = |at: &usize| done & 1 << at == 0;
        let end = (0..entries.len()).filter(left).filter_map(|at| entries[at].returned).min();
        // A state that never comes back must stay for those that need it.
        let comes_back = (0..entries.len()).filter(left).any(|at| makes(&entries[at], held));
        let needing: Vec<usize> =
            (0..entries.len()).filter(left).filter(|at| needs(&entries[*at], held)).take(2).collect();
        let too_early = |at: usize| !comes_back && needing.iter().any(|other| *other != at);
        let may_be_next = |at: &usize| {
            let is_useless = unknown && entries[*at].action.overwrites() || twins[*at] & !done != 0;
            end.is_none_or(|end| entries[*at].invoked < end) && !is_useless
        };
        let mut next: Vec<usize> = (0..entries.len()).filter(left).filter(may_be_next).collect();
        // A read that matches the current state can be placed here without ruling out any order.
        let looks =
            |at: &&usize| entries[**at].action.only_looks() && entries[**at].action.after(held).is_some();
        if let Some(at) = next.iter().find(looks) {
            open.push(Place { done: done | 1 << at, held, unknown: false });
            continue;
        }
        // The most urgent is tried first, so pushed last: the one that ended first, or whose effect was found first.
        let urgency = |at: &usize| {
            let made = written(&entries[*at]);
            let found = (0..entries.len()).filter(left).filter(|other| needs(&entries[*other], made));
            found.chain([*at]).filter_map(|at| entries[at].returned).min().unwrap_or(u64::MAX)
        };
        next.retain(|at| !too_early(*at));
        next.sort_by_key(|at| Reverse(urgency(at)));
        for at in next {
            if let Some(held) = entries[at].action.after(held) {
                open.push(Place { done: done | 1 << at, held, unknown: is_unknown(&entries[at]) });
            }
        }
    }
    Some(false)
}

fn story(key: &str, entries: &[Entry]) -> String {
    let lines = entries.iter().map(|entry| {
        let returned = entry.returned.map_or("?".to_owned(), |at| at.to_string());
        format!("  {:>5} .. {:>5}  client {}  {:?}", entry.invoked, returned, entry.client, entry.action)
    });
    let lines: Vec<String> = lines.collect();
    format!("no order explains what was done to key {key:?} and found there:\n{}", lines.join("\n"))
}

/// Histories that the search must accept, and others that it must reject.
pub fn self_test() {
    let mut values = Values::default();
    let mut random = Random::new(1);
    let [a, b] = [0, 1].map(|_| values.make(16, &mut random));
    let (write, read) = (Action::Write, Action::Read);
    // A stale read, a lost write, and a value from nowhere.
    assert_eq!(judge(&[entry(write(a), 1, Some(2)), entry(read(None), 3, Some(4))]), Some(false));
    assert_eq!(
        judge(&[entry(write(a), 1, Some(2)), entry(write(b), 3, Some(4)), entry(read(Some(a)), 5, Some(6))]),
        Some(false)
    );
    assert_eq!(judge(&[entry(read(Some(a)), 1, Some(2))]), Some(false));
    // Two creates of one key.
    assert_eq!(
        judge(&[entry(Action::Create(a), 1, Some(4)), entry(Action::Create(b), 2, Some(3))]),
        Some(false)
    );
    // An operation without an answer may have happened, even late, but not before it began.
    assert_eq!(
        judge(&[entry(write(a), 1, None), entry(read(None), 2, Some(3)), entry(read(Some(a)), 4, Some(5))]),
        Some(true)
    );
    assert_eq!(judge(&[entry(read(Some(a)), 1, Some(2)), entry(write(a), 3, None)]), Some(false));
    // The same if its value was never found: something created the key or removed its value.
    assert_eq!(judge(&[entry(write(a), 1, None), entry(Action::Exists, 2, Some(3))]), Some(true));
    assert_eq!(
        judge(&[entry(write(a), 1, Some(2)), entry(write(b), 3, None), entry(Action::IsNot(a), 4, Some(5))]),
        Some(true)
    );
    assert_eq!(judge(&[entry(Action::Exists, 1, Some(2)), entry(write(a), 3, None)]), Some(false));
    assert_eq!(
        judge(&[entry(write(a), 1, Some(5)), entry(write(b), 2, Some(6)), entry(read(Some(a)), 7, Some(8))]),
        Some(true)
    );
    test_unknown_outcomes(a, b);
    compare_with_exhaustive(&[a, b], &mut random);
    // Copies of copies, all without an answer.
    let mut history = History::default();
    let copy = |source: &str, invoked| entry(Action::CopyOf(source.to_owned()), invoked, None);
    history.add("first", entry(write(a), 1, Some(2)));
    history.add("second", copy("first", 3));
    history.add("second", copy("third", 4));
    history.add("third", copy("second", 5));
    history.add("third", entry(read(Some(a)), 6, Some(7)));
    assert_eq!(check(&history, &values), Ok(0));
    history.add("third", entry(read(Some(b)), 8, Some(9)));
    assert!(check(&history, &values).is_err(), "nobody wrote that");
}

fn entry(action: Action, invoked: u64, returned: Option<u64>) -> Entry {
    Entry { action, invoked, returned, client: 0 }
}

fn test_unknown_outcomes(a: ValueId, b: ValueId) {
    let (write, read) = (Action::Write, Action::Read);
    // One delete of unknown outcome explains one absence, and the value is still there before it.
    let found_gone_found = [
        entry(write(a), 1, Some(2)),
        entry(Action::Delete, 3, None),
        entry(Action::Delete, 4, None),
        entry(read(Some(a)), 5, Some(6)),
        entry(read(None), 7, Some(8)),
        entry(Action::Create(a), 9, Some(10)),
        entry(read(None), 11, Some(12)),
    ];
    assert_eq!(judge(&found_gone_found), Some(true));
    let once_deleted: Vec<Entry> = [&found_gone_found[..2], &found_gone_found[3..]].concat();
    assert_eq!(judge(&once_deleted), Some(false));
    // Conditional operations of unknown outcome explain each other.
    assert_eq!(
        judge(&[
            entry(Action::Create(a), 1, None),
            entry(Action::Replace(a, b), 2, None),
            entry(read(Some(b)), 3, Some(4)),
            entry(read(Some(a)), 5, Some(6)),
        ]),
        Some(false)
    );
    assert_eq!(
        judge(&[
            entry(Action::Create(a), 1, None),
            entry(Action::Replace(a, b), 2, None),
            entry(read(Some(a)), 3, Some(4)),
            entry(read(Some(b)), 5, Some(6)),
        ]),
        Some(true)
    );
}

/// Judges short random histories in both ways.
fn compare_with_exhaustive(values: &[ValueId], random: &mut Random) {
    let mut verdicts = [0; 2];
    for _ in 0..400 {
        let entries = random_history(values, random);
        let explained = is_explained(&entries, 0, None);
        assert_eq!(judge(&entries), Some(explained), "{}", story("random", &entries));
        verdicts[usize::from(explained)] += 1;
    }
    assert!(verdicts.iter().all(|count| *count > 50), "histories of one kind are rare: {verdicts:?}");
}

/// Up to six operations that overlap.
fn random_history(values: &[ValueId], random: &mut Random) -> Vec<Entry> {
    let mut entries: Vec<Entry> = (0..2 + random.index(5))
        .map(|client| {
            let mut value = || values[random.index(values.len())];
            let (value, other) = (value(), value());
            let action = match random.index(11) {
                0 | 1 => Action::Write(value),
                2 => Action::Delete,
                3 => Action::Create(value),
                4 => Action::Replace(other, value),
                5 => Action::Exists,
                6 => Action::IsNot(value),
                7 => Action::Read(None),
                8 => Action::HoldsAnother(value),
                9 => Action::HoldsOneOf(vec![value, other]),
                _ => Action::Read(Some(value)),
            };
            let unknown = !action.only_looks() && random.one_in(2);
            // No two of these times are equal.
            let invoked = random.below(8) * 32 + client as u64 * 2;
            let returned = (!unknown).then(|| invoked + 1 + random.below(4) * 32);
            Entry { action, invoked, returned, client }
        })
        .collect();
    entries.sort_by_key(|entry| entry.invoked);
    entries
}

/// Tries every order of the entries that are not `done`.
fn is_explained(entries: &[Entry], done: u32, held: Option<ValueId>) -> bool {
    let left = |at: &usize| done & 1 << at == 0;
    let end = (0..entries.len()).filter(left).filter_map(|at| entries[at].returned).min();
    let Some(end) = end else { return true };
    (0..entries.len()).filter(left).filter(|at| entries[*at].invoked < end).any(|at| {
        let after = entries[at].action.after(held);
        after.is_some_and(|after| is_explained(entries, done | 1 << at, after))
    })
}
