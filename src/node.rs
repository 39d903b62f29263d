//! Assembles a node: what its cores share, the start of their executors, and its orderly end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use engine::io::{DiskSpace, run_executors};
use engine::peer::mesh::MeshSeed;
use engine::peer::{Reply, Request};
use raft::kv::{FjallKv, Kv};
use raft::{GroupConfig, MetadataSeed, NodeSeed, OnFatal};
use rustls::ServerConfig;
use s3::sigv4::keys::Credentials;
use s3::{Inbox, Spread};

use crate::access_log::Logger;
use crate::config::Config;
use crate::core;
use crate::data_dir::{Addresses, LOG_FOLDER, METADATA_FOLDER};
use crate::error::{Error, Result};
use crate::identity::NodeRecord;
use crate::latch::{Latch, Opener};
use crate::metrics::Board;
use crate::startup::Startup;
use crate::tls::S3Tls;

/// Called once, when the node answers on all of its ports.
pub type Ready = Box<dyn FnOnce(&Addresses) + Send>;

/// What a node is made from besides its metadata store: its options, and what the start found and took.
pub struct Plan {
    /// The options. The path of the data directory is absolute.
    pub config: Config,
    /// Maximum number of S3 connections per core.
    pub connections_per_core: usize,
    /// Who may sign requests; `None` only if the S3 port is off.
    pub credentials: Option<Credentials>,
    /// The ports besides S3. A simulated node has none: they speak TLS, whose keys do not follow from a seed.
    pub inner: Option<InnerPorts>,
    /// TLS of the S3 port, if it is on.
    pub s3_tls: Option<Arc<S3Tls>>,
    /// Where cores publish their counters.
    pub board: Arc<Board>,
    /// The access log, unless it is off.
    pub logger: Option<Logger>,
    /// Where it listens, with the ports that the system chose.
    pub addresses: Addresses,
    /// Opens when the node is to drain.
    pub shutdown: Latch,
    /// A bucket to create unless it exists.
    pub first_bucket: Option<String>,
    /// The last run did not shut down cleanly.
    pub unclean: bool,
    /// Called once, when the node answers on all of its ports.
    pub ready: Mutex<Option<Ready>>,
}

/// What the cluster port and the admin port need.
pub struct InnerPorts {
    /// What the cluster port reports about the node.
    pub record: NodeRecord,
    /// TLS of the cluster port.
    pub cluster_tls: Arc<ServerConfig>,
}

/// What all cores of a node share.
pub struct Shared {
    /// What the node was made from.
    pub plan: Plan,
    /// The number of cores.
    pub cores: usize,
    /// The ledger of the disk that segments and log grow on.
    pub disk: Arc<DiskSpace>,
    /// When the process started, milliseconds since 1970: ids of this run are not older.
    pub started_ms: u64,
    /// Opens once this node's part of the Raft group has applied its log.
    pub group_started: Latch,
    /// Cores that have opened their segments, and the entries of blobs that they found.
    opened: AtomicUsize,
    found: AtomicUsize,
    /// Cores that serve.
    serving: AtomicUsize,
    /// Cores that have finished their last request.
    pub drained: AtomicUsize,
    /// Cores that have ended without leaving a blob that nothing refers to.
    pub tidy: Arc<AtomicUsize>,
    parts: Vec<Mutex<Option<Parts>>>,
}

/// What one core is made of; taken by its core.
pub struct Parts {
    /// The core's part of the byte store.
    pub bytes: MeshSeed<Request, engine::Result<Reply>>,
    /// The core's part of the metadata.
    pub metadata: MetadataSeed,
    /// The Raft group's part, on core 0.
    pub group: Option<(NodeSeed, Opener)>,
    /// The core's share in spreading connections, and the connections that are handed to it.
    pub spread: (Spread, Inbox),
}

impl Shared {
    /// Assembles a node over its metadata store: what its cores share, before they start.
    ///
    /// # Errors
    /// The store can't be read, or no thread can be started.
    pub fn assemble<K: Kv>(plan: Plan, group: GroupConfig, kv: Arc<K>) -> Result<Arc<Shared>> {
        let (cores, disk) = (group.cores, group.wal.disk.clone());
        let (seed, metadata) =
            raft::assemble(group, kv).map_err(|error| Error::refused(error.to_string()))?;
        let (opener, group_started) = crate::latch::latch();
        let mut group = Some((seed, opener));
        let parts = engine::peer::seeds(cores)
            .into_iter()
            .zip(metadata)
            .zip(Spread::over(cores, plan.connections_per_core))
            .map(|((bytes, metadata), spread)| {
                Mutex::new(Some(Parts { bytes, metadata, group: group.take(), spread }))
            })
            .collect();
        plan.board.set_waits_for(vec!["segments".to_owned(), "metadata".to_owned()]);
        Ok(Arc::new(Shared {
            plan,
            cores,
            disk,
            started_ms: engine::io::unix_ms(),
            group_started,
            opened: AtomicUsize::new(0),
            found: AtomicUsize::new(0),
            serving: AtomicUsize::new(0),
            drained: AtomicUsize::new(0),
            tidy: Arc::default(),
            parts,
        }))
    }

    /// The parts of a core; `None` if they were taken.
    pub fn take_parts(&self, core: usize) -> Option<Parts> {
        self.parts[core].lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Records that one more core has opened its segments, with this many entries of blobs.
    pub fn core_opened(&self, entries: usize) {
        self.found.fetch_add(entries, Ordering::AcqRel);
        self.opened.fetch_add(1, Ordering::AcqRel);
    }

    /// Entries of blobs that all cores found; `None` until all have opened their segments.
    pub fn blobs_found(&self) -> Option<usize> {
        let all = self.opened.load(Ordering::Acquire) == self.cores;
        all.then(|| self.found.load(Ordering::Acquire))
    }

    /// Records that one more core serves; the last one makes the node ready.
    pub fn core_serves(&self) {
        if self.serving.fetch_add(1, Ordering::AcqRel) + 1 < self.cores {
            return;
        }
        self.plan.board.set_waits_for(Vec::new());
        if let Some(ready) = self.plan.ready.lock().unwrap_or_else(PoisonError::into_inner).take() {
            ready(&self.plan.addresses);
        }
    }
}

/// Ends the process with one line: what is durable stays, what was not acknowledged may be lost.
pub fn end(error: &Error) -> ! {
    engine::io::end_process(&format!("hamster: {error}"), error.exit_code())
}

/// Reports why the metadata can't go on, and ends the process.
pub fn on_fatal() -> OnFatal {
    Arc::new(|why: &str| end(&Error::failed(why)))
}

/// Runs a node until it is told to drain.
pub fn run(startup: Startup) -> Result<()> {
    let Startup { data, cores, log_writer, plan } = startup;
    let cores = usize::from(cores);
    let rows = data.path().join(METADATA_FOLDER);
    let kv = FjallKv::open(&rows).map_err(|error| {
        let rows = rows.display();
        Error::refused(format!(
            "{rows} can't be opened: {error}; if it is damaged, restore the data directory"
        ))
    })?;
    let disk = DiskSpace::new(data.path());
    let group = GroupConfig::new(1, data.path().join(LOG_FOLDER), disk, cores, on_fatal());
    let shared = Shared::assemble(plan, group, Arc::new(kv))?;
    let tidy = shared.tidy.clone();
    let executors = run_executors(cores, move |core| core::run(core, shared.clone()))
        .map_err(|error| Error::refused(format!("cannot start the cores: {error}; see `ulimit -l`")))?;
    executors.join().map_err(|error| Error::failed(format!("a core ended: {error}")))?;
    if let Some(writer) = log_writer {
        writer.finish();
    }
    if tidy.load(Ordering::Acquire) < cores {
        // The next start has to sweep.
        return Ok(());
    }
    data.leave_clean_mark()
}
