//! Log segments prepared ahead of use. A data sync of blocks that were never written costs fifty times as much as one
//! of written blocks, so a segment is a file filled with zeros or one that has been used before.
//!
//! The order of the steps makes a crash harmless: a file is named `new-` until it is filled and synced, and `free-`
//! while it waits. Its header is written and synced before the rename that makes it a `log-`.

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::rc::Rc;

use super::log::Shared;
use super::names::{Role, file_name};
use crate::buf::Buf;
use crate::error::{Error, Result};
use crate::format::{PAGE_BYTES, SegmentHeader};
use crate::io::{self, File, Semaphore};
use crate::limits::ZERO_FILL_BYTES;

/// An empty log segment with its header.
pub(super) struct Fresh {
    pub(super) id: u32,
    pub(super) generation: u32,
    pub(super) length: u64,
    pub(super) file: Rc<File>,
}

/// Files ready to become log segments.
pub(super) struct Pool {
    /// The next segment, if it is ready.
    ready: RefCell<Option<Fresh>>,
    /// Ids in the names of the emptied files.
    free: RefCell<Vec<u32>>,
    busy: Semaphore,
    /// There was no space for the next segment.
    starved: Cell<bool>,
}

impl Default for Pool {
    fn default() -> Pool {
        Pool {
            ready: RefCell::new(None),
            free: RefCell::default(),
            busy: Semaphore::new(1),
            starved: Cell::new(false),
        }
    }
}

impl Pool {
    pub(super) fn add(&self, id: u32) {
        self.free.borrow_mut().push(id);
    }

    pub(super) fn len(&self) -> usize {
        self.free.borrow().len()
    }

    /// Whether a segment is available without new space on disk.
    pub(super) fn has_spare(&self) -> bool {
        self.ready.borrow().is_some() || self.len() > 0
    }

    /// Whether the next segment can't be prepared. Then deletes have only what is left of the active one.
    pub(super) fn is_starved(&self) -> bool {
        self.starved.get() && !self.has_spare()
    }

    pub(super) fn pop(&self) -> Option<u32> {
        self.free.borrow_mut().pop()
    }

    /// Makes an empty segment the next one, unless one is ready already. Returns whether it did.
    pub(super) fn offer_ready(&self, fresh: Fresh) -> bool {
        let mut ready = self.ready.borrow_mut();
        let taken = ready.is_none();
        if taken {
            *ready = Some(fresh);
        }
        taken
    }
}

fn failed(error: &std::io::Error) -> Error {
    Error::io("prepare a log segment", error)
}

impl Shared {
    /// The next segment. It is prepared now if it was not ready.
    pub(super) async fn take_fresh(&self) -> Result<Fresh> {
        let _busy = self.pool.busy.acquire(1).await;
        let ready = self.pool.ready.borrow_mut().take();
        match ready {
            Some(fresh) => Ok(fresh),
            None => {
                crate::reach!("log-segment-not-ready");
                self.prepare().await.inspect_err(|_| self.reclaim.notify())
            }
        }
    }

    /// Prepares the next segment, unless one is ready.
    pub(super) async fn prepare_ahead(&self) -> Result<()> {
        let _busy = self.pool.busy.acquire(1).await;
        if self.pool.ready.borrow().is_none() && !self.queue.is_closed() {
            let fresh = self.prepare().await?;
            self.pool.offer_ready(fresh);
        }
        Ok(())
    }

    /// Prepares one segment. The caller holds `busy`, so that ids come into use in order.
    async fn prepare(&self) -> Result<Fresh> {
        if let Some(old) = self.pool.pop() {
            let path = self.dir.join(file_name(Role::Free, old));
            self.pool.starved.set(false);
            crate::reach!("free-segment-reused");
            let opened = File::open(&path).await;
            if opened.as_ref().is_err_and(|error| error.kind() != ErrorKind::NotFound) {
                self.pool.add(old);
            }
            let file = opened.map_err(|error| failed(&error))?;
            return self.begin(file, Role::Free, old).await.map_err(|error| failed(&error));
        }
        let claim = self.config.disk.claim(self.config.log_segment_bytes, self.config.reserve_bytes / 2);
        self.pool.starved.set(claim.is_none());
        crate::reach!("no-space-for-a-log-segment", claim.is_none());
        let Some(_growth) = claim else { return Err(Error::Full) };
        let name = self.take_id();
        match self.fill(name).await {
            Ok(file) => self.begin(file, Role::New, name).await.map_err(|error| failed(&error)),
            Err(error) => {
                crate::reach!("filling-a-segment-failed");
                // The likely reason is lack of space: leave none taken.
                let _ = io::remove_file(&self.dir.join(file_name(Role::New, name))).await;
                Err(failed(&error))
            }
        }
    }

    async fn fill(&self, name: u32) -> std::io::Result<File> {
        let file = File::create(&self.dir.join(file_name(Role::New, name))).await?;
        let length = self.config.log_segment_bytes;
        let mut at = 0;
        while at < length {
            let piece = (length - at).min(ZERO_FILL_BYTES as u64);
            let mut zeros = Buf::with_capacity(piece as usize);
            zeros.set_len(piece as usize);
            zeros.fill(0);
            file.write_at(zeros, at).await?;
            at += piece;
            io::yield_if_needed().await;
        }
        file.sync_data().await?;
        Ok(file)
    }

    async fn begin(&self, file: File, role: Role, name: u32) -> std::io::Result<Fresh> {
        let id = self.take_id();
        // The generation is random, not counted: a client that could guess it could send a body that recovery takes for
        // records.
        let generation = io::random_u64() as u32;
        let length = self.config.log_segment_bytes;
        let core = self.config.core as u32;
        let header = SegmentHeader { segment: id, generation, core, length, created_ms: io::unix_ms() };
        let mut page = Buf::with_capacity(PAGE_BYTES);
        page.extend_from_slice(&header.encode());
        page.pad_to(PAGE_BYTES);
        file.write_at(page, 0).await?;
        file.sync_data().await?;
        io::rename(&self.dir.join(file_name(role, name)), &self.dir.join(file_name(Role::Log, id))).await?;
        if !crate::canary!("folder-not-synced") {
            io::sync_dir(&self.dir).await?;
        }
        Ok(Fresh { id, generation, length, file: Rc::new(file) })
    }

    /// Turns a log segment that nothing needs into a free file, or removes it if enough are kept. It may be called again
    /// after an error.
    pub(super) async fn retire(&self, id: u32, length: u64) -> Result<()> {
        let path = self.dir.join(file_name(Role::Log, id));
        let free = self.dir.join(file_name(Role::Free, id));
        let mut keep =
            length == self.config.log_segment_bytes && self.pool.len() < self.config.free_log_segments;
        let result = if keep { io::rename(&path, &free).await } else { io::remove_file(&path).await };
        match result {
            // An earlier attempt got this far, and then failed to sync the folder.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                crate::reach!("log-retired-again");
                keep = File::open(&free).await.is_ok();
            }
            result => result.map_err(|error| Error::io("retire a log segment", &error))?,
        }
        #[cfg(test)]
        if self.fail_dir_sync.take() {
            return Err(Error::io("sync a data folder", &std::io::Error::other("injected")));
        }
        io::sync_dir(&self.dir).await.map_err(|error| Error::io("sync a data folder", &error))?;
        if keep {
            self.pool.add(id);
        }
        Ok(())
    }

    /// Removes free files beyond `keep`, to free their space.
    pub(super) async fn shrink_pool(&self, keep: usize) -> Result<()> {
        while self.pool.len() > keep
            && let Some(id) = self.pool.pop()
        {
            crate::reach!("free-segment-removed");
            let path = self.dir.join(file_name(Role::Free, id));
            io::remove_file(&path).await.map_err(|error| Error::io("remove a free segment", &error))?;
        }
        Ok(())
    }
}
