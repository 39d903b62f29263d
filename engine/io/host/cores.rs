//! The threads of a node's cores, for either executor.

use std::future::Future;
use std::io;
use std::sync::{Arc, mpsc};

use super::watchdog::{Pulse, Watchdog};

/// The part of a core that other threads may touch, and how to run its executor.
pub trait Executor: Pulse + Sized {
    /// A core whose executor has not started.
    ///
    /// # Errors
    /// The system has no free descriptor.
    fn new() -> io::Result<Self>;

    /// Makes this thread an executor for as long as `future` runs. `started` learns whether the executor could start;
    /// if it couldn't, there is no result.
    fn run<T>(
        self: Arc<Self>,
        future: impl Future<Output = T>,
        started: impl FnOnce(io::Result<()>),
    ) -> Option<T>;
}

/// Running executors; [`Executors::join`] waits for all of their futures.
pub struct Executors {
    threads: Vec<std::thread::JoinHandle<()>>,
    _watchdog: Watchdog,
}

impl Executors {
    /// Waits until every core's future has ended.
    pub fn join(self) -> io::Result<()> {
        let mut result = Ok(());
        for thread in self.threads {
            if thread.join().is_err() {
                result = Err(io::Error::other("a core's task panicked"));
            }
        }
        result
    }

    /// Starts `cores` pinned executors. Each runs the future that `main(core)` builds on it.
    pub fn start<E: Executor, G, F>(cores: usize, main: G) -> io::Result<Executors>
    where
        G: Fn(usize) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + 'static,
    {
        super::blocking::start()?;
        let mut executors = Vec::with_capacity(cores);
        let mut threads = Vec::with_capacity(cores);
        for core in 0..cores {
            let executor = Arc::new(E::new()?);
            executors.push(executor.clone());
            let main = main.clone();
            let (sender, started) = mpsc::channel();
            let body = move || {
                pin_to_cpu(core);
                let report = move |result| drop(sender.send(result));
                executor.run(async move { main(core).await }, report);
            };
            threads.push(std::thread::Builder::new().name(format!("core-{core}")).spawn(body)?);
            started.recv().unwrap_or_else(|_| Err(io::Error::other("the thread ended")))?;
        }
        Ok(Executors { threads, _watchdog: Watchdog::start(executors)? })
    }
}

/// Runs one future to completion on its own executor on this thread.
pub fn block_on<E: Executor, T>(future: impl Future<Output = T>) -> io::Result<T> {
    let mut result = Ok(());
    let executor = Arc::new(E::new()?);
    let _watchdog = Watchdog::start(vec![executor.clone()])?;
    let value = executor.run(future, |started| result = started);
    result.map(|()| value.unwrap_or_else(|| unreachable!("it has started")))
}

/// Pins this thread to one of the CPUs that the process may use. Best effort: a machine may forbid it.
fn pin_to_cpu(core: usize) {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let Ok(allowed) = sched_getaffinity(None) else { return };
    let cpus: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
    if let Some(cpu) = cpus.get(core % cpus.len().max(1)) {
        let mut own = CpuSet::new();
        own.set(*cpu);
        let _ = sched_setaffinity(None, &own);
    }
}
