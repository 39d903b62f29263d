//! The metadata, as each core sees it.
//!
//! Promises: every read sees everything that was acknowledged before it began. A command is answered once it is
//! durable, applied, and seen by its home core. A key's current object is read from the home core's memory where
//! possible, which only apply's feed changes; everything else is read from the store by threads. In a group of one,
//! every acknowledgement has passed through this node, so reads need no index from a leader.
//!
//! Bounded: commands that wait for their outcome, cached rows and buckets, blobs that wait for reclaim.

mod bytes;
pub mod cache;
mod home;
mod listing;
pub mod reads;
mod reclaim;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use engine::FixedState;
use engine::io::{Instant, OneshotSender, Receiver, Semaphore, Sender, Writers, spawn, timeout};
use engine::peer::mesh::{Mesh, MeshSeed, Replier};
use engine::peer::{Home, SmallBlob};
use engine::placement::{home_core, partition_of_key};
use hashbrown::HashMap;

use crate::command::{Command, Outcome, Selector};
use crate::feed::{Feed, Progress, partition_of};
use crate::key::Name;
use crate::read::UploadState;
use crate::record::{BucketRecord, Bytes16, UploadRecord, VersionRecord};
use crate::types::Proposal;
use crate::{Error, Result, read};
pub use bytes::Resolved;
use cache::{Cache, CacheStats};
pub use listing::ListQuery;
use reads::Readers;
pub use reclaim::{BlobPlace, Reclaimer};

/// Maximum number of commands of one core that wait for their outcome.
const MAX_PENDING: usize = 8192;
/// A command without an outcome is given up after this long; it may still be executed.
const OUTCOME_PATIENCE: Duration = Duration::from_secs(if cfg!(sim) { 3 } else { 30 });
/// A core that has not followed the feed for this long is stuck.
const FEED_PATIENCE: Duration = Duration::from_secs(5);
/// Memory for the buckets that each core caches, bytes.
const BUCKET_CACHE_BYTES: usize = 4 << 20;

/// A command on its way to the Raft core.
#[derive(Debug)]
pub struct Submission {
    /// The command.
    pub proposal: Proposal,
    /// Its id.
    pub command_id: Bytes16,
    /// The core that waits for its outcome.
    pub core: usize,
}

/// A request from one core to another.
pub(crate) enum Request {
    Commit(Box<Command>),
    Resolve { bucket: String, key: String, selector: Selector },
    Store(Box<SmallBlob>),
    StoreAndCommit(Box<(SmallBlob, Command)>),
    ResolveLocated { bucket: String, key: String, selector: Selector },
}

/// The reply to a [`Request`].
pub(crate) enum Reply {
    Outcome(Result<Outcome>),
    Version(Result<Option<Arc<VersionRecord>>>),
    Stored(Result<()>),
    Resolved(Result<Resolved>),
}

/// One core's part, made before the executors start.
pub struct MetadataSeed {
    pub(crate) mesh: MeshSeed<Request, Reply>,
    pub(crate) feed: Receiver<Feed>,
    pub(crate) submit: Sender<Submission>,
    pub(crate) readers: Readers,
    pub(crate) progress: Arc<Progress>,
    pub(crate) writers: Writers,
    pub(crate) cache_bytes: usize,
}

struct Pending {
    outcome: OneshotSender<Result<Outcome>>,
    deadline: Instant,
}

struct Inner {
    core: usize,
    cores: usize,
    mesh: RefCell<Option<Mesh<Request, Reply>>>,
    submit: Sender<Submission>,
    readers: Readers,
    progress: Arc<Progress>,
    /// The writers whose commands go to the log, on all cores.
    writers: Writers,
    home: Home,
    /// Current objects of this core's keys, by bucket NUL key.
    rows: RefCell<Cache<VersionRecord>>,
    buckets: RefCell<Cache<BucketRecord>>,
    pending: RefCell<HashMap<Bytes16, Pending, FixedState>>,
    room: Semaphore,
    seen: Cell<u64>,
    reclaim: reclaim::Queue,
}

/// One core's view of the metadata. Cloning shares it; it stays on its core.
#[derive(Clone)]
pub struct Metadata(Rc<Inner>);

/// What a core's part has done.
#[derive(Clone, Copy, Debug, Default)]
pub struct MetadataStats {
    /// Current objects in memory.
    pub rows: CacheStats,
    /// Buckets in memory.
    pub buckets: CacheStats,
    /// Commands that wait for their outcome.
    pub pending: usize,
    /// Blobs that wait for reclaim.
    pub reclaim_queue: usize,
    /// Reads that wait for a reader thread.
    pub reads_waiting: usize,
    /// Requests of other cores that were waiting when one was last taken.
    pub requests_waiting: usize,
    /// The last log index that this core has seen.
    pub seen_index: u64,
}

impl MetadataSeed {
    /// Starts the part on its core.
    pub fn start(self, cores: usize, home: Home) -> Metadata {
        let inner = Inner {
            core: self.mesh.core(),
            cores,
            mesh: RefCell::new(None),
            submit: self.submit,
            readers: self.readers,
            progress: self.progress,
            writers: self.writers,
            home,
            rows: RefCell::new(Cache::new(self.cache_bytes, weigh_version)),
            buckets: RefCell::new(Cache::new(BUCKET_CACHE_BYTES, |bucket| {
                bucket.name.len() + bucket.owner.len() + 64
            })),
            pending: RefCell::default(),
            room: Semaphore::new(MAX_PENDING),
            seen: Cell::new(0),
            reclaim: reclaim::Queue::default(),
        };
        let metadata = Metadata(Rc::new(inner));
        // The mesh belongs to the part: a handler that owned the part would keep both forever.
        let part = Rc::downgrade(&metadata.0);
        let mesh = self.mesh.start(move |request, replier| {
            if let Some(part) = part.upgrade() {
                Metadata(part).answer(request, replier);
            }
        });
        metadata.0.mesh.replace(Some(mesh));
        spawn(metadata.clone().follow(self.feed));
        spawn(metadata.clone().expire_pending());
        metadata
    }
}

fn weigh_version(version: &VersionRecord) -> usize {
    let blobs = version.blobs.len() * size_of::<crate::record::BlobRef>();
    size_of::<VersionRecord>() + blobs + prost::Message::encoded_len(version)
}

impl Metadata {
    /// The home core of a key.
    pub fn home_of(&self, bucket: &str, key: &str) -> usize {
        home_core(partition_of_key(bucket, key.as_bytes()), self.0.cores)
    }

    fn mesh(&self) -> Result<Mesh<Request, Reply>> {
        self.0.mesh.borrow().clone().ok_or(Error::Unavailable("the core is starting"))
    }

    /// Starts what another core requests of this one.
    fn answer(&self, request: Request, replier: Replier<Reply>) {
        let metadata = self.clone();
        match request {
            Request::Commit(command) => drop(spawn(async move {
                replier.send(Reply::Outcome(metadata.commit_here(*command).await));
            })),
            Request::Store(blob) => drop(spawn(async move {
                replier.send(Reply::Stored(metadata.store_here(*blob).await));
            })),
            Request::StoreAndCommit(both) => drop(spawn(async move {
                let (blob, command) = *both;
                replier.send(Reply::Outcome(metadata.store_and_commit_here(blob, command).await));
            })),
            Request::ResolveLocated { bucket, key, selector } => {
                if let Some(hit) =
                    Name::new(&bucket, &key).ok().and_then(|name| metadata.cached(name, &selector))
                {
                    return replier.send(Reply::Resolved(Ok(metadata.located(Some(hit)))));
                }
                spawn(async move {
                    let version = metadata.resolve_here(&bucket, &key, &selector).await;
                    replier.send(Reply::Resolved(version.map(|version| metadata.located(version))));
                });
            }
            Request::Resolve { bucket, key, selector } => {
                if let Some(hit) =
                    Name::new(&bucket, &key).ok().and_then(|name| metadata.cached(name, &selector))
                {
                    return replier.send(Reply::Version(Ok(Some(hit))));
                }
                spawn(async move {
                    replier.send(Reply::Version(metadata.resolve_here(&bucket, &key, &selector).await));
                });
            }
        }
    }

    /// Proposes a command through its home core, and waits for its outcome.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: nothing was done. [`Error::OutcomeUnknown`]: the command may have been executed, or
    /// may still be.
    pub async fn commit(&self, command: Command) -> Result<Outcome> {
        let home = self.home_of_command(&command);
        if home == self.0.core {
            return self.commit_here(command).await;
        }
        match self.mesh()?.call(home, Request::Commit(Box::new(command))).await {
            Ok(Reply::Outcome(outcome)) => outcome,
            Ok(_) | Err(_) => Err(Error::OutcomeUnknown),
        }
    }

    /// The core on which a command must be committed.
    pub fn home_of_command(&self, command: &Command) -> usize {
        home_core(partition_of(command), self.0.cores)
    }

    /// The version that a request names, possibly a delete marker; for [`Selector::Current`] the newest.
    ///
    /// # Errors
    /// No key can have this name, or the store can't be read.
    pub async fn resolve(
        &self,
        bucket: &str,
        key: &str,
        selector: Selector,
    ) -> Result<Option<Arc<VersionRecord>>> {
        let home = self.home_of(bucket, key);
        if home == self.0.core {
            return self.resolve_here(bucket, key, &selector).await;
        }
        let request = Request::Resolve { bucket: bucket.to_owned(), key: key.to_owned(), selector };
        match self.mesh()?.call(home, request).await {
            Ok(Reply::Version(version)) => version,
            Ok(_) | Err(_) => Err(Error::Unavailable("the key's core has ended")),
        }
    }

    /// A bucket; every core keeps those in memory that it was asked for. That one is absent is read from the store each
    /// time: another core may have seen its creation already, and let a client write to it.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn bucket(&self, name: &str) -> Result<Option<Arc<BucketRecord>>> {
        if let Some(known) = self.0.buckets.borrow_mut().get(name.as_bytes()).flatten() {
            return Ok(Some(known));
        }
        if crate::key::check_bucket(name).is_err() {
            return Ok(None);
        }
        self.0.buckets.borrow_mut().begin_read(name.as_bytes());
        let owned = name.to_owned();
        let found = self.read_store(move |view| read::bucket(view, &owned)).await;
        let mut buckets = self.0.buckets.borrow_mut();
        match found {
            Ok((index, record)) => Ok(buckets.end_read(name.as_bytes(), Some((index, record.map(Arc::new))))),
            Err(error) => {
                buckets.end_read(name.as_bytes(), None);
                Err(error)
            }
        }
    }

    /// Reads the store, then waits until every core knows at least as much as was read. Otherwise a version seen
    /// here could be missing in the next answer, from a core that apply's update has not reached yet.
    pub(crate) async fn read_store<T: Send + 'static>(
        &self,
        read: impl FnOnce(&reads::View<'_>) -> Result<T> + Send + 'static,
    ) -> Result<(u64, T)> {
        let found = self.0.readers.read(read).await?;
        if !engine::canary!("reads-do-not-wait") {
            self.seen_by_all().await?;
        }
        Ok(found)
    }

    /// Waits until every core has seen all news that was announced before.
    async fn seen_by_all(&self) -> Result<()> {
        let progress = &self.0.progress;
        engine::reach!("read-waits-for-a-late-core", !progress.reached(&progress.announced()));
        timeout(FEED_PATIENCE, progress.wait()).await.map_err(|_| {
            engine::reach!("a-core-is-behind");
            Error::Unavailable("a core is behind")
        })
    }

    /// An upload in progress.
    ///
    /// # Errors
    /// No key can have this name, or the store can't be read.
    pub async fn upload(&self, bucket: &str, key: &str, id: Bytes16) -> Result<Option<Arc<UploadRecord>>> {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        let found = self.read_store(move |view| read::upload(view, Name::new(&bucket, &key)?, id)).await?;
        Ok(found.1.map(Arc::new))
    }

    /// What became of an upload; see [`read::upload_state`].
    ///
    /// # Errors
    /// No key can have this name, or the store can't be read.
    pub async fn upload_state(&self, bucket: &str, key: &str, id: Bytes16) -> Result<Option<UploadState>> {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        let read = move |view: &reads::View<'_>| read::upload_state(view, Name::new(&bucket, &key)?, id);
        Ok(self.read_store(read).await?.1)
    }

    /// What this part has done.
    pub fn stats(&self) -> MetadataStats {
        MetadataStats {
            rows: self.0.rows.borrow().stats(),
            buckets: self.0.buckets.borrow().stats(),
            pending: self.0.pending.borrow().len(),
            reclaim_queue: self.0.reclaim.len(),
            reads_waiting: self.0.readers.depth(),
            requests_waiting: self.0.mesh.borrow().as_ref().map_or(0, |mesh| mesh.depths().requests),
            seen_index: self.0.seen.get(),
        }
    }
}

#[cfg(test)]
mod tests;
