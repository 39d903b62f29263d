//! The command line: runs many seeds in parallel and sums them up, or one seed with its trace.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clap::Parser;
use engine::io::sim::Fault;
use engine::io::sim::control::{self, Summary};

use crate::check::linearizability;
use crate::reach;
use crate::scenario::{self, Report, STEPS_MAX};

#[derive(Parser)]
#[command(name = "tests/sim/run", about = "Runs whole nodes in a simulated world")]
struct Flags {
    /// The number of seeds to run
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// Stop after this many minutes
    #[arg(long)]
    minutes: Option<f64>,
    /// Processes to run in parallel
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// The first seed [default: a random one]
    #[arg(long)]
    from: Option<u64>,
    /// Run one seed and print a readable trace to standard error
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Print only the hash of that seed's trace
    #[arg(long, requires = "seed")]
    hash: bool,
    /// Let each seed do several thousand operations
    #[arg(long)]
    long: bool,
    /// Inject only this fault
    #[arg(long, value_parser = parse_fault)]
    fault: Option<Fault>,
    /// Plant this bug; it must have been compiled in
    #[arg(long, value_parser = parse_canary)]
    canary: Option<&'static str>,
    /// Plant each bug in turn and report how many seeds it takes to find it
    #[arg(long)]
    canaries: bool,
    /// Run the seeds in this process, one after another
    #[arg(long, hide = true)]
    here: bool,
}

fn parse_fault(name: &str) -> Result<Fault, String> {
    let names = Fault::ALL.map(Fault::name).join(", ");
    Fault::ALL.into_iter().find(|fault| fault.name() == name).ok_or_else(|| format!("one of {names}"))
}

/// Seeds that one process runs.
const CHUNK: u64 = 25;

/// The bugs that can be planted.
const CANARIES: [&str; 30] = [
    "ack-before-sync",
    "ack-before-commit",
    "sync-skipped-on-switch",
    "extent-not-synced",
    "folder-not-synced",
    "torn-tail-accepted",
    "salt-ignored",
    "index-entry-lost-at-seal",
    "snapshot-without-persist",
    "apply-reads-clock",
    "condition-not-checked-at-commit",
    "range-off-by-one-block",
    "live-blob-reclaimed",
    "live-parts-swept",
    "refused-blob-kept",
    "replaced-part-kept",
    "unlisted-parts-kept",
    "first-blob-released",
    "common-prefix-listed-again",
    "parked-unhashed",
    "range-of-itself",
    "extent-freed-while-read",
    "cache-not-invalidated",
    "stale-row-kept",
    "reads-do-not-wait",
    "completed-upload-forgotten",
    "modified-goes-back",
    "budget-never-returned",
    "space-never-returned",
    "failed-sync-retried",
];

fn parse_canary(name: &str) -> Result<&'static str, String> {
    CANARIES
        .into_iter()
        .find(|canary| *canary == name)
        .ok_or_else(|| format!("one of {}", CANARIES.join(", ")))
}

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The result of a seed.
struct Outcome {
    summary: Summary,
    report: Report,
}

fn note_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or(String::new(), ToString::to_string);
        let text = message(info.payload());
        let trace = std::backtrace::Backtrace::capture();
        let trace = if trace.status() == std::backtrace::BacktraceStatus::Captured {
            format!("\n{trace}")
        } else {
            String::new()
        };
        PANIC.set(format!("panic at {place}: {text}{trace}"));
    }));
}

fn message(payload: &dyn Any) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_default()
}

/// Runs one seed.
fn run(seed: u64, flags: &Flags, planted: Option<&'static str>, verbose: bool) -> Outcome {
    let (only, long) = (flags.fault, flags.long);
    let ran = catch_unwind(AssertUnwindSafe(|| {
        control::run(seed, STEPS_MAX, verbose, planted, scenario::run(only, long))
    }));
    match ran {
        Ok((Ok(report), summary)) => Outcome { summary, report },
        Ok((Err(why), summary)) => {
            Outcome { summary, report: Report { violations: vec![why.to_owned()], ..Report::default() } }
        }
        Err(_) => {
            let violations = vec![PANIC.take()];
            Outcome { summary: control::abandon(), report: Report { violations, ..Report::default() } }
        }
    }
}

#[derive(Default)]
struct Total {
    seeds: u64,
    steps: u64,
    time: Duration,
    operations: usize,
    histories: usize,
    undecided: usize,
    refused: u64,
    ended_for_memory: u64,
    answers: BTreeMap<u16, u64>,
    refusals: BTreeMap<String, u64>,
    faults: BTreeMap<Fault, u64>,
    reached: BTreeMap<&'static str, u64>,
    failed: Vec<u64>,
}

fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The command that replays a seed.
fn replay(seed: u64, flags: &Flags) -> String {
    let fault = flags.fault.map_or(String::new(), |fault| format!(" --fault {}", fault.name()));
    let planted = flags.canary.map_or(String::new(), |canary| format!(" --canary {canary}"));
    format!("tests/sim/run --seed {seed}{fault}{planted}{}", if flags.long { " --long" } else { "" })
}

impl Total {
    fn add(&mut self, seed: u64, flags: &Flags, outcome: &Outcome) {
        let Outcome { summary, report } = outcome;
        self.seeds += 1;
        self.steps += summary.steps;
        self.time += summary.time;
        self.operations += report.operations;
        self.histories += report.histories;
        self.undecided += report.undecided;
        self.refused += u64::from(report.refused.is_some());
        self.ended_for_memory += summary.ended_for_memory;
        for (status, count) in &report.answers {
            *self.answers.entry(*status).or_default() += count;
        }
        for (refusal, count) in &report.refusals {
            *self.refusals.entry(refusal.clone()).or_default() += count;
        }
        for (fault, count) in &summary.faults {
            *self.faults.entry(*fault).or_default() += count;
        }
        reach::add(&mut self.reached, &summary.reached);
        if !report.violations.is_empty() {
            self.failed.push(seed);
            say(&format!("seed {seed} FAILED; replay it with: {}", replay(seed, flags)));
            for violation in report.violations.iter().take(3) {
                say(&format!("  {}", violation.replace('\n', "\n  ")));
            }
        }
    }

    fn print(&self) {
        say(&format!("seeds: {}", self.seeds));
        say(&format!("steps: {}", self.steps));
        say(&format!("virtual hours: {:.4}", self.time.as_secs_f64() / 3600.0));
        say(&format!("operations: {}", self.operations));
        say(&format!("histories: {}", self.histories));
        say(&format!("undecided histories: {}", self.undecided));
        say(&format!("starts refused because of damage: {}", self.refused));
        say(&format!("requests ended because memory was short: {}", self.ended_for_memory));
        for (status, count) in &self.answers {
            let name = if *status == 0 { "none".to_owned() } else { status.to_string() };
            say(&format!("answer {name}: {count}"));
        }
        for (refusal, count) in &self.refusals {
            say(&format!("refused {}: {count}", refusal.replace(": ", ", ")));
        }
        for (fault, count) in &self.faults {
            say(&format!("fault {}: {count}", fault.name()));
        }
        for name in reach::REACHED.into_iter().chain(reach::RARE) {
            say(&format!("reach {name}: {}", self.reached.get(name).unwrap_or(&0)));
        }
        say(&format!("failed: {}", self.failed.len()));
    }
}

/// The entry point of the simulator.
pub fn main() -> ExitCode {
    let flags = Flags::parse();
    linearizability::self_test();
    note_panics();
    if let Some(seed) = flags.seed {
        return one(seed, &flags);
    }
    let first = flags.from.unwrap_or_else(fresh);
    if flags.canaries {
        return canaries(first, &flags);
    }
    if flags.here { here(first, &flags) } else { apart(first, &flags) }
}

/// Runs the seeds one after another.
fn here(first: u64, flags: &Flags) -> ExitCode {
    let mut total = Total::default();
    for seed in (0..flags.seeds).map(|count| first.wrapping_add(count)) {
        total.add(seed, flags, &run(seed, flags, flags.canary, false));
        if flags.canary.is_some() && !total.failed.is_empty() {
            break;
        }
    }
    total.print();
    if total.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the seeds in several processes, a few seeds in each: what killed nodes leave in memory goes with the process, and
/// a seed that crashes its process takes no others along.
fn apart(first: u64, flags: &Flags) -> ExitCode {
    let started = wall_clock();
    let limit = flags.minutes.map(|minutes| Duration::from_secs_f64(minutes * 60.0));
    let next = AtomicU64::new(0);
    let sums = Mutex::new(Sums::default());
    std::thread::scope(|scope| {
        for _ in 0..flags.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let from = next.fetch_add(CHUNK, Ordering::Relaxed);
                    let late = limit.is_some_and(|limit| wall_clock().saturating_sub(started) > limit);
                    if from >= flags.seeds || late {
                        return;
                    }
                    let count = CHUNK.min(flags.seeds - from);
                    let output = chunk(first.wrapping_add(from), count, flags, flags.canary);
                    sums.lock().unwrap_or_else(PoisonError::into_inner).add(output);
                }
            });
        }
    });
    let mut sums = sums.into_inner().unwrap_or_else(PoisonError::into_inner);
    sums.print();
    sums.print_speed(wall_clock().saturating_sub(started));
    sums.check_undecided();
    if flags.fault.is_none() && flags.canary.is_none() {
        sums.check_reach();
    }
    if sums.broken { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Runs some seeds in another process; with a planted bug, up to the seed that finds it.
fn chunk(from: u64, seeds: u64, flags: &Flags, planted: Option<&'static str>) -> std::io::Result<Output> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--here", "--from", &from.to_string(), "--seeds", &seeds.to_string()]);
    command.args(flags.fault.iter().flat_map(|fault| ["--fault", fault.name()]));
    command.args(planted.iter().flat_map(|canary| ["--canary", *canary]));
    command.args(flags.long.then_some("--long"));
    command.output()
}

/// Adds up the summaries of several processes.
#[derive(Default)]
struct Sums {
    numbers: Vec<(String, f64)>,
    broken: bool,
}

impl Sums {
    fn add(&mut self, output: std::io::Result<Output>) {
        let output = match output {
            Ok(output) => output,
            Err(error) => {
                self.broken = true;
                return say(&format!("no process can be started: {error}"));
            }
        };
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let number =
                line.split_once(": ").and_then(|(name, number)| Some((name, number.parse::<f64>().ok()?)));
            let Some((name, number)) = number else {
                say(line);
                continue;
            };
            match self.numbers.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => *sum += number,
                None => self.numbers.push((name.to_owned(), number)),
            }
        }
        if !output.status.success() {
            self.broken = true;
            say(&format!("{}{}", output.status, String::from_utf8_lossy(&output.stderr)));
        }
    }

    fn number(&self, name: &str) -> f64 {
        self.numbers.iter().find(|(known, _)| known == name).map_or(0.0, |(_, sum)| *sum)
    }

    /// Fails a run of which more than one history in a thousand could not be decided.
    fn check_undecided(&mut self) {
        let (histories, undecided) = (self.number("histories"), self.number("undecided histories"));
        if histories >= 1000.0 && undecided * 1000.0 > histories {
            self.broken = true;
            say(&format!("FAILED: {undecided} of {histories} histories could not be decided"));
        }
    }

    /// Fails a long run that did not reach a state.
    fn check_reach(&mut self) {
        if self.number("seeds") < reach::SEEDS_MIN as f64 {
            return;
        }
        for name in reach::REACHED {
            if self.number(&format!("reach {name}")) == 0.0 {
                self.broken = true;
                say(&format!("FAILED: no seed reached {name}"));
            }
        }
    }

    fn print_speed(&self, elapsed: Duration) {
        let rates = [
            ("steps a second", self.number("steps")),
            ("virtual hours a minute", self.number("virtual hours") * 60.0),
            ("operations a minute", self.number("operations") * 60.0),
            ("seeds a second", self.number("seeds")),
        ];
        for (name, count) in rates {
            say(&format!("{name}: {:.1}", count / elapsed.as_secs_f64()));
        }
    }

    fn print(&mut self) {
        // Answers by status are where they came first.
        self.numbers.sort_by_key(|(name, _)| match name.split_once(' ') {
            Some(("fault", _)) => 1,
            Some(("reach", _)) => 2,
            _ if name == "failed" => 3,
            _ => 0,
        });
        for (name, sum) in &self.numbers {
            say(&format!("{name}: {}", (sum * 10.0).round() / 10.0));
        }
    }
}

/// Plants each bug and looks for the first seed that finds it.
fn canaries(first: u64, flags: &Flags) -> ExitCode {
    let mut missed = 0;
    for canary in CANARIES.into_iter().filter(|canary| flags.canary.is_none_or(|only| only == *canary)) {
        match hunt(canary, first, flags) {
            None => {
                missed += 1;
                say(&format!("canary {canary}: missed"));
            }
            // A seed that fails without the bug has not found it.
            Some(count) if first_failed(chunk(first.wrapping_add(count - 1), 1, flags, None)).is_some() => {
                missed += 1;
                say(&format!("canary {canary}: missed: seed {count} fails without it, too"));
            }
            Some(count) => say(&format!("canary {canary}: found after {count} seeds")),
        }
    }
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The number of seeds that it takes to find a planted bug. Processes run few seeds at first, as most bugs are found
/// soon.
fn hunt(canary: &'static str, first: u64, flags: &Flags) -> Option<u64> {
    let next = Mutex::new(0);
    let found = AtomicU64::new(u64::MAX);
    std::thread::scope(|scope| {
        for _ in 0..flags.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let (from, count) = {
                        let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
                        let from: u64 = *next;
                        let count = (1 + from / 4).min(CHUNK).min(flags.seeds - from);
                        *next += count;
                        (from, count)
                    };
                    if count == 0 || from >= found.load(Ordering::Relaxed) {
                        return;
                    }
                    let from = first.wrapping_add(from);
                    if let Some(seed) = first_failed(chunk(from, count, flags, Some(canary))) {
                        found.fetch_min(seed.unwrap_or(from).wrapping_sub(first) + 1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let found = found.into_inner();
    (found < u64::MAX).then_some(found)
}

/// The seed that a process reported as failed; `Some(None)` if a seed crashed the process before it reported.
fn first_failed(output: std::io::Result<Output>) -> Option<Option<u64>> {
    let output = output.ok().filter(|output| !output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut failed = text.lines().filter_map(|line| line.strip_prefix("seed ")?.split_once(" FAILED"));
    Some(failed.next().and_then(|(seed, _)| seed.parse().ok()))
}

/// Runs one seed with its trace.
fn one(seed: u64, flags: &Flags) -> ExitCode {
    let outcome = run(seed, flags, flags.canary, !flags.hash);
    if flags.hash {
        say(&format!("{:016x}", outcome.summary.hash));
        return ExitCode::SUCCESS;
    }
    let mut total = Total::default();
    total.add(seed, flags, &outcome);
    total.print();
    say(&format!("hash: {:016x}", outcome.summary.hash));
    if let Some(why) = &outcome.report.refused {
        say(&format!("refused: {why}"));
    }
    if total.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Real time, for the deadlines of the runner itself, which is outside all simulated worlds.
#[allow(clippy::disallowed_methods)]
fn wall_clock() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

/// A random first seed, unlikely to have been used before.
fn fresh() -> u64 {
    let nanos = wall_clock().as_nanos() as u64;
    nanos / 1000 % 1_000_000_000 * 1_000_000
}
