//! One run: a node, clients and faults drawn from a seed; first safety under faults, then liveness without them.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use engine::io::sim::control::PartitionKind;
use engine::io::sim::{Fault, FaultRates, NetworkRates, Random, control};
use engine::io::{now, sleep, spawn};
use hamster::core::DRAIN_LIMIT;

use crate::check;
use crate::check::blobs::Left;
use crate::client::SLOW_ONE_IN;
use crate::machine::{Machine, Setup, address};
use crate::workload::{KEYS, Shared, Worker, abuse};

/// The virtual time within which a node must serve again.
const CONVERGES_WITHIN: Duration = Duration::from_secs(300);
/// The time within which background work ends: reclaim, compaction, preparation of segments.
const SETTLES_WITHIN: Duration = Duration::from_secs(60);
/// The time within which an idle node reports that it is idle.
const RESTS_WITHIN: Duration = Duration::from_secs(5);
/// The longest safety phase.
const SAFETY_AT_MOST: Duration = Duration::from_secs(400);
/// The maximum number of steps of a run: one that takes more is assumed not to end.
pub const STEPS_MAX: u64 = 30_000_000;

/// The result of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// Answers by status; 0 stands for no answer.
    pub answers: Vec<(u16, u64)>,
    /// Answers that nobody expected, by code and message.
    pub refusals: BTreeMap<String, u64>,
    /// Operations in the histories.
    pub operations: usize,
    /// Keys that were used, each with its history.
    pub histories: usize,
    /// Keys whose history could not be decided.
    pub undecided: usize,
    /// Whether damage done by faults kept the node from starting.
    pub refused: Option<String>,
    /// Violations.
    pub violations: Vec<String>,
}

/// Faults of the disk that leave something behind, or keep a check from reading it.
const DISTURBING: [Fault; 6] = [
    Fault::ReadError,
    Fault::WriteError,
    Fault::SyncError,
    Fault::NoSpace,
    Fault::MisdirectedWrite,
    Fault::BitRot,
];

/// How the names of the files that hold large blobs begin.
const EXTENTS: &str = "extent-";

/// What a seed decides before its run.
#[derive(Clone)]
struct Chosen {
    setup: Setup,
    clients: usize,
    operations: usize,
    largest: usize,
    faults: BTreeSet<Fault>,
    /// How often faults occur: a factor on their rates, in percent.
    heat: u32,
    /// One request in this many is slow.
    slow_one_in: u64,
    /// Only syncs of files whose names begin with this fail.
    sync_errors_in: &'static str,
}

/// Draws a run from a seed. With `only`, it has that one fault; with `long`, it takes long.
fn choose(random: &mut Random, only: Option<Fault>, long: bool) -> Chosen {
    let long = random.one_in(200) || long;
    let crowd = !long && random.one_in(20);
    let setup = Setup {
        cores: 1 + random.index(3),
        disk_bytes: [96 << 20, 128 << 20, 512 << 20][random.index(3)],
        wal_segment_bytes: [64 << 10, 128 << 10, 1 << 20][random.index(3)],
        snapshot_every: [20, 100, 1000][random.index(3)],
        row_cache_bytes: [2 << 10, 64 << 10, 1 << 20][random.index(3)],
    };
    let all = Fault::ALL;
    let faults = match (only, random.below(8)) {
        (Some(fault), _) => BTreeSet::from([fault]),
        (None, 0) => BTreeSet::new(),
        (None, 1..=3) => BTreeSet::from([all[random.index(all.len())]]),
        // Most other faults matter only together with crashes.
        (None, 4..=5) => {
            BTreeSet::from([Fault::Crash, all[random.index(all.len())], all[random.index(all.len())]])
        }
        (None, _) => all.into_iter().filter(|_| random.one_in(3)).collect(),
    };
    let (clients, operations) = match (long, crowd) {
        (true, _) => (5, 2000),
        (_, true) => (20 + random.index(40), 10),
        _ => (1 + random.index(5), [10, 30, 30, 90, 200][random.index(5)]),
    };
    let mut chosen = Chosen {
        setup,
        clients,
        operations,
        largest: [4 << 10, 200 << 10, 200 << 10, 700 << 10, 3 << 20][random.index(5)],
        faults,
        heat: [10, 100, 100, 400][random.index(4)],
        slow_one_in: SLOW_ONE_IN,
        sync_errors_in: "",
    };
    if crowd && random.one_in(2) {
        // Many large blobs are written to the same files at once.
        chosen.setup.cores = 1;
        chosen.largest = 700 << 10;
        if only.is_none() && random.one_in(2) {
            chosen.faults.insert(Fault::SyncError);
        }
        // Slow ones leave it short of memory.
        chosen.slow_one_in = [SLOW_ONE_IN, 2][random.index(2)];
    }
    if chosen.largest > 200 << 10 && chosen.faults.contains(&Fault::SyncError) && random.one_in(2) {
        // The node ends when a sync of its Raft log fails, so few others would be reached. A failed one matters most to
        // blobs that are still being written to the same file; other faults would hide what it did.
        chosen.sync_errors_in = EXTENTS;
        chosen.faults = BTreeSet::from([Fault::SyncError]);
        chosen.setup.cores = 1;
        chosen.clients = chosen.clients.max(3);
        chosen.slow_one_in = 2;
    }
    chosen
}

/// Runs a scenario in the current world.
pub async fn run(only: Option<Fault>, long: bool) -> Report {
    let mut random = control::random();
    let chosen = choose(&mut random, only, long);
    control::trace(|| format!("{:?}, {} clients, faults {:?}", chosen.setup, chosen.clients, chosen.faults));
    let machine = Rc::new(Machine::new(chosen.setup));
    let keys = 1 + random.index(KEYS.len());
    let keys: Vec<&'static str> = KEYS.into_iter().filter(|_| random.index(KEYS.len()) < keys).collect();
    let keys = if keys.is_empty() { vec![KEYS[0]] } else { keys };
    let shared = Rc::new(Shared::new(address(), keys, chosen.largest));
    let mut report = Report::default();
    machine.start();
    if !serves(&machine).await {
        report.violations.push(format!("a new node does not start: {:?}", control::ended(machine.id)));
        return report;
    }
    safety(&chosen, &machine, &shared, &mut random).await;
    if let Err(violation) = liveness(&machine, &shared, &mut report).await {
        report.violations.push(violation);
    }
    let history = shared.history.borrow();
    report.violations.extend(history.violations.iter().cloned());
    report.answers = history.answers.iter().map(|(status, count)| (*status, *count)).collect();
    report.refusals = history.refusals.clone();
    report.histories = history.keys.len();
    report.operations = history.keys.values().map(Vec::len).sum();
    report.violations.extend(check::answers::check(&history).err());
    // A node that loses the only copy of the log's end can't know that there was more.
    if !control::is_damaged(&Machine::wal_dir()) {
        report.violations.extend(check::modified::check(&history).err());
        match check::linearizability::check(&history, &shared.values.borrow()) {
            Ok(undecided) => report.undecided = undecided,
            Err(violation) => report.violations.push(violation),
        }
    }
    report
}

/// Lets clients work while faults happen.
async fn safety(chosen: &Chosen, machine: &Rc<Machine>, shared: &Rc<Shared>, random: &mut Random) {
    let supervisor = spawn(supervise(machine.clone(), shared.clone(), control::random()));
    let nemesis = spawn(torment(chosen.clone(), machine.clone(), shared.clone(), control::random()));
    if chosen.faults.contains(&Fault::Garbage) {
        for _ in 0..1 + random.index(3) {
            spawn(abuse(shared.clone(), control::random()));
        }
    }
    shared.slow_one_in.set(chosen.slow_one_in);
    shared.half_closes.set(chosen.faults.contains(&Fault::HalfClose));
    let mut workers = Vec::new();
    for number in 1..=chosen.clients {
        let worker = Worker::new(shared.clone(), number, control::random());
        workers.push(spawn(worker.work(chosen.operations)));
    }
    let mut all = pin!(async {
        for worker in workers {
            worker.await;
        }
    });
    let all_ended = engine::io::timeout(SAFETY_AT_MOST, &mut all).await.is_ok();
    shared.stop.set(true);
    shared.half_closes.set(false);
    shared.slow_one_in.set(SLOW_ONE_IN);
    nemesis.await;
    supervisor.await;
    if !all_ended {
        // Slow clients end the operation that they have begun, or give it up.
        let _ = engine::io::timeout(SAFETY_AT_MOST, all).await;
    }
}

fn rates(chosen: &Chosen, random: &mut Random) -> FaultRates {
    let Chosen { faults, heat, sync_errors_in, .. } = chosen;
    let mut rate = |fault: Fault, usual: u32| {
        let spread = [1, 3, 10, 40][random.index(4)];
        if faults.contains(&fault) { usual * spread * heat / 100 } else { 0 }
    };
    FaultRates {
        read_error: rate(Fault::ReadError, 2000),
        write_error: rate(Fault::WriteError, 500),
        sync_error: rate(Fault::SyncError, if *sync_errors_in == EXTENTS { 4000 } else { 500 }),
        sync_errors_in,
        misdirected_write: rate(Fault::MisdirectedWrite, 300),
        bit_rot: rate(Fault::BitRot, 300),
        slow: rate(Fault::SlowDisk, 2000),
        torn: faults.contains(&Fault::TornWrite) || faults.contains(&Fault::Crash),
        lost: faults.contains(&Fault::LostWrite) || faults.contains(&Fault::Crash),
    }
}

/// Injects the faults of a run until it stops, then ends them.
async fn torment(chosen: Chosen, machine: Rc<Machine>, shared: Rc<Shared>, mut random: Random) {
    let Chosen { faults, heat, .. } = &chosen;
    let damages = faults.iter().any(|fault| fault.damages());
    while !shared.stop.get() {
        let mut rates = rates(&chosen, &mut random);
        if random.one_in(3) {
            // A while without disk faults, so that work gets done.
            rates = FaultRates { torn: rates.torn, lost: rates.lost, ..FaultRates::default() };
        }
        control::set_rates(machine.id, rates);
        shared.damage.set(shared.damage.get() || damages);
        let network = |fault, usual: u32| if faults.contains(&fault) { usual * heat / 100 } else { 0 };
        control::set_network_rates(NetworkRates {
            cut: network(Fault::Cut, 3000),
            stall: network(Fault::Stall, 3000),
        });
        let pause = random.between(100, 40_000) * [1, 5, 25][random.index(3)];
        sleep(Duration::from_micros(pause)).await;
        if shared.stop.get() {
            break;
        }
        let faults: Vec<Fault> = faults.iter().copied().collect();
        if let Some(fault) = faults.get(random.index(faults.len().max(1))) {
            strike(*fault, &machine, &mut random).await;
        }
    }
    calm(&machine);
}

/// Ends all faults.
fn calm(machine: &Machine) {
    control::set_rates(machine.id, FaultRates { torn: true, lost: true, ..FaultRates::default() });
    control::set_network_rates(NetworkRates::default());
    control::heal();
    control::fill_disk(machine.id, None);
    control::reset_clock(machine.id);
}

/// Injects one momentary fault.
async fn strike(fault: Fault, machine: &Rc<Machine>, random: &mut Random) {
    match fault {
        Fault::Crash | Fault::TornWrite | Fault::LostWrite => crash(machine, fault, random),
        Fault::CrashInRecovery => {
            crash(machine, Fault::Crash, random);
            for _ in 0..1 + random.index(3) {
                sleep(Duration::from_micros(random.between(1, 30_000))).await;
                if control::is_running(machine.id) && !machine.is_ready() {
                    crash(machine, Fault::CrashInRecovery, random);
                }
            }
        }
        Fault::Pause => {
            let longest = [10, 100, 1000, 40_000][random.index(4)];
            if !control::is_paused(machine.id) {
                control::pause(machine.id, Duration::from_millis(random.between(1, longest)));
            }
        }
        Fault::Clock => {
            let farthest = [100, 5000, 120_000, 100_000_000][random.index(4)];
            let by = i64::try_from(random.below(farthest)).unwrap_or_default();
            control::move_clock(machine.id, if random.one_in(2) { by } else { -by });
        }
        Fault::NoSpace => {
            control::fill_disk(machine.id, Some(random.below(12 << 20)));
            sleep(Duration::from_millis(random.between(1, 800))).await;
            control::fill_disk(machine.id, None);
        }
        // Between faults there must be time to get something done.
        Fault::Partition if !control::is_partitioned() && random.one_in(3) => {
            let kind =
                [PartitionKind::ToNodes, PartitionKind::ToClients, PartitionKind::BothWays][random.index(3)];
            let longest = [20, 200, 2000, 30_000][random.index(4)];
            control::partition(kind, Duration::from_millis(random.between(1, longest)));
        }
        Fault::BitRot if random.one_in(4) => {
            let _ = control::rot(machine.id, |path| path.starts_with("/data"));
        }
        _ => {}
    }
}

fn crash(machine: &Machine, fault: Fault, random: &mut Random) {
    if !control::is_running(machine.id) {
        return;
    }
    if random.one_in(3) && fault == Fault::Crash {
        control::count(fault, "the process is killed");
        machine.kill();
    } else {
        control::count(
            if fault == Fault::CrashInRecovery { fault } else { Fault::Crash },
            "the power is lost",
        );
        machine.power_off(true, random);
    }
}

/// Restarts the node whenever it is down, as an operator would.
async fn supervise(machine: Rc<Machine>, shared: Rc<Shared>, mut random: Random) {
    while !shared.stop.get() {
        sleep(Duration::from_millis(random.between(1, 40))).await;
        if let Err(violation) = check::limits::working(&machine).and_then(|()| check::rot::check(&machine)) {
            shared.history.borrow_mut().violation(violation);
        }
        if !control::is_running(machine.id) {
            sleep(Duration::from_millis(random.between(0, 300))).await;
            machine.start();
        } else if machine.is_ready() && random.one_in(400) {
            let begun = now();
            let in_order = machine.shut_down(Duration::from_secs(60)).await;
            if now() >= begun + DRAIN_LIMIT {
                shared.history.borrow_mut().cut_short = true;
            }
            if in_order && let Err(violation) = stopped_at_work(&machine).await {
                shared.history.borrow_mut().violation(violation);
            }
        }
    }
}

/// Checks what a node left that was shut down while clients used it, before the next start sweeps.
async fn stopped_at_work(machine: &Machine) -> Result<(), String> {
    let disturbed = || DISTURBING.iter().any(|fault| control::counted(*fault) > 0);
    if control::is_running(machine.id) || disturbed() {
        return Ok(());
    }
    let left = Left { settled: false, tidy: machine.clean.get() };
    let checked = check::rest(machine, false, &[], left).await;
    if disturbed() { Ok(()) } else { checked.map_err(|what| format!("after a shutdown: {what}")) }
}

/// Waits until the node serves; false if it ends or takes too long.
async fn serves(machine: &Machine) -> bool {
    let end = now() + CONVERGES_WITHIN;
    while !machine.is_ready() {
        if !control::is_running(machine.id) || now() > end {
            return false;
        }
        sleep(Duration::from_millis(1)).await;
    }
    true
}

/// Starts the node, repeatedly if need be, until it serves.
async fn comes_up(machine: &Machine) -> Result<(), String> {
    for _ in 0..3 {
        if !control::is_running(machine.id) {
            machine.start();
        }
        if serves(machine).await {
            return Ok(());
        }
        if control::is_running(machine.id) {
            return Err(format!(
                "liveness: the node does not serve {CONVERGES_WITHIN:?} after the last fault"
            ));
        }
    }
    let why = control::ended(machine.id).or_else(|| machine.refused.borrow().clone());
    Err(why.unwrap_or_default())
}

/// Without faults everything converges: the node serves, every key can be read, and nothing is left over.
async fn liveness(machine: &Rc<Machine>, shared: &Rc<Shared>, report: &mut Report) -> Result<(), String> {
    calm(machine);
    while control::is_paused(machine.id) {
        sleep(Duration::from_millis(10)).await;
    }
    let damaged = control::counted(Fault::BitRot) + control::counted(Fault::MisdirectedWrite) > 0
        || control::has_bad_pages(machine.id);
    if control::counted(Fault::ReadError) > 0 {
        // What could not be read at one start may be readable at the next, so an operator starts it again.
        machine.kill();
    }
    if let Err(why) = comes_up(machine).await {
        if damaged && !why.starts_with("liveness") {
            // The only copy is damaged, so a refusal that says so is right.
            report.refused = Some(why);
            return Ok(());
        }
        return Err(format!("liveness: the node does not start: {why}"));
    }
    let mut worker = Worker::new(shared.clone(), 0, control::random());
    for key in shared.keys.clone() {
        let mut known = worker.get(key).await;
        for _ in 0..5 {
            if !known {
                sleep(Duration::from_secs(1)).await;
                known = worker.get(key).await;
            }
        }
        if !known && !damaged {
            return Err(format!("liveness: {key:?} can't be read"));
        }
    }
    for _ in 0..3 {
        worker.list().await;
    }
    let mut served = false;
    for _ in 0..5 {
        if !served {
            served = worker.is_served(shared.keys[0]).await;
            sleep(Duration::from_secs(1)).await;
        }
    }
    if !served && !damaged {
        return Err("liveness: the node takes no value".to_owned());
    }
    drop(worker);
    settle_and_end(machine, shared, damaged).await?;
    if !damaged {
        check::log::check(machine).await?;
    }
    if let Err(why) = comes_up(machine).await {
        if damaged && !why.starts_with("liveness") {
            report.refused = Some(why);
            return Ok(());
        }
        return Err(format!("liveness: the last start: {why}"));
    }
    sleep(SETTLES_WITHIN).await;
    check::limits::resting(machine)?;
    check::rot::check(machine)?;
    let entries = check::limits::index_entries(machine);
    if !machine.shut_down(Duration::from_secs(120)).await {
        return Err("liveness: the node does not shut down".to_owned());
    }
    check::rest(machine, damaged, &entries, Left { settled: true, tidy: true }).await
}

/// Lets the node settle, reads every key again, and ends the process: in order, or not.
async fn settle_and_end(machine: &Machine, shared: &Rc<Shared>, damaged: bool) -> Result<(), String> {
    // The process that did the work must have returned what it took; the next one has done nothing yet.
    sleep(SETTLES_WITHIN).await;
    check::limits::resting(machine)?;
    // What reclaim and compaction did meanwhile must have left everything in place.
    let mut worker = Worker::new(shared.clone(), 0, control::random());
    for key in shared.keys.clone() {
        worker.get(key).await;
    }
    worker.list().await;
    drop(worker);
    sleep(RESTS_WITHIN).await;
    if control::random().one_in(2) {
        let entries = check::limits::index_entries(machine);
        if !machine.shut_down(Duration::from_secs(120)).await {
            return Err("liveness: the settled node does not shut down".to_owned());
        }
        check::rest(machine, damaged, &entries, Left { settled: true, tidy: machine.clean.get() }).await?;
    } else {
        // A start after a crash sweeps what lost answers may have left behind.
        machine.kill();
    }
    Ok(())
}
