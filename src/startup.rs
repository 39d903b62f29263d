//! From a checked configuration to everything that a node needs to run: identity, lock, cores, ports, limits.

use crate::access_log;
use crate::checks;
use crate::config::Config;
use crate::cpus;
use crate::credentials::Credentials;
use crate::data_dir::{Addresses, DataDir};
use crate::error::Result;
use crate::identity;
use crate::metrics::Board;
use crate::node::{InnerPorts, Plan, Ready};
use crate::signals;
use crate::tls::{self, S3Tls};
use s3::sigv4::keys;
use std::sync::Mutex;

/// What a node is started with. Every port was free a moment ago and has its number.
pub struct Startup {
    /// The locked data directory: kept as long as the node runs.
    pub data: DataDir,
    /// The number of cores, fixed for this data directory.
    pub cores: u16,
    /// Writes the access log, unless it is off. Call [`access_log::Writer::finish`] after the cores have ended.
    pub log_writer: Option<access_log::Writer>,
    /// What the cores run.
    pub plan: Plan,
}

/// Checks the machine, and takes from it what the node needs.
pub fn prepare(
    mut config: Config,
    data: DataDir,
    credentials: Option<Credentials>,
    first_bucket: Option<String>,
    ready: Ready,
) -> Result<Startup> {
    config.cpus.as_ref().map(cpus::confine).transpose()?;
    let identity = identity::load(data.path())?;
    checks::io_uring()?;
    let open_files = checks::open_files()?;
    let cores = data.cores(config.cores)?;
    checks::locked_memory(cores)?;
    let listen = config.listen.unwrap_or(identity.record.listen_address());
    let s3 = config.s3.iter().map(|address| checks::port("--s3", *address));
    let addresses = Addresses {
        s3: s3.collect::<Result<_>>()?,
        listen: checks::port("--listen", listen)?,
        admin: checks::port("--admin", config.admin)?,
    };
    let cluster_tls = tls::cluster_server(&identity)?;
    let s3_tls = config.tls.as_ref().map(S3Tls::load).transpose()?;
    let board = Board::new(cores);
    let (logger, log_writer) = access_log::start(&config.access_log, &board)?.unzip();
    data.fix_cores(cores)?;
    data.close_folders(cores)?;
    data.note_addresses(&addresses)?;
    let shutdown = signals::watch()?;
    s3_tls.as_ref().map(S3Tls::watch).transpose()?;
    let unclean = !data.take_clean_mark()?;
    config.data_dir = data.path().to_owned();
    let s3_is_on = !config.s3.is_empty();
    let plan = Plan {
        config,
        connections_per_core: checks::connections_per_core(open_files, cores),
        credentials: credentials.filter(|_| s3_is_on).map(|root| {
            let secret = keys::Secret::new(root.secret_access_key.as_str());
            keys::Credentials::single(root.access_key_id, secret)
        }),
        inner: Some(InnerPorts { record: identity.record, cluster_tls }),
        s3_tls,
        board,
        logger,
        addresses,
        shutdown,
        first_bucket,
        unclean,
        ready: Mutex::new(Some(ready)),
    };
    Ok(Startup { data, cores, log_writer, plan })
}
