//! One core's life: its segments, its share of the metadata, its ports; then draining.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use engine::ids::DataId;
use engine::io::{self, Listener, sleep, spawn};
use engine::peer::{ByteStore, Home};
use engine::segment::{Files, Store};
use raft::Metadata;
use raft::command::{Command, CreateBucket, Kind, Outcome};
use raft::record::ReclaimRecord;
use s3::service::{Service, ServiceConfig};
use s3::{Inbox, Spread};

use crate::admin::serve_admin;
use crate::cluster::server::{Answers, serve_cluster};
use crate::data_dir::{LOG_FOLDER, METADATA_FOLDER};
use crate::error::Error;
use crate::node::{InnerPorts, Shared, end};
use crate::report;

/// How long requests in progress may take to finish once the node is told to stop.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(20);
/// Interval between checks of whether the other cores are done.
const CHECK_INTERVAL: Duration = Duration::from_millis(5);
/// Interval between reports of the core's counters.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Runs core `core` from start to end.
pub async fn run(core: usize, shared: Arc<Shared>) {
    let Some(parts) = shared.take_parts(core) else { return };
    let home = match Home::open(&shared.disk, core).await {
        Ok(home) => home,
        Err(error) => end(&Error::refused(format!("the segments can't be opened: {error}"))),
    };
    let store = home.segments().clone();
    report::damage(core, &store);
    shared.core_opened(store.stats().index_entries);
    let files = Rc::new(Files::new(&shared.plan.config.data_dir));
    let bytes = ByteStore::start(parts.bytes, home.clone(), files);
    let metadata = parts.metadata.start(shared.cores, home.clone());
    let mut group = None;
    if let Some((seed, opener)) = parts.group {
        match seed.start(no_blobs(&shared)).await {
            Ok(node) => group = Some(node),
            Err(error) => end(&Error::refused(format!("the metadata can't be opened: {error}"))),
        }
        drop(opener);
    }
    shared.group_started.wait().await;
    metadata.start_reclaim(Box::new(move |records| Box::pin(reclaim(home.clone(), records))));
    let swept = Rc::new(Cell::new(!shared.plan.unclean));
    if shared.plan.unclean {
        spawn(sweep(core, shared.clone(), metadata.clone(), store.clone(), swept.clone()));
    }
    if group.is_some()
        && let Some(name) = shared.plan.first_bucket.clone()
    {
        make_bucket(&metadata, name).await;
    }
    let service = open_ports(core, &shared, &metadata, &bytes, parts.spread);
    spawn(report::every(
        REPORT_INTERVAL,
        core,
        shared.clone(),
        report::Sources {
            service: service.clone(),
            bytes: bytes.clone(),
            metadata: metadata.clone(),
            store: store.clone(),
            group: group.clone(),
        },
    ));
    shared.core_serves();
    shared.plan.shutdown.wait().await;
    let all_ended = match &service {
        Some(service) => service.drain(DRAIN_LIMIT).await,
        None => true,
    };
    shared.drained.fetch_add(1, Ordering::AcqRel);
    // Others may still need this core's segments, and core 0's log.
    while shared.drained.load(Ordering::Acquire) < shared.cores {
        sleep(CHECK_INTERVAL).await;
    }
    bytes.home().close().await;
    if swept.get() && all_ended && !store.may_hold_leftovers() {
        shared.tidy.fetch_add(1, Ordering::AcqRel);
    }
    if let Some(group) = group
        && let Err(error) = group.stop().await
    {
        end(&Error::failed(format!("the metadata did not close: {error}")));
    }
}

/// Refuses to found the group of a node whose cores hold blobs: its log and metadata store are gone, and the sweep
/// would take all of the blobs for ones that nothing refers to.
async fn no_blobs(shared: &Shared) -> raft::Result<()> {
    loop {
        match shared.blobs_found() {
            Some(0) => return Ok(()),
            Some(entries) => {
                return Err(raft::Error::Refused(format!(
                    "the cores hold {entries} blobs, but the log and the metadata store are gone: restore the folders \
                     {LOG_FOLDER} and {METADATA_FOLDER} from a copy"
                )));
            }
            None => sleep(CHECK_INTERVAL).await,
        }
    }
}

/// Binds the ports of this core and starts serving them.
fn open_ports(
    core: usize,
    shared: &Arc<Shared>,
    metadata: &Metadata,
    bytes: &ByteStore,
    (spread, inbox): (Spread, Inbox),
) -> Option<Rc<Service>> {
    let bind = |what: &str, address| match Listener::bind(address) {
        Ok(listener) => listener,
        Err(error) => end(&Error::refused(format!("cannot listen on {address} for {what}: {error}"))),
    };
    let plan = &shared.plan;
    if core == 0
        && let Some(InnerPorts { record, cluster_tls }) = &plan.inner
    {
        let answers = Answers { record: record.clone(), board: Arc::clone(&plan.board) };
        let cluster = bind("the cluster", plan.addresses.listen);
        spawn(serve_cluster(cluster, Arc::clone(cluster_tls), Rc::new(answers)));
        spawn(serve_admin(bind("the admin port", plan.addresses.admin), Arc::clone(&plan.board)));
    }
    let credentials = plan.credentials.clone()?;
    let listeners: Vec<_> = plan.addresses.s3.iter().map(|address| bind("S3", *address)).collect();
    let (tls, logger, board) = (plan.s3_tls.clone(), plan.logger.clone(), plan.board.clone());
    let config = ServiceConfig {
        settings: plan.config.settings.clone(),
        core,
        started_ms: shared.started_ms,
        spread,
        credentials,
        tls: Box::new(move || tls.as_ref().map(|tls| tls.current())),
        log: Box::new(move |finished| report::log(logger.as_ref(), finished)),
        ready: Box::new(move || board.waits_for().is_empty()),
    };
    let service = Service::new(config, metadata.clone(), bytes.clone());
    s3::serve(&service, listeners, inbox);
    Some(service)
}

/// Deletes the bytes of blobs that nothing refers to any more; returns the blobs whose bytes are gone.
async fn reclaim(home: Home, records: Vec<ReclaimRecord>) -> Vec<raft::record::Bytes16> {
    let ids: Vec<_> = records.iter().map(|record| DataId(record.data_id.to_bytes())).collect();
    match home.delete(&ids).await {
        Ok(()) => records.iter().map(|record| record.data_id).collect(),
        // They stay in the queue and are tried again.
        Err(_) => Vec::new(),
    }
}

/// After a crash: deletes blobs of this core that were stored but never committed.
async fn sweep(core: usize, shared: Arc<Shared>, metadata: Metadata, store: Store, swept: Rc<Cell<bool>>) {
    let cores = shared.cores;
    let mark = async |places: Vec<raft::metadata::BlobPlace>| {
        for place in places {
            if engine::placement::home_core(place.partition, cores) == core {
                store.mark(DataId(place.data_id.to_bytes()));
            }
        }
        io::yield_if_needed().await;
    };
    // If not everything can be read now, the sweep of another start finds the blobs.
    if metadata.all_blob_refs(mark).await.is_ok() {
        swept.set(store.sweep_unmarked().await.is_ok());
    }
}

/// Creates a bucket unless it exists.
async fn make_bucket(metadata: &Metadata, name: String) {
    let mut ids = engine::ids::IdGenerator::new();
    let now_ms = io::unix_ms();
    let create = Kind::CreateBucket(CreateBucket { name, owner: s3::OWNER_ID.to_owned() });
    let command = Command::new(ids.next(now_ms, io::random_u128()), now_ms, create);
    match metadata.commit(command).await {
        Ok(Outcome::Done | Outcome::BucketAlreadyExists { .. }) => {}
        Ok(other) => end(&Error::failed(format!("the first bucket can't be made: {other:?}"))),
        Err(error) => end(&Error::failed(format!("the first bucket can't be made: {error}"))),
    }
}
