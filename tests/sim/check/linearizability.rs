//! Every key's history is linearizable as a register: each operation takes effect at one moment between its start and
//! its end (Wing and Gong's search with Lowe's memoization).
//!
//! This implies that nothing acknowledged is lost, even by a crash: the reads after it are part of the history.

use std::cmp::Reverse;
use std::collections::BTreeSet;

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
        let entries = with_copies(history, entries, values);
        match judge(&entries) {
            Some(true) => {}
            Some(false) => return Err(story(key, &entries)),
            None => undecided += 1,
        }
    }
    Ok(undecided)
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

/// Whether an order explains the entries; `None` if that was not decided.
fn search(entries: &[Entry]) -> Option<bool> {
    if entries.len() > ENTRIES_MAX {
        return None;
    }
    let needed = entries
        .iter()
        .enumerate()
        .filter(|(_, entry)| entry.returned.is_some())
        .fold(0_u128, |mask, (at, _)| mask | 1 << at);
    let mut tried: BTreeSet<(u128, Option<ValueId>)> = BTreeSet::new();
    let mut open = vec![(0_u128, None)];
    while let Some((done, held)) = open.pop() {
        if done & needed == needed {
            return Some(true);
        }
        if !tried.insert((done, held)) {
            continue;
        }
        if tried.len() > TRIED_MAX {
            return None;
        }
        let left = |at: &usize| done & 1 << at == 0;
        let end = (0..entries.len()).filter(left).filter_map(|at| entries[at].returned).min();
        let may_be_next = |at: &usize| end.is_none_or(|end| entries[*at].invoked < end);
        let mut next: Vec<usize> = (0..entries.len()).filter(left).filter(may_be_next).collect();
        // A read that matches the current state can be placed here without ruling out any order.
        let looks =
            |at: &&usize| entries[**at].action.only_looks() && entries[**at].action.after(held).is_some();
        if let Some(at) = next.iter().find(looks) {
            open.push((done | 1 << at, held));
            continue;
        }
        // The operation that ended first is tried first, so pushed last. Those of unknown outcome come after all others.
        next.sort_by_key(|at| Reverse(entries[*at].returned.unwrap_or(u64::MAX)));
        for at in next {
            if let Some(after) = entries[at].action.after(held) {
                open.push((done | 1 << at, after));
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
    let mut random = engine::io::sim::Random::new(1);
    let [a, b] = [0, 1].map(|_| values.make(16, &mut random));
    let entry = |action, invoked, returned| Entry { action, invoked, returned, client: 0 };
    let verdict = |entries: &[Entry]| judge(entries);
    let (write, read) = (Action::Write, Action::Read);
    // A stale read, a lost write, and a value from nowhere.
    assert_eq!(verdict(&[entry(write(a), 1, Some(2)), entry(read(None), 3, Some(4))]), Some(false));
    assert_eq!(
        verdict(&[
            entry(write(a), 1, Some(2)),
            entry(write(b), 3, Some(4)),
            entry(read(Some(a)), 5, Some(6))
        ]),
        Some(false)
    );
    assert_eq!(verdict(&[entry(read(Some(a)), 1, Some(2))]), Some(false));
    // Two creates of one key.
    assert_eq!(
        verdict(&[entry(Action::Create(a), 1, Some(4)), entry(Action::Create(b), 2, Some(3))]),
        Some(false)
    );
    // An operation without an answer may have happened, even late, but not before it began.
    assert_eq!(
        verdict(&[entry(write(a), 1, None), entry(read(None), 2, Some(3)), entry(read(Some(a)), 4, Some(5))]),
        Some(true)
    );
    assert_eq!(verdict(&[entry(read(Some(a)), 1, Some(2)), entry(write(a), 3, None)]), Some(false));
    // The same if its value was never found: something created the key or removed its value.
    assert_eq!(verdict(&[entry(write(a), 1, None), entry(Action::Exists, 2, Some(3))]), Some(true));
    assert_eq!(
        verdict(&[
            entry(write(a), 1, Some(2)),
            entry(write(b), 3, None),
            entry(Action::IsNot(a), 4, Some(5))
        ]),
        Some(true)
    );
    assert_eq!(verdict(&[entry(Action::Exists, 1, Some(2)), entry(write(a), 3, None)]), Some(false));
    assert_eq!(
        verdict(&[
            entry(write(a), 1, Some(5)),
            entry(write(b), 2, Some(6)),
            entry(read(Some(a)), 7, Some(8))
        ]),
        Some(true)
    );
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
