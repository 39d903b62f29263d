//! The assembly of a node: what its cores share, the start of their executors, and its orderly end.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use engine::io::run_executors;
use engine::peer::mesh::MeshSeed;
use engine::peer::{Reply, Request};
use raft::kv::FjallKv;
use raft::{GroupConfig, MetadataSeed, NodeSeed};
use rustls::ServerConfig;

use crate::access_log::Logger;
use crate::core;
use crate::credentials::Credentials;
use crate::data_dir::{Addresses, LOG_FOLDER, METADATA_FOLDER};
use crate::error::{Error, Result};
use crate::files;
use crate::identity::NodeRecord;
use crate::latch::{Latch, Opener};
use crate::metrics::Board;
use crate::startup::Startup;
use crate::tls::S3Tls;

/// The file that an orderly end leaves: without it the next start looks for bytes that nothing refers to.
const CLEAN_MARK: &str = "clean";

/// Told once that the node answers on all of its ports.
type Ready = Box<dyn FnOnce(&Addresses) + Send>;

/// What all cores of a node see.
pub struct Shared {
    pub data_dir: PathBuf,
    pub cores: usize,
    pub connections_per_core: usize,
    pub region: String,
    pub domains: Vec<String>,
    pub credentials: Option<Credentials>,
    pub record: NodeRecord,
    pub cluster_tls: Arc<ServerConfig>,
    pub s3_tls: Option<Arc<S3Tls>>,
    pub board: Arc<Board>,
    pub logger: Option<Logger>,
    pub addresses: Addresses,
    pub shutdown: Latch,
    pub first_bucket: Option<String>,
    /// When the process started, milliseconds since 1970: ids of this run are not older.
    pub started_ms: u64,
    /// The last run did not end in order.
    pub unclean: bool,
    /// Opens once this node's part of the Raft group has applied its log.
    pub group_started: Latch,
    /// Cores that serve, and cores that have finished their last request.
    pub serving: AtomicUsize,
    pub drained: AtomicUsize,
    ready: Mutex<Option<Ready>>,
    parts: Vec<Mutex<Option<Parts>>>,
}

/// What one core is made of; taken by its core.
pub struct Parts {
    pub bytes: MeshSeed<Request, engine::Result<Reply>>,
    pub metadata: MetadataSeed,
    /// The Raft group's part, on core 0.
    pub group: Option<(NodeSeed, Opener)>,
}

impl Shared {
    /// The parts of a core; none if they were taken.
    pub fn take_parts(&self, core: usize) -> Option<Parts> {
        self.parts[core].lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Tells that one more core serves; the last one makes the node ready.
    pub fn core_serves(&self) {
        if self.serving.fetch_add(1, Ordering::AcqRel) + 1 < self.cores {
            return;
        }
        self.board.set_waits_for(Vec::new());
        if let Some(ready) = self.ready.lock().unwrap_or_else(PoisonError::into_inner).take() {
            ready(&self.addresses);
        }
    }
}

/// Ends the process with one line: what is durable stays, what was not acknowledged is gone.
pub fn end(error: &Error) -> ! {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "hamster: {error}");
    std::process::exit(i32::from(error.exit_code()))
}

/// Runs a node until it is told to drain.
pub fn run(startup: Startup) -> Result<()> {
    let Startup {
        config, data, identity, credentials, cores, cluster_tls, s3_tls, board, access_log, ..
    } = startup;
    let cores = usize::from(cores);
    let data_dir = data.path().to_owned();
    let unclean = !take_clean_mark(&data_dir)?;
    let on_fatal = Arc::new(|why: &str| end(&Error::failed(why)));
    let failed = |error: raft::Error| Error::failed(error.to_string());
    let kv = FjallKv::open(&data_dir.join(METADATA_FOLDER)).map_err(failed)?;
    let group = GroupConfig::new(1, data_dir.join(LOG_FOLDER), cores, on_fatal);
    let (seed, metadata) = raft::assemble(group, Arc::new(kv)).map_err(failed)?;
    let (opener, group_started) = crate::latch::latch();
    let mut group = Some((seed, opener));
    let parts = engine::peer::seeds(cores)
        .into_iter()
        .zip(metadata)
        .map(|(bytes, metadata)| Mutex::new(Some(Parts { bytes, metadata, group: group.take() })))
        .collect();
    let (logger, writer) = access_log.unzip();
    let shared = Arc::new(Shared {
        data_dir: data_dir.clone(),
        cores,
        connections_per_core: startup.connections_per_core,
        region: config.region,
        domains: config.domains,
        credentials,
        record: identity.record.clone(),
        cluster_tls,
        s3_tls,
        board,
        logger,
        addresses: startup.addresses,
        shutdown: startup.shutdown,
        first_bucket: startup.first_bucket,
        started_ms: engine::io::unix_ms(),
        unclean,
        group_started,
        serving: AtomicUsize::new(0),
        drained: AtomicUsize::new(0),
        ready: Mutex::new(Some(startup.ready)),
        parts,
    });
    shared.board.set_waits_for(vec!["segments".to_owned(), "metadata".to_owned()]);
    let executors = run_executors(cores, move |core| core::run(core, shared.clone()))
        .map_err(|error| Error::refused(format!("cannot start the cores: {error}; see `ulimit -l`")))?;
    executors.join().map_err(|error| Error::failed(format!("a core ended: {error}")))?;
    if let Some(writer) = writer {
        writer.finish();
    }
    files::replace_secret(&data_dir.join(CLEAN_MARK), b"")
}

/// Removes the mark of an orderly end; says whether it was there.
fn take_clean_mark(data_dir: &Path) -> Result<bool> {
    match std::fs::remove_file(data_dir.join(CLEAN_MARK)) {
        Ok(()) => files::sync_dir(data_dir).map(|()| true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(files::cannot("remove", &data_dir.join(CLEAN_MARK), &error)),
    }
}
