//! The world of one run: its time, randomness and nodes, the scheduled events, and the trace of what happened.
//!
//! Promises: everything in it follows from the seed. One thread touches it, through [`with`] only; no task is polled
//! and no future dropped while it is borrowed. The hash of the trace covers every step, every byte to or from a disk
//! and every byte that the network delivers.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::task::Waker;
use std::time::Duration;

use super::disk::Disk;
use super::executor::Tasks;
use super::faults::{Fault, FaultRates};
use super::net::Network;
use super::random::Random;

/// One run of a node's process, from start to end. 0 is the world outside the nodes: the clients.
pub type ProcessId = u64;
/// A machine. Its disk and clock outlive its processes.
pub type NodeId = usize;

/// The wall clock when the world begins: 2026-01-01, milliseconds since 1970.
const EPOCH_MS: u64 = 1_767_225_600_000;

/// A scheduled event.
pub enum Event {
    /// Wakes the task that waits for this time.
    Wake(Waker),
    /// Changes the world: a disk or the network has done something.
    Run(Box<dyn FnOnce(&mut World)>),
}

/// A machine.
pub struct Node {
    pub disk: Disk,
    /// The process that currently runs on it.
    pub process: Option<ProcessId>,
    /// Its tasks do not run before this time.
    pub paused_until: u64,
    /// How far its wall clock is ahead of the world's, milliseconds.
    pub clock_ms: i64,
    /// Why its last process ended itself.
    pub ended: Option<String>,
    /// How often its disk's faults occur.
    pub rates: FaultRates,
}

/// The whole world.
pub struct World {
    pub now: u64,
    pub random: Random,
    pub steps: u64,
    pub hash: u64,
    pub tasks: Tasks,
    pub events: BTreeMap<(u64, u64), Event>,
    events_made: u64,
    pub nodes: Vec<Node>,
    pub processes: ProcessId,
    pub network: Network,
    /// How often each fault has happened.
    pub counts: BTreeMap<Fault, u64>,
    /// When each fault last happened.
    pub last: BTreeMap<Fault, u64>,
    /// How many requests were told to end because memory was short.
    pub ended_for_memory: u64,
    /// How often each marked state was reached.
    pub reached: BTreeMap<&'static str, u64>,
    /// Whether [`World::trace`] prints.
    pub verbose: bool,
    /// The bug that is planted.
    pub planted: Option<&'static str>,
    /// Files that faults have damaged.
    pub damaged: BTreeSet<PathBuf>,
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
    /// The process and core whose task is being polled.
    static CURRENT: Cell<(ProcessId, usize)> = const { Cell::new((0, 0)) };
}

/// Calls `body` with this thread's world, if it has one that is not in use.
pub fn try_with<R>(body: impl FnOnce(&mut World) -> R) -> Option<R> {
    WORLD.try_with(|world| world.try_borrow_mut().ok()?.as_mut().map(body)).ok().flatten()
}

/// Calls `body` with this thread's world.
///
/// # Panics
/// If this thread has no world.
pub fn with<R>(body: impl FnOnce(&mut World) -> R) -> R {
    try_with(body).unwrap_or_else(|| panic!("there is no world on this thread"))
}

/// Makes `world` this thread's world and returns the previous one.
pub fn replace(world: Option<World>) -> Option<World> {
    WORLD.with(|slot| slot.replace(world))
}

/// The process and core that are running.
pub fn current() -> (ProcessId, usize) {
    CURRENT.get()
}

/// Runs `body` as a core of a process.
pub fn run_as<R>(process: ProcessId, core: usize, body: impl FnOnce() -> R) -> R {
    struct Back((ProcessId, usize));
    impl Drop for Back {
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }
    let _back = Back(CURRENT.replace((process, core)));
    body()
}

impl World {
    /// The world of a seed.
    pub fn new(seed: u64) -> World {
        World {
            now: 0,
            random: Random::new(seed),
            steps: 0,
            hash: seed,
            tasks: Tasks::default(),
            events: BTreeMap::new(),
            events_made: 0,
            nodes: Vec::new(),
            processes: 0,
            network: Network::default(),
            counts: BTreeMap::new(),
            last: BTreeMap::new(),
            ended_for_memory: 0,
            reached: BTreeMap::new(),
            verbose: false,
            planted: None,
            damaged: BTreeSet::new(),
        }
    }

    /// Schedules an event after `delay` and returns its key.
    pub fn after(&mut self, delay: Duration, event: Event) -> (u64, u64) {
        self.at(self.now.saturating_add(u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX)), event)
    }

    /// Schedules an event at a time and returns its key.
    pub fn at(&mut self, at: u64, event: Event) -> (u64, u64) {
        self.events_made += 1;
        let key = (at.max(self.now), self.events_made);
        self.events.insert(key, event);
        key
    }

    /// A random duration.
    pub fn delay(&mut self, shortest: Duration, longest: Duration) -> Duration {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.random.between(nanos(shortest), nanos(longest)))
    }

    /// The node that a process runs on.
    pub fn node_of(&self, process: ProcessId) -> Option<NodeId> {
        self.nodes.iter().position(|node| process != 0 && node.process == Some(process))
    }

    /// Milliseconds since 1970 by the wall clock of a process.
    pub fn unix_ms(&self, process: ProcessId) -> u64 {
        let ahead = self.node_of(process).map_or(0, |node| self.nodes[node].clock_ms);
        (EPOCH_MS + self.now / 1_000_000).saturating_add_signed(ahead)
    }

    /// Whether a process is running; the clients always are.
    pub fn lives(&self, process: ProcessId) -> bool {
        process == 0 || self.node_of(process).is_some()
    }

    /// Adds a number to the hash of the trace.
    pub fn note(&mut self, number: u64) {
        self.hash = (self.hash ^ number ^ self.now.rotate_left(17))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(23);
    }

    /// Adds bytes to the hash of the trace.
    pub fn note_bytes(&mut self, bytes: &[u8]) {
        self.note(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, bytes));
    }

    /// Prints a line of the readable trace, if one is wanted.
    pub fn trace(&self, line: impl FnOnce() -> String) {
        if self.verbose {
            use std::io::Write;
            let (seconds, micros) = (self.now / 1_000_000_000, self.now / 1000 % 1_000_000);
            let _ = writeln!(std::io::stderr(), "{seconds:5}.{micros:06} {}", line());
        }
    }

    /// Records a fault that happened.
    pub fn fault(&mut self, fault: Fault, what: impl FnOnce() -> String) {
        *self.counts.entry(fault).or_default() += 1;
        self.last.insert(fault, self.now);
        self.note(fault as u64);
        self.trace(|| format!("FAULT {}: {}", fault.name(), what()));
    }
}
