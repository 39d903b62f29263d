//! Executors pinned to CPUs, tasks, time and randomness.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Duration;

use glommio::{LocalExecutorBuilder, Placement, PoolPlacement};

use super::watchdog;
use crate::io::Instant;

/// Below 10 ms glommio loses wake-ups when it is preempted before it ran anything.
const PREEMPT_TIMER: Duration = Duration::from_millis(10);
/// Pinned three times per executor, so small: a user with `ulimit -l` of 8 MiB must be able to run. Below
/// 512 KiB glommio cannot join its executors.
const IO_MEMORY_BYTES: usize = 512 << 10;
/// Submission entries of each ring.
const RING_DEPTH: usize = 512;
/// Ring set-up may fail with ENOMEM just after another process ended: the kernel frees pinned memory late.
const SETUP_ATTEMPTS: u32 = 6;

/// How to run the executors of a node.
#[derive(Clone, Debug)]
pub struct ExecutorsConfig {
    /// Number of executors; more than the machine has CPUs is allowed.
    pub cores: usize,
    /// A directory on the disk of the data files, for the priming file.
    pub directory: PathBuf,
}

/// Running executors; [`Executors::join`] waits for all of their futures.
pub struct Executors {
    handles: Vec<glommio::ExecutorJoinHandle<()>>,
    watchdog: watchdog::Watchdog,
}

impl Executors {
    /// Waits until every core's future has ended.
    pub fn join(self) -> io::Result<()> {
        let mut result = Ok(());
        for handle in self.handles {
            if let Err(error) = handle.join() {
                result = Err(io::Error::other(error.to_string()));
            }
        }
        self.watchdog.stop();
        result
    }
}

/// Starts one pinned executor per core, each running the future that `main(core)` builds on it.
///
/// # Errors
/// The ring cannot be set up (io_uring forbidden, locked memory too small), or the directory is unusable.
pub fn run_executors<G, F>(config: &ExecutorsConfig, main: G) -> io::Result<Executors>
where
    G: Fn(usize) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    let prime = prime_file(&config.directory)?;
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let mut watchdog = watchdog::Watchdog::new(config.cores);
    let mut handles = Vec::with_capacity(config.cores);
    for core in 0..config.cores {
        let mut attempt = 0;
        let handle = loop {
            let (main, prime, heart) = (main.clone(), prime.clone(), watchdog.heart(core));
            let spawned = builder(Placement::Fixed(core % cpus)).name(&format!("core-{core}")).spawn(
                move || async move {
                    open_primed(&prime).await;
                    watchdog::beat(heart);
                    main(core).await;
                },
            );
            match spawned {
                Ok(handle) => break handle,
                Err(error) => {
                    attempt += 1;
                    if attempt == SETUP_ATTEMPTS {
                        return Err(io::Error::other(format!("io_uring set-up: {error}")));
                    }
                    std::thread::sleep(Duration::from_millis(20 << attempt));
                }
            }
        };
        handles.push(handle);
    }
    watchdog.start();
    Ok(Executors { handles, watchdog })
}

fn builder(placement: Placement) -> LocalExecutorBuilder {
    LocalExecutorBuilder::new(placement)
        .io_memory(IO_MEMORY_BYTES)
        .ring_depth(RING_DEPTH)
        .preempt_timer(PREEMPT_TIMER)
        // To spin before parking halves an idle round trip, and under load takes the CPU from whom it waits for:
        // 20 µs cost a third of the throughput at 64 connections.
        .spin_before_park(Duration::ZERO)
        .blocking_thread_pool_placement(PoolPlacement::Unbound(2))
}

/// Runs one future to its end on an executor of its own on this thread. For tests and tools.
pub fn block_on<T>(directory: &Path, future: impl Future<Output = T>) -> io::Result<T> {
    let prime = prime_file(directory)?;
    let executor = builder(Placement::Unbound).make().map_err(|error| io::Error::other(error.to_string()))?;
    Ok(executor.run(async move {
        open_primed(&prime).await;
        future.await
    }))
}

fn prime_file(directory: &Path) -> io::Result<PathBuf> {
    let path = directory.join(".prime");
    if std::fs::metadata(&path).map_or(true, |meta| meta.len() < 4096) {
        std::fs::write(&path, vec![1_u8; 4096])?;
    }
    Ok(path)
}

async fn open_primed(path: &Path) {
    if let Ok(file) = glommio::io::DmaFile::open(path).await {
        let _ = file.close().await;
    }
}

/// A task's result; dropping it neither cancels nor blocks the task.
pub struct JoinHandle<T>(glommio::task::JoinHandle<T>);

impl<T> Future for JoinHandle<T> {
    type Output = Option<T>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        Pin::new(&mut self.0).poll(cx)
    }
}

/// Starts a task on this core. It runs to its end whether or not the handle is kept.
pub fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    JoinHandle(glommio::spawn_local(future).detach())
}

/// Starts a plain OS thread, for a library that blocks.
pub fn spawn_thread(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body)
}

/// A future that is ready once its time has come.
pub struct Sleep(glommio::timer::Timer);

impl Future for Sleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(|_| ())
    }
}

/// Waits for `duration`.
pub fn sleep(duration: Duration) -> Sleep {
    Sleep(glommio::timer::Timer::new(duration))
}

/// Lets other tasks run if this one has had its share of time. Call it in every loop over ready data.
pub async fn yield_if_needed() {
    glommio::executor().yield_if_needed().await;
}

/// Lets every other ready task run once.
pub async fn yield_now() {
    glommio::executor().yield_now().await;
}

fn epoch() -> std::time::Instant {
    static EPOCH: OnceLock<std::time::Instant> = OnceLock::new();
    *EPOCH.get_or_init(std::time::Instant::now)
}

/// Monotonic time.
pub fn now() -> Instant {
    Instant(u64::try_from(epoch().elapsed().as_nanos()).unwrap_or(u64::MAX))
}

/// Milliseconds since 1970 by the wall clock.
pub fn unix_ms() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Fills `bytes` from a cryptographic generator of this thread, which the system's generator seeds.
pub fn fill_random(bytes: &mut [u8]) {
    rand::Rng::fill_bytes(&mut rand::rng(), bytes);
}

/// CPU time that this core's thread has used, and the time since the process began.
pub fn busy_share() -> (Duration, Duration) {
    // SAFETY: timespec is plain data; zeroes are a valid value, and the call fills it.
    let mut spent: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: `spent` outlives the call.
    let known = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut spent) } == 0;
    let (seconds, nanos) = (u64::try_from(spent.tv_sec), u32::try_from(spent.tv_nsec));
    let busy = match (known, seconds, nanos) {
        (true, Ok(seconds), Ok(nanos)) => Duration::new(seconds, nanos),
        _ => Duration::ZERO,
    };
    (busy, epoch().elapsed())
}
