//! From a checked configuration to everything that a node needs to run: identity, lock, cores, ports, limits.

use crate::access_log;
use crate::checks;
use crate::config::Config;
use crate::credentials::Credentials;
use crate::data_dir::{Addresses, DataDir};
use crate::error::Result;
use crate::identity::{self, Identity};
use crate::latch::Latch;
use crate::metrics::Board;
use crate::signals;
use crate::tls::{self, S3Tls};
use rustls::ServerConfig;
use std::sync::Arc;

/// What a node is started with. Every port was free a moment ago and has its number.
pub struct Startup {
    /// The configuration.
    pub config: Config,
    /// The locked data directory: kept as long as the node runs.
    pub data: DataDir,
    /// Who the node is.
    pub identity: Identity,
    /// The root credential; `None` only where the S3 port is off.
    pub credentials: Option<Credentials>,
    /// The number of cores, fixed for this data directory.
    pub cores: u16,
    /// S3 connections that a core holds at most.
    pub connections_per_core: usize,
    /// TLS of the cluster port.
    pub cluster_tls: Arc<ServerConfig>,
    /// TLS of the S3 port, where it is asked for.
    pub s3_tls: Option<Arc<S3Tls>>,
    /// Where cores publish what they count.
    pub board: Arc<Board>,
    /// The access log, unless it is off. Call [`access_log::Writer::finish`] after the cores ended.
    pub access_log: Option<(access_log::Logger, access_log::Writer)>,
    /// Where to listen.
    pub addresses: Addresses,
    /// Tells all of its clones when the node shall drain.
    pub shutdown: Latch,
    /// A bucket to make unless it is there.
    pub first_bucket: Option<String>,
    /// Called once the node answers on all of its ports.
    pub ready: Box<dyn FnOnce(&Addresses) + Send>,
}

/// Checks the machine and takes what the node needs of it.
pub fn prepare(
    config: Config,
    data: DataDir,
    credentials: Option<Credentials>,
    first_bucket: Option<String>,
    ready: Box<dyn FnOnce(&Addresses) + Send>,
) -> Result<Startup> {
    let identity = identity::load(data.path())?;
    checks::io_uring()?;
    let open_files = checks::open_files()?;
    let cores = data.cores(config.cores)?;
    checks::locked_memory(cores)?;
    let connections_per_core = checks::connections_per_core(open_files, cores);
    let listen = config.listen.unwrap_or(identity.record.listen_address());
    let addresses = Addresses {
        s3: config.s3.map(|address| checks::port("--s3", address)).transpose()?,
        listen: checks::port("--listen", listen)?,
        admin: checks::port("--admin", config.admin)?,
    };
    let cluster_tls = tls::cluster_server(&identity)?;
    let s3_tls = config.tls.as_ref().map(S3Tls::load).transpose()?;
    s3_tls.as_ref().map(S3Tls::watch).transpose()?;
    let board = Board::new(cores);
    let access_log = access_log::start(&config.access_log, &board)?;
    data.fix_cores(cores)?;
    data.close_folders(cores)?;
    data.note_addresses(&addresses)?;
    let shutdown = signals::watch()?;
    Ok(Startup {
        config,
        data,
        identity,
        credentials,
        cores,
        connections_per_core,
        cluster_tls,
        s3_tls,
        board,
        access_log,
        addresses,
        shutdown,
        first_bucket,
        ready,
    })
}
