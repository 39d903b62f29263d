//! The store with changes on top that are not written yet.

use crate::{
    Result,
    kv::{Batch, Reader, Slice, Visit},
};
use std::{
    collections::BTreeMap,
    ops::{Bound, ControlFlow},
};

/// Rows of `under` with the changes made here.
pub struct Overlay<'a, R> {
    under: &'a R,
    changes: BTreeMap<Slice, Option<Slice>>,
}

impl<'a, R: Reader> Overlay<'a, R> {
    /// Starts without changes.
    pub fn new(under: &'a R) -> Self {
        Self { under, changes: BTreeMap::new() }
    }

    /// Sets a row.
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.changes.insert(key.into(), Some(value.into()));
    }

    /// Deletes a row.
    pub fn delete(&mut self, key: Vec<u8>) {
        self.changes.insert(key.into(), None);
    }

    /// The changes, each row once.
    pub fn into_batch(self) -> Batch {
        Batch { changes: self.changes.into_iter().collect() }
    }
}

impl<R: Reader> Reader for Overlay<'_, R> {
    fn get(&self, key: &[u8]) -> Result<Option<Slice>> {
        match self.changes.get(key) {
            Some(change) => Ok(change.clone()),
            None => self.under.get(key),
        }
    }

    fn scan(&self, start: &[u8], end: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        if start >= end {
            return Ok(());
        }
        let mut over =
            self.changes.range::<[u8], _>((Bound::Included(start), Bound::Excluded(end))).peekable();
        let mut broke = false;
        self.under.scan(start, end, &mut |key, value| {
            let mut hidden = false;
            while let Some((k, change)) = over.next_if(|(k, _)| k.as_ref() <= key) {
                hidden = k.as_ref() == key;
                if let Some(value) = change
                    && visit(k, value)?.is_break()
                {
                    broke = true;
                    return Ok(ControlFlow::Break(()));
                }
            }
            if !hidden && visit(key, value)?.is_break() {
                broke = true;
                return Ok(ControlFlow::Break(()));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        for (k, change) in over.take_while(|_| !broke) {
            if let Some(value) = change
                && visit(k, value)?.is_break()
            {
                break;
            }
        }
        Ok(())
    }
}
