//! Assembles a node's part in the Raft group: log, store, apply thread, reader threads, proposer.
//!
//! [`assemble`] makes what the cores share before the executors start. [`NodeSeed::start`] then runs on core 0, and
//! [`MetadataSeed::start`] on every core. When a core gets a command's outcome, the command is applied and durable
//! in the log of a quorum.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use engine::io::{DiskSpace, Receiver, Semaphore, Sender, Writers, mailbox, now, sleep, spawn};
use engine::peer::mesh;
use futures_lite::StreamExt;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, ForwardToLeader};
use openraft::{BasicNode, Config, Raft, ServerState, SnapshotPolicy};

use crate::applier::{self, ApplierHandle, OnFatal};
use crate::feed::{Feed, Progress};
use crate::kv::Kv;
use crate::log::LogStore;
use crate::metadata::{MetadataSeed, Submission, reads};
use crate::network::Network;
use crate::reconcile::{self, LogContents, Start, StoreContents};
use crate::record::Bytes16;
use crate::state_machine::StateMachine;
use crate::types::{Proposal, TypeConfig};
use crate::wal::{Wal, WalConfig, WalStats};
use crate::{Error, Result};

/// Maximum number of messages queued for one core; each is at most one apply batch.
const FEED_MAILBOX: usize = if cfg!(sim) { 4 } else { 256 };
/// Maximum number of proposals queued for the Raft core.
const SUBMIT_MAILBOX: usize = 8192;
/// Maximum number of proposals handed to openraft at once.
const PROPOSE_BATCH: usize = if cfg!(sim) { 4 } else { 1024 };
/// Maximum number of proposals handed to openraft and not answered yet.
const MAX_IN_FLIGHT: usize = 16_384;
/// Maximum number of requests in flight from one core to another.
const MESH_CAPACITY: usize = if cfg!(sim) { 4 } else { 1024 };
/// Proposals are refused once the group has had no leader for this long.
const PROPOSE_PATIENCE: Duration = Duration::from_secs(5);
/// A snapshot is taken early once more segments than this are in use.
const MAX_SEGMENTS: usize = 4;
/// Interval between checks of the number of segments.
const LOG_CHECK_INTERVAL: Duration = Duration::from_secs(10);
const RETRY_PAUSE: Duration = Duration::from_millis(10);
const START_PATIENCE: Duration = Duration::from_secs(60);

/// How a node takes part in its group.
#[derive(Clone)]
pub struct GroupConfig {
    /// This node's id in the group; 1 for the founder.
    pub node_id: u64,
    /// Where others reach this node.
    pub address: String,
    /// The group's name in log messages.
    pub cluster_name: String,
    /// The log.
    pub wal: WalConfig,
    /// Entries between snapshots; each snapshot frees the log before it for reuse.
    pub snapshot_every: u64,
    /// Number of cores.
    pub cores: usize,
    /// Bytes of version records that all cores reconcile cache.
    pub row_cache_bytes: usize,
    /// Called from any thread when the node must stop: report the line and end the process.
    pub on_fatal: OnFatal,
}

impl GroupConfig {
    /// The usual settings: the log in `directory`, a snapshot every 50,000 entries, 64 MiB of cached rows.
    pub fn new(
        node_id: u64,
        directory: PathBuf,
        disk: Arc<DiskSpace>,
        cores: usize,
        on_fatal: OnFatal,
    ) -> GroupConfig {
        GroupConfig {
            node_id,
            address: String::new(),
            cluster_name: "hamster".to_owned(),
            wal: WalConfig { writers: (Writers::default(), cores), ..WalConfig::new(directory, disk) },
            snapshot_every: 50_000,
            cores,
            row_cache_bytes: 64 << 20,
            on_fatal,
        }
    }
}

/// The Raft core's part, not yet started.
pub struct NodeSeed {
    config: GroupConfig,
    applier: ApplierHandle,
    store: StoreContents,
    submissions: Receiver<Submission>,
    feeds: Vec<Sender<Feed>>,
    progress: Arc<Progress>,
}

/// Starts the threads over a store and makes the parts of all cores.
///
/// The group feeds every core while it starts, so start the cores' parts too before you wait for it.
///
/// # Errors
/// No thread can be started, or the store can't be read.
pub fn assemble<K: Kv>(config: GroupConfig, kv: Arc<K>) -> Result<(NodeSeed, Vec<MetadataSeed>)> {
    // What the last process left in the store may not be on disk yet, and the log may be purged up to it.
    kv.persist()?;
    let (feeds, receivers): (Vec<_>, Vec<_>) = (0..config.cores).map(|_| mailbox(FEED_MAILBOX)).unzip();
    let progress = Arc::new(Progress::new(config.cores));
    let (submit, submissions) = mailbox(SUBMIT_MAILBOX);
    let (applier, store) =
        applier::start(kv.clone(), feeds.clone(), progress.clone(), config.on_fatal.clone())?;
    let readers = reads::start(kv)?;
    let cores = mesh::mesh(config.cores, MESH_CAPACITY)
        .into_iter()
        .zip(receivers)
        .map(|(mesh, feed)| {
            let cache_bytes = config.row_cache_bytes / config.cores;
            MetadataSeed {
                mesh,
                feed,
                submit: submit.clone(),
                readers: readers.clone(),
                progress: progress.clone(),
                writers: config.wal.writers.0.clone(),
                cache_bytes,
            }
        })
        .collect();
    Ok((NodeSeed { config, applier, store, submissions, feeds, progress }, cores))
}

type Group = Raft<TypeConfig, StateMachine>;

/// A running node of the group, on its Raft core.
#[derive(Clone)]
pub struct Node(Rc<Inner>);

struct Inner {
    id: u64,
    raft: Group,
    wal: Wal,
    applier: ApplierHandle,
    proposals: RefCell<ProposalStats>,
}

#[derive(Clone, Copy, Default)]
struct ProposalStats {
    calls: u64,
    proposals: u64,
    refused: u64,
}

/// What a node sees of its group, and what it has done for it.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// The current term.
    pub term: u64,
    /// `leader`, `follower`, `candidate`, `learner` or `shutdown`.
    pub state: &'static str,
    /// The leader's node id.
    pub leader: Option<u64>,
    /// Index of the last entry in the log.
    pub last_log: u64,
    /// Index of the last committed entry.
    pub committed: u64,
    /// Index of the last applied entry.
    pub applied: u64,
    /// Index of the last entry that a snapshot holds.
    pub snapshot: u64,
    /// Index of the last purged entry.
    pub purged: u64,
    /// The log.
    pub wal: WalStats,
    /// Calls that handed proposals to the group.
    pub propose_calls: u64,
    /// Proposals in those calls.
    pub proposals: u64,
    /// Proposals that were refused.
    pub refused: u64,
    /// Batches applied to the store.
    pub apply_batches: u64,
    /// Entries in those batches.
    pub apply_entries: u64,
    /// Entries in the largest of those batches.
    pub apply_largest_batch: u64,
    /// Time that the apply thread was busy, microseconds.
    pub apply_busy_us: u64,
    /// Writes to the store that took more than 10 ms.
    pub kv_stalls: u64,
    /// The longest write to the store, microseconds.
    pub kv_longest_write_us: u64,
}

fn raft_config(config: &GroupConfig) -> Result<Arc<Config>> {
    let settings = Config {
        cluster_name: config.cluster_name.clone(),
        heartbeat_interval: 250,
        election_timeout_min: 1000,
        election_timeout_max: 2000,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(config.snapshot_every),
        max_in_snapshot_log_to_keep: 0,
        purge_batch_size: config.snapshot_every.min(1024),
        ..Config::default()
    };
    settings.validate().map(Arc::new).map_err(|error| Error::Store(error.to_string()))
}

impl NodeSeed {
    /// Opens the log, joins the group (or founds it, if neither log nor store exists and `may_found` agrees), and
    /// returns once this node has applied everything that was acknowledged before, and every core has seen it.
    ///
    /// # Errors
    /// The log is damaged, the directory is unusable, or log and store do not match; the message is one line that
    /// says what to do.
    pub async fn start(self, may_found: impl Future<Output = Result<()>>) -> Result<Node> {
        let fatal = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::InvalidData => Error::Refused(error.to_string()),
            _ => Error::Store(error.to_string()),
        };
        let on_fatal = self.config.on_fatal.clone();
        let wal = Wal::open(self.config.wal.clone(), move |why| on_fatal(why)).await.map_err(fatal)?;
        match reconcile::decide(&log_contents(&wal, &self.store), &self.store, self.config.node_id)? {
            Start::New => may_found.await?,
            Start::Cleared => self.applier.clear().await.map_err(fatal)?,
            Start::Apply => {}
        }
        let machine = StateMachine::new(self.applier.clone(), self.store.mark);
        let settings = raft_config(&self.config)?;
        let id = self.config.node_id;
        let raft = Raft::new(id, settings, Network::alone(), LogStore::new(wal.clone()), machine)
            .await
            .map_err(|error| Error::Store(format!("raft: {error}")))?;
        let node =
            Node(Rc::new(Inner { id, raft, wal, applier: self.applier, proposals: RefCell::default() }));
        node.found_or_lead(&self.config.address).await?;
        // A core that is still behind would answer with a row that a later entry of the log replaced.
        self.progress.wait().await;
        spawn(propose(node.clone(), self.submissions, self.feeds));
        spawn(bound_log(node.clone()));
        Ok(node)
    }
}

fn log_contents(wal: &Wal, store: &StoreContents) -> LogContents {
    LogContents {
        voted: wal.vote().is_some(),
        purged: wal.purged(),
        last: wal.last(),
        at_mark: store.mark.last.and_then(|applied| wal.id_at(applied.index)),
    }
}

impl Node {
    async fn found_or_lead(&self, address: &str) -> Result<()> {
        let failed = |error: &dyn std::fmt::Display| Error::Store(format!("raft: {error}"));
        let raft = &self.0.raft;
        if raft.is_initialized().await.map_err(|error| failed(&error))? {
            // The only voter need not wait for an election timeout.
            if raft.voter_ids().eq([self.0.id]) {
                raft.trigger().elect(false).await.map_err(|error| failed(&error))?;
            }
        } else {
            let members = BTreeMap::from([(self.0.id, BasicNode { addr: address.to_owned() })]);
            raft.initialize(members).await.map_err(|error| failed(&error))?;
        }
        let ready = |metrics: &openraft::RaftMetrics<TypeConfig>| {
            metrics.running_state.is_err()
                || (metrics.current_leader.is_some()
                    && metrics.last_applied.map(|id| id.index) >= metrics.last_log_index
                    && metrics.last_applied.is_some())
        };
        let metrics = raft.wait(Some(START_PATIENCE)).metrics(ready, "the log is applied").await;
        let metrics = metrics.map_err(|error| failed(&error))?;
        metrics.running_state.map_err(|error| failed(&error))
    }

    /// What the node sees and has done.
    pub fn stats(&self) -> Stats {
        let metrics = self.0.raft.metrics().borrow_watched().clone();
        let index = |id: Option<crate::types::LogId>| id.map_or(0, |id| id.index);
        let applier = self.0.applier.stats();
        let proposals = *self.0.proposals.borrow();
        Stats {
            term: metrics.current_term,
            state: match metrics.state {
                ServerState::Learner => "learner",
                ServerState::Follower => "follower",
                ServerState::Candidate => "candidate",
                ServerState::Leader => "leader",
                ServerState::Shutdown => "shutdown",
            },
            leader: metrics.current_leader,
            last_log: metrics.last_log_index.unwrap_or(0),
            committed: index(metrics.cluster_committed),
            applied: index(metrics.last_applied),
            snapshot: index(metrics.snapshot),
            purged: index(metrics.purged),
            wal: self.0.wal.stats(),
            propose_calls: proposals.calls,
            proposals: proposals.proposals,
            refused: proposals.refused,
            apply_batches: applier.batches.load(Ordering::Relaxed),
            apply_entries: applier.entries.load(Ordering::Relaxed),
            apply_largest_batch: applier.largest_batch.load(Ordering::Relaxed),
            apply_busy_us: applier.busy_us.load(Ordering::Relaxed),
            kv_stalls: applier.stalls.load(Ordering::Relaxed),
            kv_longest_write_us: applier.longest_write_us.load(Ordering::Relaxed),
        }
    }

    /// Whether this node can serve: it sees a leader, and its group runs.
    pub fn is_ready(&self) -> bool {
        let metrics = self.0.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.running_state.is_ok() && metrics.current_leader.is_some()
    }

    /// Makes the store durable, so that the log up to there can be purged.
    ///
    /// # Errors
    /// The group has ended.
    pub async fn snapshot(&self) -> Result<()> {
        self.0.raft.trigger().snapshot().await.map_err(|error| Error::Store(error.to_string()))
    }

    /// Writes all rows of the metadata as of now, as one checked stream.
    ///
    /// # Errors
    /// The store can't be read, or the target can't be written.
    pub async fn export(&self, target: Box<dyn std::io::Write + Send>) -> Result<()> {
        self.0.applier.export(target).await.map(drop).map_err(|error| Error::Store(error.to_string()))
    }

    /// Stops the group's loop and closes the log; what was not acknowledged may be lost.
    ///
    /// # Errors
    /// The log fails to close.
    pub async fn stop(&self) -> Result<()> {
        let failed = |error: &dyn std::fmt::Display| Error::Store(error.to_string());
        self.0.raft.shutdown().await.map_err(|error| failed(&error))?;
        self.0.wal.clone().close().await.map_err(|error| failed(&error))
    }
}

/// Takes a snapshot early when a few large entries have filled the log.
async fn bound_log(node: Node) {
    while node.0.raft.metrics().borrow_watched().running_state.is_ok() {
        sleep(LOG_CHECK_INTERVAL).await;
        let log = node.0.wal.stats();
        // On a full disk, the log can go on only in segments that a snapshot frees.
        if log.segments > MAX_SEGMENTS || log.starved {
            engine::reach!("early-snapshot");
            let _ = node.snapshot().await;
        }
    }
}

/// Hands the cores' submissions to the group, as many at a time as have gathered.
async fn propose(node: Node, mut submissions: Receiver<Submission>, feeds: Vec<Sender<Feed>>) {
    let in_flight = Semaphore::new(MAX_IN_FLIGHT);
    while let Some(first) = submissions.recv().await {
        let mut batch = vec![first];
        while batch.len() < PROPOSE_BATCH
            && let Some(next) = submissions.try_recv()
        {
            batch.push(next);
        }
        let permit = in_flight.acquire(batch.len()).await;
        {
            let mut stats = node.0.proposals.borrow_mut();
            stats.calls += 1;
            stats.proposals += batch.len() as u64;
        }
        // This keeps the order of submission: the entries are in openraft's queue when `submit` returns.
        let answers = submit(&node, &batch).await;
        let (node, feeds) = (node.clone(), feeds.clone());
        spawn(async move {
            let _permit = permit;
            settle(&node, batch, answers, &feeds).await;
        });
        engine::io::yield_if_needed().await;
    }
}

type Answers = Result<
    openraft::base::BoxStream<
        'static,
        Result<openraft::raft::WriteResult<TypeConfig>, openraft::errors::Fatal<TypeConfig>>,
    >,
    openraft::errors::Fatal<TypeConfig>,
>;

async fn submit(node: &Node, batch: &[Submission]) -> Answers {
    let proposals: Vec<Proposal> = batch.iter().map(|submission| submission.proposal.clone()).collect();
    node.0.raft.client_write_many(proposals).await
}

/// Sees a batch through: submits again what no leader has taken, and reports refusals to the submitting cores.
/// Apply reports the outcome of every command that was taken.
async fn settle(node: &Node, mut batch: Vec<Submission>, mut answers: Answers, feeds: &[Sender<Feed>]) {
    let started = now();
    loop {
        let Some(again) = not_taken(batch, answers).await else { return };
        if again.is_empty() {
            return;
        }
        engine::reach!("proposal-not-taken");
        if started.elapsed() > PROPOSE_PATIENCE {
            node.0.proposals.borrow_mut().refused += again.len() as u64;
            refuse(again, feeds).await;
            return;
        }
        sleep(RETRY_PAUSE).await;
        batch = again;
        answers = submit(node, &batch).await;
    }
}

/// The submissions that were refused before they entered the log; `None` if the group has ended.
async fn not_taken(batch: Vec<Submission>, answers: Answers) -> Option<Vec<Submission>> {
    let mut answers = answers.ok()?;
    let mut again = Vec::new();
    for submission in batch {
        match answers.next().await? {
            Ok(Err(ClientWriteError::ForwardToLeader(ForwardToLeader { .. }))) => again.push(submission),
            // Taken, or perhaps taken: either apply reports an outcome, or nobody does and the wait times out.
            Ok(_) => {}
            Err(_) => return None,
        }
    }
    Some(again)
}

async fn refuse(refused: Vec<Submission>, feeds: &[Sender<Feed>]) {
    let mut by_core: Vec<Vec<Bytes16>> = vec![Vec::new(); feeds.len()];
    for submission in refused {
        by_core[submission.core].push(submission.command_id);
    }
    for (ids, feed) in by_core.into_iter().zip(feeds) {
        if !ids.is_empty() {
            let _ = feed.send(Feed::Refused(ids)).await;
        }
    }
}
