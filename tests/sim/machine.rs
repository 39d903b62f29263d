//! A simulated node: its machine, its metadata store (which outlives processes), and the start and end of processes.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::io::sim::control;
use engine::io::sim::{NodeId, Random};
use engine::io::{DiskSpace, Executors, run_executors, sleep};
use hamster::config::Config;
use hamster::core;
use hamster::data_dir::Addresses;
use hamster::latch::{self, Opener};
use hamster::metrics::Board;
use hamster::node::{Plan, Shared, on_fatal};
use raft::GroupConfig;
use raft::kv::MemoryKv;
use s3::service::Settings;
use s3::sigv4::keys::{Credentials, Secret};

use crate::sign;
use crate::workload::BUCKET;

/// Where the node keeps its data.
pub const DATA_DIR: &str = "/data";

/// The configuration of a node.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Cores.
    pub cores: usize,
    /// Bytes of its disk.
    pub disk_bytes: u64,
    /// Length of a segment of the Raft log.
    pub wal_segment_bytes: u64,
    /// Entries between snapshots.
    pub snapshot_every: u64,
    /// Bytes of rows in memory.
    pub row_cache_bytes: usize,
}

struct Running {
    cores: Executors,
    ready: Arc<AtomicBool>,
    shutdown: Option<Opener>,
    board: Arc<Board>,
    /// Cores that have ended without leaving a blob that nothing refers to.
    tidy: Arc<AtomicUsize>,
}

/// The node.
pub struct Machine {
    pub id: NodeId,
    pub setup: Setup,
    kv: RefCell<Arc<MemoryKv>>,
    running: RefCell<Option<Running>>,
    /// The last process shut down cleanly, and left nothing to sweep.
    pub clean: Cell<bool>,
    /// The message with which the last start was refused.
    pub refused: RefCell<Option<String>>,
}

/// The address of the S3 port.
pub fn address() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 9000))
}

impl Machine {
    /// A new machine with an empty disk.
    pub fn new(setup: Setup) -> Machine {
        Machine {
            id: control::add_node(setup.disk_bytes),
            setup,
            kv: RefCell::default(),
            running: RefCell::default(),
            clean: Cell::new(false),
            refused: RefCell::default(),
        }
    }

    /// The metadata store.
    pub fn kv(&self) -> Arc<MemoryKv> {
        self.kv.borrow().clone()
    }

    /// The folder of the Raft log.
    pub fn wal_dir() -> PathBuf {
        PathBuf::from(DATA_DIR).join("raft")
    }

    /// The configuration of its Raft group.
    pub fn group(&self) -> GroupConfig {
        let disk = DiskSpace::new(DATA_DIR);
        let mut group = GroupConfig::new(1, Machine::wal_dir(), disk, self.setup.cores, on_fatal());
        group.wal.segment_bytes = self.setup.wal_segment_bytes;
        group.wal.cache_bytes = 64 << 10;
        group.snapshot_every = self.setup.snapshot_every;
        group.row_cache_bytes = self.setup.row_cache_bytes;
        group
    }

    /// Starts a process.
    pub fn start(&self) {
        let ready = Arc::new(AtomicBool::new(false));
        let is_ready = ready.clone();
        let board = Board::new(self.setup.cores as u16);
        let shown = board.clone();
        let (opener, shutdown) = latch::latch();
        let plan = move |clean: bool| Plan {
            config: Config {
                data_dir: PathBuf::from(DATA_DIR),
                settings: Arc::new(Settings { region: sign::REGION.to_owned(), ..Settings::default() }),
                ..Config::default()
            },
            connections_per_core: 1000,
            credentials: Some(Credentials::single(sign::ACCESS_KEY, Secret::new(sign::SECRET_KEY))),
            inner: None,
            s3_tls: None,
            board: shown,
            logger: None,
            addresses: Addresses { s3: vec![address()], listen: address(), admin: address() },
            shutdown,
            first_bucket: Some(BUCKET.to_owned()),
            unclean: !clean,
            ready: Mutex::new(Some(Box::new(move |_: &Addresses| is_ready.store(true, Ordering::Relaxed)))),
        };
        let clean = self.clean.replace(false);
        let cores = control::start(self.id, || {
            let shared = Shared::assemble(plan(clean), self.group(), self.kv());
            shared.map_err(|error| error.to_string()).and_then(|shared| {
                let tidy = shared.tidy.clone();
                run_executors(self.setup.cores, move |core| core::run(core, shared.clone()))
                    .map(|cores| (cores, tidy))
                    .map_err(|error| error.to_string())
            })
        });
        match cores {
            Ok((cores, tidy)) => {
                *self.running.borrow_mut() =
                    Some(Running { cores, ready, shutdown: Some(opener), board, tidy })
            }
            Err(why) => {
                *self.refused.borrow_mut() = Some(why);
                control::kill(self.id);
            }
        }
    }

    /// Whether the running process serves.
    pub fn is_ready(&self) -> bool {
        control::is_running(self.id)
            && self.running.borrow().as_ref().is_some_and(|running| running.ready.load(Ordering::Relaxed))
    }

    /// The metrics of the running process.
    pub fn board(&self) -> Option<Arc<Board>> {
        self.running.borrow().as_ref().map(|running| running.board.clone())
    }

    /// Kills the process; the machine stays up.
    pub fn kill(&self) {
        control::kill(self.id);
        self.running.take();
    }

    /// Cuts the machine's power. The metadata store loses the last few batches that were not persisted.
    pub fn power_off(&self, lost: bool, random: &mut Random) {
        control::power_off(self.id);
        self.running.take();
        let kv = self.kv();
        let kept = if lost { random.index(kv.unpersisted() + 1) } else { kv.unpersisted() };
        self.kv.replace(Arc::new(kv.crash(kept)));
    }

    /// Shuts the process down; false if it does not end.
    pub async fn shut_down(&self, patience: Duration) -> bool {
        let end = engine::io::now() + patience;
        if let Some(running) = self.running.borrow_mut().as_mut() {
            running.shutdown = None;
        }
        let runs = || self.running.borrow().as_ref().is_some_and(|running| running.cores.is_running());
        while control::is_running(self.id) && runs() {
            if engine::io::now() > end {
                self.kill();
                return false;
            }
            sleep(Duration::from_millis(5)).await;
        }
        let in_order = control::is_running(self.id);
        let running = self.running.borrow();
        let tidy = running.as_ref().map_or(0, |running| running.tidy.load(Ordering::Acquire));
        drop(running);
        self.clean.set(in_order && tidy == self.setup.cores);
        self.kill();
        in_order
    }
}
