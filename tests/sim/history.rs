//! What the clients did to each key, and when. The checks judge these histories.

use std::collections::BTreeMap;

use crate::value::ValueId;

/// What one operation did or found at a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// The value was set.
    Write(ValueId),
    /// The value of another key was copied here; which value is unknown.
    CopyOf(String),
    /// The key was deleted.
    Delete,
    /// The key was read and held this.
    Read(Option<ValueId>),
    /// The value was set on condition that there was none.
    Create(ValueId),
    /// A create was refused, since there was a value.
    Exists,
    /// The value was set on condition that there was a given one.
    Replace(ValueId, ValueId),
    /// There was not the given value.
    IsNot(ValueId),
    /// A replacement was refused, since there was another value than the given one.
    HoldsAnother(ValueId),
    /// There was one of these values.
    HoldsOneOf(Vec<ValueId>),
}

impl Action {
    /// The state after the action, if the action is possible in the state before.
    pub fn after(&self, before: Option<ValueId>) -> Option<Option<ValueId>> {
        let held = match self {
            Action::Write(_) | Action::Delete | Action::CopyOf(_) => true,
            Action::Read(found) => *found == before,
            Action::Create(_) => before.is_none(),
            Action::Exists => before.is_some(),
            Action::Replace(expected, _) => before == Some(*expected),
            Action::IsNot(expected) => before != Some(*expected),
            Action::HoldsAnother(expected) => before.is_some_and(|held| held != *expected),
            Action::HoldsOneOf(values) => before.is_some_and(|held| values.contains(&held)),
        };
        held.then_some(match self {
            Action::Write(value) | Action::Create(value) | Action::Replace(_, value) => Some(*value),
            Action::Delete => None,
            _ => before,
        })
    }

    /// Whether it is possible in every state, and leaves the same state whatever was there before.
    pub fn overwrites(&self) -> bool {
        matches!(self, Action::Write(_) | Action::CopyOf(_) | Action::Delete)
    }

    /// Whether it leaves the key unchanged.
    pub fn only_looks(&self) -> bool {
        match self {
            Action::Read(_) | Action::Exists | Action::IsNot(_) => true,
            Action::HoldsAnother(_) | Action::HoldsOneOf(_) => true,
            Action::Write(_) | Action::CopyOf(_) | Action::Delete => false,
            Action::Create(_) | Action::Replace(..) => false,
        }
    }
}

/// An operation on one key.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it did.
    pub action: Action,
    /// When it began.
    pub invoked: u64,
    /// When its client got the answer; `None` if the operation may have happened or may still happen.
    pub returned: Option<u64>,
    /// The client.
    pub client: usize,
}

/// The time of a key's last change, as a read showed it.
#[derive(Clone, Copy, Debug)]
pub struct Sight {
    /// In seconds since 1970.
    pub modified_s: i64,
    /// When the read began.
    pub invoked: u64,
    /// When its client had the answer.
    pub returned: u64,
}

/// All operations, by key.
#[derive(Default)]
pub struct History {
    pub keys: BTreeMap<String, Vec<Entry>>,
    /// The times that reads showed of each key.
    pub sights: BTreeMap<String, Vec<Sight>>,
    time: u64,
    /// Answers by status.
    pub answers: BTreeMap<u16, u64>,
    /// Answers that nobody expected, by code and message.
    pub refusals: BTreeMap<String, u64>,
    /// Answers that were cut off.
    pub broken_off: u64,
    /// A node that was shut down did not wait for the slowest answers.
    pub cut_short: bool,
    /// Violations that clients saw.
    pub violations: Vec<String>,
}

impl History {
    /// The next logical time.
    pub fn tick(&mut self) -> u64 {
        self.time += 1;
        self.time
    }

    /// Adds an operation.
    pub fn add(&mut self, key: &str, entry: Entry) {
        self.keys.entry(key.to_owned()).or_default().push(entry);
    }

    /// Adds the time of a key's last change, as a read that began at `invoked` showed it.
    pub fn saw(&mut self, key: &str, modified_s: i64, invoked: u64) {
        let sight = Sight { modified_s, invoked, returned: self.tick() };
        self.sights.entry(key.to_owned()).or_default().push(sight);
    }

    /// Records a violation.
    pub fn violation(&mut self, what: String) {
        self.violations.push(what);
    }
}
