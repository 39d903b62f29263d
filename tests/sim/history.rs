//! What the clients did to each key, and when: what the checks judge.

use std::collections::BTreeMap;

use crate::value::ValueId;

/// What one operation did, or found, at one key.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// The value was set.
    Write(ValueId),
    /// The value of another key was set here; which one it was is not known.
    CopyOf(String),
    /// The key was deleted.
    Delete,
    /// This was found.
    Read(Option<ValueId>),
    /// The value was set since there was none.
    Create(ValueId),
    /// A create was refused: there is a value.
    Exists,
    /// The value was set since there was another one.
    Replace(ValueId, ValueId),
    /// A replacement was refused: there is not this value.
    IsNot(ValueId),
}

impl Action {
    /// What is there afterwards, if the action can happen to what was there before.
    pub fn after(&self, before: Option<ValueId>) -> Option<Option<ValueId>> {
        let held = match self {
            Action::Write(_) | Action::Delete | Action::CopyOf(_) => true,
            Action::Read(found) => *found == before,
            Action::Create(_) => before.is_none(),
            Action::Exists => before.is_some(),
            Action::Replace(expected, _) => before == Some(*expected),
            Action::IsNot(expected) => before != Some(*expected),
        };
        held.then_some(match self {
            Action::Write(value) | Action::Create(value) | Action::Replace(_, value) => Some(*value),
            Action::Delete => None,
            _ => before,
        })
    }

    /// Whether it leaves the key as it is.
    pub fn only_looks(&self) -> bool {
        matches!(self, Action::Read(_) | Action::Exists | Action::IsNot(_))
    }
}

/// An operation at one key.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it did.
    pub action: Action,
    /// When it began.
    pub invoked: u64,
    /// When its client was told; `None` where it may have happened, or may still.
    pub returned: Option<u64>,
    /// Who did it.
    pub client: usize,
}

/// All operations, by key.
#[derive(Default)]
pub struct History {
    pub keys: BTreeMap<String, Vec<Entry>>,
    time: u64,
    /// Answers by status.
    pub answers: BTreeMap<u16, u64>,
    /// Answers that ended before they were whole.
    pub broken_off: u64,
    /// A node that was shut down did not wait for the slowest of them.
    pub cut_short: bool,
    /// What must never happen, as clients saw it.
    pub violations: Vec<String>,
}

impl History {
    /// The next moment.
    pub fn tick(&mut self) -> u64 {
        self.time += 1;
        self.time
    }

    /// Adds an operation.
    pub fn add(&mut self, key: &str, entry: Entry) {
        self.keys.entry(key.to_owned()).or_default().push(entry);
    }

    /// Notes what must never happen.
    pub fn violation(&mut self, what: String) {
        self.violations.push(what);
    }
}
