//! How a test controls the world: it starts machines, kills them, and looks at what is left.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::disk::{Disk, Losses};
use super::executor::{drive, spawn};
use super::faults::{Fault, FaultRates};
use super::net::NetworkRates;
use super::random::Random;
use super::world::{self, Node, NodeId, ProcessId, World, run_as, with};

/// Summary of a run.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Number of task polls.
    pub steps: u64,
    /// The hash of everything that happened.
    pub hash: u64,
    /// Virtual time.
    pub time: Duration,
    /// Faults by kind.
    pub faults: Vec<(Fault, u64)>,
    /// Requests that were told to end because memory was short.
    pub ended_for_memory: u64,
    /// How often each state was reached that the code marks with [`crate::reach!`].
    pub reached: BTreeMap<&'static str, u64>,
}

/// Runs `main` outside all nodes, in the world of a seed, for at most `steps` steps. `planted` is the compiled-in bug
/// that this world has.
///
/// # Errors
/// The run did not end: everything waits, or it goes on forever.
pub fn run<T: 'static>(
    seed: u64,
    steps: u64,
    verbose: bool,
    planted: Option<&'static str>,
    main: impl Future<Output = T> + 'static,
) -> (Result<T, &'static str>, Summary) {
    let mut fresh = World::new(seed);
    fresh.verbose = verbose;
    fresh.planted = planted;
    let before = world::replace(Some(fresh));
    let handle = spawn(main);
    let result = drive(handle, steps);
    for node in 0..with(|world| world.nodes.len()) {
        kill(node);
    }
    // Tasks outside the nodes are dropped while the world still exists, because they may touch it.
    drop(with(|world| world.take_tasks(0)));
    let summary = with(|world| summary(world));
    drop(world::replace(before));
    (result, summary)
}

fn summary(world: &World) -> Summary {
    let counted = |fault: &Fault| (*fault, world.counts.get(fault).copied().unwrap_or(0));
    Summary {
        steps: world.steps,
        hash: world.hash,
        time: Duration::from_nanos(world.now),
        faults: Fault::ALL.iter().map(counted).collect(),
        ended_for_memory: world.ended_for_memory,
        reached: world.reached.clone(),
    }
}

/// Leaks a world in which something panicked: what it holds may not be safe to drop.
pub fn abandon() -> Summary {
    let Some(world) = world::replace(None) else { return summary(&World::new(0)) };
    let summary = summary(&world);
    std::mem::forget(world);
    summary
}

/// Adds a machine with a disk of `disk_bytes` bytes.
pub fn add_node(disk_bytes: u64) -> NodeId {
    with(|world| {
        world.nodes.push(Node {
            disk: Disk::new(disk_bytes),
            process: None,
            paused_until: 0,
            clock_ms: 0,
            ended: None,
            rates: FaultRates::default(),
        });
        world.nodes.len() - 1
    })
}

/// Starts a process on a machine. `body` runs as its first core.
pub fn start<T>(node: NodeId, body: impl FnOnce() -> T) -> T {
    let process = with(|world| {
        assert!(world.nodes[node].process.is_none(), "one process at a time");
        world.processes += 1;
        let process = world.processes;
        world.nodes[node].process = Some(process);
        world.nodes[node].ended = None;
        world.trace(|| format!("node {node}: process {process} starts"));
        process
    });
    run_as(process, 0, body)
}

fn stop(node: NodeId, silently: bool) -> Option<ProcessId> {
    let process = with(|world| {
        let process = world.nodes[node].process?;
        let World { nodes, random, .. } = &mut *world;
        nodes[node].disk.kill(random);
        // From here on its tasks see no disk, even while they are dropped.
        nodes[node].process = None;
        world.hang_up(process, silently);
        world.trace(|| format!("node {node}: process {process} is gone"));
        Some(process)
    })?;
    for (core, body) in with(|world| world.take_tasks(process)) {
        run_as(process, core, || drop(body));
    }
    Some(process)
}

/// Kills the process of a machine. What it wrote stays.
pub fn kill(node: NodeId) {
    stop(node, false);
}

/// Cuts the power of a machine. What was not synced may be lost or torn, as its fault rates allow.
pub fn power_off(node: NodeId) {
    stop(node, true);
    with(|world| {
        let World { nodes, random, .. } = &mut *world;
        let FaultRates { lost, torn, .. } = nodes[node].rates;
        let Losses { lost, torn } = nodes[node].disk.power_off(lost, torn, random);
        for _ in 0..lost {
            world.fault(Fault::LostWrite, || format!("node {node}"));
        }
        for _ in 0..torn {
            world.fault(Fault::TornWrite, || format!("node {node}"));
        }
    });
}

/// Whether a process runs on a machine.
pub fn is_running(node: NodeId) -> bool {
    with(|world| world.nodes[node].process.is_some())
}

/// Why the last process of a machine ended itself.
pub fn ended(node: NodeId) -> Option<String> {
    with(|world| world.nodes[node].ended.clone())
}

/// Makes a machine stand still for `duration`.
pub fn pause(node: NodeId, duration: Duration) {
    with(|world| {
        let until = world.now + u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        world.nodes[node].paused_until = until.max(world.nodes[node].paused_until);
        world.fault(Fault::Pause, || format!("node {node} for {duration:?}"));
    });
}

/// Whether a machine stands still.
pub fn is_paused(node: NodeId) -> bool {
    with(|world| world.nodes[node].paused_until > world.now)
}

/// Moves the wall clock of a machine, milliseconds.
pub fn move_clock(node: NodeId, by_ms: i64) {
    with(|world| {
        world.nodes[node].clock_ms += by_ms;
        world.fault(Fault::Clock, || format!("node {node} by {by_ms} ms"));
    });
}

/// Resets the wall clock of a machine to the right time.
pub fn reset_clock(node: NodeId) {
    with(|world| world.nodes[node].clock_ms = 0);
}

/// Fills a machine's disk up to `left_bytes` free bytes, as if another program did; `None` frees the space again.
pub fn fill_disk(node: NodeId, left_bytes: Option<u64>) {
    with(|world| {
        let disk = &mut world.nodes[node].disk;
        disk.pages_taken = 0;
        if let Some(bytes) = left_bytes {
            disk.pages_taken = disk.free_bytes().saturating_sub(bytes) / super::disk::PAGE;
            world.fault(Fault::NoSpace, || format!("node {node} has {bytes} bytes left"));
        }
    });
}

/// Free bytes on a machine's disk.
pub fn free_bytes(node: NodeId) -> u64 {
    with(|world| world.nodes[node].disk.free_bytes())
}

/// Sets how often the faults of a machine's disk occur.
pub fn set_rates(node: NodeId, rates: FaultRates) {
    with(|world| world.nodes[node].rates = rates);
}

/// Sets how often the faults of the network occur.
pub fn set_network_rates(rates: NetworkRates) {
    with(|world| world.network.rates = rates);
}

/// The directions that a partition blocks.
#[derive(Clone, Copy, Debug)]
pub enum PartitionKind {
    /// Nodes don't hear clients.
    ToNodes,
    /// Clients don't hear nodes.
    ToClients,
    /// Neither hears the other.
    BothWays,
}

/// Partitions nodes from clients for `duration`. What is sent in the meantime arrives later.
pub fn partition(kind: PartitionKind, duration: Duration) {
    let sides: &[usize] = match kind {
        PartitionKind::ToNodes => &[1],
        PartitionKind::ToClients => &[0],
        PartitionKind::BothWays => &[0, 1],
    };
    with(|world| {
        world.partition(sides, duration);
        world.fault(Fault::Partition, || format!("{kind:?} for {duration:?}"));
    });
}

/// Whether a partition is in effect.
pub fn is_partitioned() -> bool {
    with(|world| world.is_partitioned())
}

/// Ends all partitions.
pub fn heal() {
    with(super::world::World::heal);
}

/// Whether faults have damaged a file under `folder`.
pub fn is_damaged(folder: &Path) -> bool {
    with(|world| world.damaged.iter().any(|path| path.starts_with(folder)))
}

/// Whether a machine's disk has pages that can't be read.
pub fn has_bad_pages(node: NodeId) -> bool {
    with(|world| world.nodes[node].disk.has_bad_pages())
}

/// Counts a fault that the test itself caused.
pub fn count(fault: Fault, what: &str) {
    with(|world| world.fault(fault, || what.to_owned()));
}

/// How often a fault has happened.
pub fn counted(fault: Fault) -> u64 {
    with(|world| world.counts.get(&fault).copied().unwrap_or(0))
}

/// How long ago a fault last happened.
pub fn age(fault: Fault) -> Option<Duration> {
    with(|world| world.last.get(&fault).map(|at| Duration::from_nanos(world.now - at)))
}

/// Notes that a request was told to end because memory was short.
pub fn note_ended_for_memory() {
    with(|world| world.ended_for_memory += 1);
}

/// How many requests were told to end because memory was short.
pub fn ended_for_memory() -> u64 {
    with(|world| world.ended_for_memory)
}

/// Counts that a state was reached. The trace does not cover it, so that counting one more state changes no run.
pub fn reach(name: &'static str) {
    world::try_with(|world| *world.reached.entry(name).or_default() += 1);
}

/// A separate stream of random numbers, seeded by the world.
pub fn random() -> Random {
    with(|world| Random::new(world.random.number()))
}

/// Prints a line of the readable trace, if one is wanted.
pub fn trace(line: impl FnOnce() -> String) {
    with(|world| world.trace(line));
}

/// Flips a bit of a file on a machine's disk. `of` selects the files by path. Returns whether a bit was flipped.
pub fn rot(node: NodeId, of: impl Fn(&Path) -> bool) -> bool {
    with(|world| {
        let files: Vec<_> = world.nodes[node].disk.files().into_iter().filter(|(path, _)| of(path)).collect();
        let World { nodes, random, .. } = &mut *world;
        let place = random.index(files.len());
        let Some((path, file)) = files.get(place) else { return false };
        let length = nodes[node].disk.length(*file);
        let Some(at) = nodes[node].disk.flip_bit(*file, 0, length, random) else { return false };
        world.damaged.insert(path.clone());
        world.fault(Fault::BitRot, || format!("{} at {at}", path.display()));
        true
    })
}
