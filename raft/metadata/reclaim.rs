//! Blobs that nothing refers to any more: handed to a [`Reclaimer`] that deletes their bytes, then forgotten.
//!
//! A blob stays in the store's queue until its deletion is reported, so a blob that a crash leaves behind is found
//! at the next start. Also here: the places of all blobs that something refers to, for the sweep that looks for
//! bytes that nothing refers to.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::time::Duration;

use engine::ids::IdGenerator;
use engine::io::{Event, fill_random, sleep, spawn, timeout, unix_ms};
use engine::placement::{PARTITIONS, home_core};

use super::Metadata;
use crate::command::{Command, Kind, Reclaimed};
use crate::key::{RowKey, TAG_CURRENT, TAG_UPLOAD, TAG_VERSION, decode, prefix_end};
use crate::kv::Reader;
use crate::record::{BlobRef, Bytes16, PartRecord, ReclaimRecord, Record, VersionRecord};
use crate::{Result, read};

/// Maximum number of blobs that one command forgets.
const BATCH: usize = if cfg!(sim) { 7 } else { 1000 };
/// How long blobs wait for others to fill a batch.
const GATHER: Duration = Duration::from_secs(1);
/// Maximum number of blobs queued in memory; those beyond it are found by reading the store's queue again.
const MAX_QUEUED: usize = if cfg!(sim) { 20 } else { 100_000 };
/// Pause after a failure.
const PAUSE: Duration = Duration::from_secs(5);

/// Deletes blobs of this core's partitions; returns those whose bytes are gone.
pub type Reclaimer = Box<dyn Fn(Vec<ReclaimRecord>) -> Pin<Box<dyn Future<Output = Vec<Bytes16>>>>>;

/// A blob that something refers to: its id and its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobPlace {
    /// The blob.
    pub data_id: Bytes16,
    /// The partition it lies in.
    pub partition: u16,
}

/// Blobs that wait on one core.
#[derive(Default)]
pub struct Queue {
    blobs: RefCell<VecDeque<ReclaimRecord>>,
    /// Some blobs did not fit.
    more_in_store: Cell<bool>,
    arrived: Event,
}

impl Queue {
    pub(super) fn push(&self, record: ReclaimRecord) {
        let mut blobs = self.blobs.borrow_mut();
        if blobs.len() < MAX_QUEUED {
            blobs.push_back(record);
        } else {
            self.more_in_store.set(true);
        }
        if blobs.len() == 1 || blobs.len() == BATCH {
            self.arrived.notify();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.blobs.borrow().len()
    }

    /// Waits for a blob, then for a batch of them, but no longer than [`GATHER`].
    async fn gather(&self) {
        while self.len() == 0 {
            self.arrived.wait().await;
        }
        let full = async {
            while self.len() < BATCH {
                self.arrived.wait().await;
            }
        };
        let _ = timeout(GATHER, full).await;
    }
}

impl Metadata {
    /// Starts deleting this core's blobs that nothing refers to, beginning with those that earlier runs left.
    pub fn start_reclaim(&self, reclaimer: Reclaimer) {
        spawn(self.clone().reclaim_loop(reclaimer));
    }

    async fn reclaim_loop(self, reclaimer: Reclaimer) {
        let mut ids = IdGenerator::new();
        self.0.reclaim.more_in_store.set(true);
        loop {
            if self.0.reclaim.more_in_store.replace(false)
                && self.reclaim_left(&reclaimer, &mut ids).await.is_err()
            {
                self.0.reclaim.more_in_store.set(true);
                sleep(PAUSE).await;
                continue;
            }
            self.0.reclaim.gather().await;
            let batch: Vec<ReclaimRecord> = {
                let mut blobs = self.0.reclaim.blobs.borrow_mut();
                let count = blobs.len().min(BATCH);
                blobs.drain(..count).collect()
            };
            if !batch.is_empty() && self.reclaim(batch, &reclaimer, &mut ids).await.is_err() {
                self.0.reclaim.more_in_store.set(true);
                sleep(PAUSE).await;
            }
        }
    }

    /// Reclaims what the store's queue holds for this core.
    async fn reclaim_left(&self, reclaimer: &Reclaimer, ids: &mut IdGenerator) -> Result<()> {
        let mut after = None;
        loop {
            let read = move |view: &super::reads::View<'_>| read::reclaim_queue(view, after, BATCH);
            let (_, found) = self.0.readers.read(read).await?;
            let Some(last) = found.last() else { return Ok(()) };
            after = Some(last.data_id);
            let mine: Vec<_> = found.into_iter().filter(|record| self.is_home(record.partition)).collect();
            if !mine.is_empty() {
                engine::reach!("reclaim-queue-refilled-from-the-store");
                self.reclaim(mine, reclaimer, ids).await?;
            }
        }
    }

    /// Deletes the bytes of a batch and forgets it. A core that apply's news has not reached yet may still resolve a
    /// version with these bytes, so this waits for all cores first.
    async fn reclaim(
        &self,
        batch: Vec<ReclaimRecord>,
        reclaimer: &Reclaimer,
        ids: &mut IdGenerator,
    ) -> Result<()> {
        self.seen_by_all().await?;
        let requested = batch.len();
        let data_ids = reclaimer(batch).await;
        let all_gone = data_ids.len() == requested;
        if !data_ids.is_empty() {
            let command_id = self.own_command_id(ids);
            let kind = Kind::Reclaimed(Reclaimed { data_ids });
            self.commit_here(Command::new(command_id, unix_ms(), kind)).await?;
        }
        engine::reach!("blobs-not-reclaimed", !all_gone);
        // The others stay in the store's queue, and are taken from there later.
        if all_gone { Ok(()) } else { Err(crate::Error::Unavailable("blobs could not be deleted")) }
    }

    fn is_home(&self, partition: u32) -> bool {
        u16::try_from(partition).is_ok_and(|partition| home_core(partition, self.0.cores) == self.0.core)
    }

    /// An id whose last two bytes name a partition of this core, so that the outcome comes back here.
    fn own_command_id(&self, ids: &mut IdGenerator) -> [u8; 16] {
        let mut random = [0; 16];
        fill_random(&mut random);
        let mut id = ids.next(unix_ms(), u128::from_le_bytes(random));
        let partition = u16::try_from(self.0.core).unwrap_or(0) % PARTITIONS;
        id[14..].copy_from_slice(&partition.to_be_bytes());
        id
    }

    /// Visits the blobs of all parts and versions, a few hundred at a time.
    ///
    /// A blob that existed when this began and is referred to throughout is visited: parts come before versions,
    /// and a blob only ever moves from a part to a version. A newer blob may be missed, so a sweep must spare blobs
    /// whose id is not older than its start.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn all_blob_refs(&self, mut visit: impl AsyncFnMut(Vec<BlobPlace>)) -> Result<()> {
        const _: () = assert!(TAG_UPLOAD < TAG_VERSION && TAG_CURRENT < TAG_UPLOAD);
        let mut start = vec![if engine::canary!("live-parts-swept") { TAG_VERSION } else { TAG_UPLOAD }];
        loop {
            let from = start.clone();
            let (_, (blobs, next)) = self.0.readers.read(move |view| blob_refs(view, &from)).await?;
            if !blobs.is_empty() {
                visit(blobs).await;
            }
            match next {
                Some(next) => start = next,
                None => return Ok(()),
            }
        }
    }
}

/// The blobs of some rows from `start` on, and where to continue.
fn blob_refs(reader: &impl Reader, start: &[u8]) -> Result<(Vec<BlobPlace>, Option<Vec<u8>>)> {
    let mut blobs = Vec::new();
    let mut last = Vec::new();
    let mut rows = 0;
    reader.scan(start, &[TAG_VERSION + 1], &mut |key, value| {
        match decode(key)? {
            RowKey::Part(..) => blobs.push(place(&PartRecord::from_row(value)?.blob)),
            RowKey::Version(..) => blobs.extend(VersionRecord::from_row(value)?.blobs.iter().map(place)),
            _ => {}
        }
        rows += 1;
        if rows < BATCH {
            return Ok(ControlFlow::Continue(()));
        }
        last = key.to_vec();
        Ok(ControlFlow::Break(()))
    })?;
    // The next possible row: the last key and a zero byte.
    let next = (rows == BATCH).then(|| {
        last.push(0);
        last
    });
    Ok((blobs, next.filter(|next| *next < prefix_end(&[TAG_VERSION]))))
}

fn place(blob: &BlobRef) -> BlobPlace {
    BlobPlace { data_id: blob.data_id, partition: u16::try_from(blob.partition).unwrap_or(0) }
}
