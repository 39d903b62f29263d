//! The store in memory, for tests and the simulator, with the same crash promise as the real one.

use super::{Batch, Kv, Reader, Slice, Visit};
use crate::{Result, key::TAG_CLUSTER};
use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

type Rows = BTreeMap<Slice, Slice>;

/// Rows in a map. Snapshots share the map; a write while a snapshot is held copies it.
#[derive(Default)]
pub struct MemoryKv {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rows: Arc<Rows>,
    persisted: Arc<Rows>,
    /// Batches written since `persisted` was taken, oldest first.
    pending: Vec<Batch>,
}

impl MemoryKv {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of batches that a crash may lose.
    pub fn unpersisted(&self) -> usize {
        self.state().pending.len()
    }

    /// What a crash of the machine leaves: everything that was persisted, and the first `keep` batches after it.
    pub fn crash(&self, keep: usize) -> Self {
        let state = self.state();
        let mut rows = state.persisted.clone();
        for batch in state.pending.iter().take(keep) {
            change(&mut rows, batch);
        }
        Self { state: Mutex::new(State { persisted: rows.clone(), rows, pending: Vec::new() }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn change(rows: &mut Arc<Rows>, batch: &Batch) {
    let rows = Arc::make_mut(rows);
    for (key, value) in &batch.changes {
        match value {
            Some(value) => drop(rows.insert(key.clone(), value.clone())),
            None => drop(rows.remove(key)),
        }
    }
}

impl Kv for MemoryKv {
    type Snapshot = MemorySnapshot;

    fn snapshot(&self) -> MemorySnapshot {
        MemorySnapshot { rows: self.state().rows.clone() }
    }

    fn write(&self, batch: Batch) -> Result<()> {
        let mut state = self.state();
        change(&mut state.rows, &batch);
        state.pending.push(batch);
        Ok(())
    }

    fn persist(&self) -> Result<()> {
        let mut state = self.state();
        state.persisted = state.rows.clone();
        state.pending.clear();
        Ok(())
    }

    fn replace(&self, rows: &mut dyn Iterator<Item = Result<(Vec<u8>, Vec<u8>)>>) -> Result<()> {
        // A failure half way leaves what a crash there would leave: no `s/` rows and no old rows.
        let mut new = Rows::new();
        let mut result = Ok(());
        for row in rows {
            match row {
                Ok((key, value)) => drop(new.insert(key.into(), value.into())),
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        if result.is_err() {
            new.retain(|key, _| key.first() != Some(&TAG_CLUSTER));
        }
        let mut state = self.state();
        state.rows = Arc::new(new);
        state.persisted = state.rows.clone();
        state.pending.clear();
        result
    }
}

/// The rows at one point in time.
pub struct MemorySnapshot {
    rows: Arc<Rows>,
}

impl Reader for MemorySnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Slice>> {
        Ok(self.rows.get(key).cloned())
    }

    fn scan(&self, start: &[u8], end: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        if start >= end {
            return Ok(());
        }
        let range = (Bound::Included(start), Bound::Excluded(end));
        for (key, value) in self.rows.range::<[u8], _>(range) {
            if visit(key, value)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}
