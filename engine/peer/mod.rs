//! Operations on bytes at the home core of their partition, wherever it is.
//!
//! [`Home`] executes them on its core's segments; [`ByteStore`] routes them to the right core of this node. Requests
//! and replies are plain data, so that they could also be sent to another node.
//!
//! Promises: an operation whose caller left is still executed, and what the caller would have received is returned to
//! its home ([`Place`], [`Located`]). Left to others: what the blocks hold ([`crate::frame`]) and which blobs are still
//! wanted.

#[cfg(test)]
pub(crate) mod harness;
mod lease;
mod local;
pub mod mesh;

use std::cell::Cell;
use std::rc::Rc;

pub use lease::{Hold, Located, Place};
pub use local::Home;

use crate::budget::Budget;
pub use crate::error::Error;
use crate::error::Result;
use crate::format::BlobHeader;
use crate::hash::HashService;
use crate::ids::DataId;
use crate::io::{Permit, Semaphore, spawn};
use crate::limits::{COPIES, PEER_OPERATIONS, PEER_OPERATIONS_PER_PAIR, SMALL_BLOB_BYTES, SMALL_COPIES};
use crate::placement::{Partition, Profile, home_core};
use crate::segment::{Files, Location};
use mesh::{Depths, Mesh, MeshSeed};

/// The name and layout of a blob's bytes; stored with the object's metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobRef {
    /// The blob.
    pub data_id: DataId,
    /// Its partition, which determines the home core.
    pub partition: Partition,
    /// How it is coded.
    pub profile: Profile,
    /// Erasure codec; 0 if there is none.
    pub codec: u8,
    /// Payload size, bytes.
    pub size: u64,
}

/// A small blob that is framed but not yet stored: it travels with the command that commits it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmallBlob {
    /// The header of its record.
    pub header: BlobHeader,
    /// Its framed blocks.
    pub framed: Vec<u8>,
}

impl SmallBlob {
    /// The blob's name and layout.
    pub fn blob_ref(&self) -> BlobRef {
        let header = &self.header;
        BlobRef {
            data_id: header.data_id,
            partition: header.partition,
            profile: Profile { k: header.k, m: header.m },
            codec: header.codec,
            size: header.payload_bytes,
        }
    }
}

/// An extent that is written, ready to be synced and published.
#[derive(Debug)]
pub struct WrittenExtent {
    /// The space that it was written to.
    pub place: Place,
    /// What it holds.
    pub header: BlobHeader,
    /// Framed bytes.
    pub length: u32,
}

/// An operation at a home core.
#[derive(Debug)]
pub enum Request {
    /// Stores a small blob, durably.
    Store(SmallBlob),
    /// Reserves space for an extent of this many framed bytes.
    Reserve {
        /// Framed bytes.
        bytes: u64,
    },
    /// Makes written extents of one shard durable and findable.
    Publish(Vec<WrittenExtent>),
    /// Locates a shard and pins it.
    Locate {
        /// The blob.
        data_id: DataId,
        /// The shard.
        shard: u8,
        /// What to pin.
        hold: Hold,
    },
    /// Deletes blobs, durably. Blobs that are not stored are not an error.
    Delete(Vec<DataId>),
}

/// The reply to the [`Request`] of the same kind.
#[derive(Debug)]
pub enum Reply {
    /// The location of the small blob.
    Stored(Location),
    /// The reserved space.
    Reserved(Place),
    /// The extents are published.
    Published,
    /// The location of the shard.
    Located(Located),
    /// The blobs are gone.
    Deleted,
}

/// The seeds of a node's mesh of byte operations, one per core.
pub fn seeds(cores: usize) -> Vec<MeshSeed<Request, Result<Reply>>> {
    let (least, most) = PEER_OPERATIONS_PER_PAIR;
    mesh::mesh(cores, (PEER_OPERATIONS / cores.max(1)).clamp(least, most))
}

struct Inner {
    home: Home,
    mesh: Mesh<Request, Result<Reply>>,
    files: Rc<Files>,
    budget: Budget,
    copies: Semaphore,
    small_copies: Semaphore,
    hashes: HashService,
    corrupt_reads: Cell<u64>,
}

/// One core's access to all bytes of the node, and what its requests share: open files, the budget of buffer memory,
/// the hashing service.
#[derive(Clone)]
pub struct ByteStore(Rc<Inner>);

impl ByteStore {
    /// Starts this core's end. `home` serves the requests of other cores.
    pub fn start(seed: MeshSeed<Request, Result<Reply>>, home: Home, files: Rc<Files>) -> ByteStore {
        let server = home.clone();
        let mesh = seed.start(move |request, replier| server.serve(request, replier));
        spawn(Files::keep_closing_idle(Rc::downgrade(&files)));
        ByteStore(Rc::new(Inner {
            home,
            mesh,
            files,
            budget: Budget::new(),
            copies: Semaphore::new(COPIES),
            small_copies: Semaphore::new(SMALL_COPIES),
            hashes: HashService::new(),
            corrupt_reads: Cell::new(0),
        }))
    }

    /// This core's own segments.
    pub fn home(&self) -> &Home {
        &self.0.home
    }

    /// The core that owns a partition.
    pub fn core_of(&self, partition: Partition) -> usize {
        home_core(partition, self.0.mesh.cores())
    }

    /// The hashing service of this core.
    pub fn hashes(&self) -> &HashService {
        &self.0.hashes
    }

    /// Number of reads on this core that ended at a block which is not what was written.
    pub fn corrupt_reads(&self) -> u64 {
        self.0.corrupt_reads.get()
    }

    pub(crate) fn note_corrupt_read(&self) {
        self.0.corrupt_reads.set(self.0.corrupt_reads.get() + 1);
    }

    /// Waits for the turn of a copy of `bytes` bytes. Hold the permit while writing a blob from what is read of another
    /// one.
    pub async fn copy_turn(&self, bytes: u64) -> Permit {
        let small = bytes <= SMALL_BLOB_BYTES as u64;
        let turns = if small { &self.0.small_copies } else { &self.0.copies };
        crate::reach!("copy-waits-for-its-turn", turns.available() == 0);
        turns.acquire(1).await
    }

    /// This core's share of half of the disk's free space: what may be reserved before the disk is crowded, bytes.
    pub(crate) fn disk_share(&self) -> usize {
        let share = self.0.home.segments().disk_free_bytes() / (2 * self.0.mesh.cores() as u64);
        usize::try_from(share).unwrap_or(usize::MAX)
    }

    /// Bytes of the buffer budget that are free.
    pub fn budget_free(&self) -> usize {
        self.0.budget.free()
    }

    /// The memory that this core's requests share.
    pub fn budget(&self) -> &Budget {
        &self.0.budget
    }

    /// Operations that wait here or at other cores.
    pub fn depths(&self) -> Depths {
        self.0.mesh.depths()
    }

    /// Stores a small blob at its home core. It is durable on return.
    pub async fn store(&self, blob: SmallBlob) -> Result<Location> {
        match self.call(blob.header.partition, Request::Store(blob)).await? {
            Reply::Stored(location) => Ok(location),
            other => unexpected(&other),
        }
    }

    /// Reserves space for an extent of `bytes` framed bytes.
    pub async fn reserve(&self, partition: Partition, bytes: u64) -> Result<Place> {
        match self.call(partition, Request::Reserve { bytes }).await? {
            Reply::Reserved(place) => Ok(place),
            other => unexpected(&other),
        }
    }

    /// Syncs and publishes the extents of one shard. They are durable on return.
    pub async fn publish(&self, partition: Partition, extents: Vec<WrittenExtent>) -> Result<()> {
        match self.call(partition, Request::Publish(extents)).await? {
            Reply::Published => Ok(()),
            other => unexpected(&other),
        }
    }

    /// Locates a shard.
    ///
    /// # Errors
    /// [`Error::NotFound`] if none of it is stored.
    pub async fn locate(
        &self,
        partition: Partition,
        data_id: DataId,
        shard: u8,
        hold: Hold,
    ) -> Result<Located> {
        if self.core_of(partition) == self.0.mesh.core() {
            return self.0.home.locate(data_id, shard, hold);
        }
        match self.call(partition, Request::Locate { data_id, shard, hold }).await? {
            Reply::Located(located) => Ok(located),
            other => unexpected(&other),
        }
    }

    /// Deletes blobs of one partition. The delete is durable on return.
    pub async fn delete(&self, partition: Partition, data_ids: Vec<DataId>) -> Result<()> {
        match self.call(partition, Request::Delete(data_ids)).await? {
            Reply::Deleted => Ok(()),
            other => unexpected(&other),
        }
    }

    async fn call(&self, partition: Partition, request: Request) -> Result<Reply> {
        let core = self.core_of(partition);
        self.0.mesh.call(core, request).await.map_err(|_| Error::Closed)?
    }

    pub(crate) fn files(&self) -> Rc<Files> {
        self.0.files.clone()
    }
}

/// A reply of a different kind than the request: only another node of a later version could send it.
fn unexpected<T>(reply: &Reply) -> Result<T> {
    debug_assert!(false, "unexpected {reply:?}");
    Err(Error::Unsupported("a reply of another kind"))
}

#[cfg(test)]
mod tests;
