//! The seam to the store under the metadata: an ordered map from bytes to bytes.
//!
//! Promise: a [`Batch`] becomes visible and survives as a whole or not at all. Batches survive a crash in order:
//! what a crash loses is a suffix of those written since the last [`Kv::persist`]. Several rows are consistent with
//! each other only when read through one snapshot. After an I/O error every later write is refused: what reached
//! the disk is unknown until a restart reads it.
//!
//! One thread writes; any number read. All calls may block, so they belong on OS threads of their own.

mod fjall;
mod memory;

#[cfg(test)]
mod tests;

pub use self::fjall::FjallKv;
pub use self::memory::MemoryKv;
/// A row's key or value: reference-counted bytes.
pub use ::fjall::Slice;

use crate::Result;
use std::ops::ControlFlow;

/// What a scan calls with each row's key and value; `Break` ends the scan.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>> + 'a;

/// A consistent view of all rows.
pub trait Reader {
    /// The value of one row.
    fn get(&self, key: &[u8]) -> Result<Option<Slice>>;

    /// Calls `visit` with the rows from `start` (inclusive) to `end` (exclusive), in order, until it breaks.
    fn scan(&self, start: &[u8], end: &[u8], visit: &mut Visit<'_>) -> Result<()>;
}

/// The store.
pub trait Kv: Send + Sync + 'static {
    /// Its consistent view.
    type Snapshot: Reader + Send;

    /// The rows as the last write left them. Hold it briefly: it keeps replaced rows alive.
    fn snapshot(&self) -> Self::Snapshot;

    /// Writes a batch, atomically. It survives the process; it survives the machine only after [`Kv::persist`].
    fn write(&self, batch: Batch) -> Result<()>;

    /// Makes all that was written survive a crash of the machine.
    fn persist(&self) -> Result<()>;

    /// Replaces all rows with `rows`, which come in the order of their keys, and persists.
    ///
    /// Not atomic: the `s/` rows are deleted first and written last, so that a crash in between leaves a store
    /// without [`crate::key::APPLIED`], never a mixture that looks complete.
    fn replace(&self, rows: &mut dyn Iterator<Item = Result<(Vec<u8>, Vec<u8>)>>) -> Result<()>;
}

/// Rows to write together. A later change of a key overrides an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The key, and its new value or `None` to delete the row.
    pub changes: Vec<(Slice, Option<Slice>)>,
}

impl Batch {
    /// Sets a row.
    pub fn put(&mut self, key: impl Into<Slice>, value: impl Into<Slice>) {
        self.changes.push((key.into(), Some(value.into())));
    }

    /// Deletes a row.
    pub fn delete(&mut self, key: impl Into<Slice>) {
        self.changes.push((key.into(), None));
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}
