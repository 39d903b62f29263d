//! glommio's executor on a core's thread: its tasks, its end, and the heartbeat that keeps it awake.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};
use slab::Slab;

use crate::io::host::cores::{self, Executor, Executors};
use crate::io::host::watchdog::Pulse;
use crate::io::{Event, yield_now};

/// Below 10 ms glommio loses wake-ups when it is preempted before it has run anything.
const PREEMPT_TIMER: Duration = Duration::from_millis(10);
/// Each executor locks this three times, so it has to be small. With less than 512 KiB glommio reports that the limit
/// is too low even where a user may lock 8 MiB.
const IO_MEMORY_BYTES: usize = 512 << 10;
/// Submission entries of each of the executor's three rings.
const RING_DEPTH: usize = 512;
/// Ring set-up may fail with ENOMEM just after another process ended: the kernel frees locked memory late.
const SETUP_ATTEMPTS: u32 = 6;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

/// What this thread's executor has to end before it ends itself.
#[derive(Default)]
struct Core {
    ending: Cell<bool>,
    /// The unfinished tasks, each with its waker once it has run.
    tasks: RefCell<Slab<Option<Waker>>>,
    /// Number of file operations that the kernel has not completed.
    operations: Cell<usize>,
    operation_done: Event,
    /// Devices on which a file that was not empty has been opened.
    primed: RefCell<Vec<u64>>,
}

/// Whether this thread has an executor.
pub fn is_running() -> bool {
    CURRENT.try_with(|current| current.borrow().is_some()).unwrap_or(false)
}

fn current() -> Rc<Core> {
    CURRENT
        .with(|current| current.borrow().clone())
        .unwrap_or_else(|| panic!("a plain thread has no tasks, timers, files or sockets"))
}

impl Core {
    /// Ends every task and waits for every operation.
    async fn end(&self) {
        self.ending.set(true);
        while !self.tasks.borrow().is_empty() {
            let wakers: Vec<Waker> =
                self.tasks.borrow().iter().filter_map(|(_, waker)| waker.clone()).collect();
            wakers.into_iter().for_each(Waker::wake);
            yield_now().await;
        }
        while self.operations.get() > 0 {
            self.operation_done.wait().await;
        }
    }
}

/// A task's entry in the list of unfinished tasks.
struct Place {
    core: Rc<Core>,
    key: usize,
}

impl Place {
    fn keep(&self, cx: &Context<'_>) {
        self.core.tasks.borrow_mut()[self.key].get_or_insert_with(|| cx.waker().clone());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Drop the waker once the list is no longer borrowed: it may be the last one, and then dropping it destroys the
        // task.
        let waker = self.core.tasks.borrow_mut().remove(self.key);
        drop(waker);
    }
}

/// A task's result. Dropping it neither cancels the task nor blocks it.
pub struct JoinHandle<T>(glommio::task::JoinHandle<Option<T>>);

impl<T> Future for JoinHandle<T> {
    type Output = Option<T>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        Pin::new(&mut self.0).poll(cx).map(Option::flatten)
    }
}

/// Starts a task on this core. It runs to completion whether or not the handle is kept.
pub fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    let core = current();
    let key = core.tasks.borrow_mut().insert(None);
    let place = Place { core, key };
    let task = async move {
        let place = place;
        let mut future = pin!(future);
        poll_fn(|cx| {
            if place.core.ending.get() {
                return Poll::Ready(None);
            }
            place.keep(cx);
            future.as_mut().poll(cx).map(Some)
        })
        .await
    };
    JoinHandle(glommio::spawn_local(task).detach())
}

/// Runs a file operation to completion, even if the task stops waiting for it.
pub async fn operate<T: 'static>(operation: impl Future<Output = io::Result<T>> + 'static) -> io::Result<T> {
    struct InFlight(Rc<Core>);
    impl Drop for InFlight {
        fn drop(&mut self) {
            self.0.operations.set(self.0.operations.get() - 1);
            self.0.operation_done.notify();
        }
    }
    let core = current();
    core.operations.set(core.operations.get() + 1);
    let in_flight = InFlight(core);
    let task = async move {
        let _in_flight = in_flight;
        operation.await
    };
    let result = glommio::spawn_local(task).detach().await;
    result.unwrap_or_else(|| Err(io::Error::other("the executor ended")))
}

/// Whether this executor has opened a file on `device`.
pub fn is_primed(device: u64) -> bool {
    current().primed.borrow().contains(&device)
}

/// Notes that this executor has opened a file on `device` that was not empty.
pub fn set_primed(device: u64) {
    current().primed.borrow_mut().push(device);
}

/// A future that is ready when its time has come.
pub struct Sleep(glommio::timer::Timer);

impl Future for Sleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

/// Waits for `duration`.
pub fn sleep(duration: Duration) -> Sleep {
    Sleep(glommio::timer::Timer::new(duration))
}

/// Lets other tasks run if this one has used up its time slice. Call it in every loop over ready data.
pub async fn yield_if_needed() {
    glommio::executor().yield_if_needed().await;
}

/// The part of a core that other threads may touch: its heartbeat, which the watchdog wakes.
#[derive(Default)]
pub struct Heart {
    beats: AtomicU64,
    waker: Mutex<Option<Waker>>,
    ended: AtomicBool,
}

impl Heart {
    fn waker(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the watchdog's wake-ups. Each makes the executor look at everything that is runnable.
    fn beat(self: Arc<Self>) -> impl Future<Output = ()> {
        poll_fn(move |cx| {
            self.beats.fetch_add(1, Ordering::Relaxed);
            *self.waker() = Some(cx.waker().clone());
            Poll::Pending
        })
    }
}

impl Pulse for Heart {
    const INTERVAL: Duration = Duration::from_millis(5);

    fn pulse(&self) -> (u64, bool) {
        let waker = self.waker().take();
        if let Some(waker) = waker {
            waker.wake();
        }
        (self.beats.load(Ordering::Relaxed), self.ended.load(Ordering::Relaxed))
    }
}

impl Executor for Heart {
    fn new() -> io::Result<Heart> {
        Ok(Heart::default())
    }

    fn run<T>(
        self: Arc<Self>,
        future: impl Future<Output = T>,
        started: impl FnOnce(io::Result<()>),
    ) -> Option<T> {
        let executor = match set_up() {
            Ok(executor) => executor,
            Err(error) => {
                started(Err(error));
                return None;
            }
        };
        let core = Rc::new(Core::default());
        assert!(CURRENT.replace(Some(core.clone())).is_none(), "a thread has one executor");
        let _leave = Leave(self.clone());
        started(Ok(()));
        Some(executor.run(async move {
            drop(spawn(self.beat()));
            let value = future.await;
            core.end().await;
            value
        }))
    }
}

/// Takes the executor off its thread, however the executor ends.
struct Leave(Arc<Heart>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Relaxed);
        drop(self.0.waker().take());
        CURRENT.set(None);
    }
}

fn set_up() -> io::Result<LocalExecutor> {
    let mut attempt = 0;
    loop {
        let made = LocalExecutorBuilder::new(Placement::Unbound)
            .io_memory(IO_MEMORY_BYTES)
            .ring_depth(RING_DEPTH)
            .preempt_timer(PREEMPT_TIMER)
            .make();
        match made.map_err(io::Error::from) {
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory && attempt < SETUP_ATTEMPTS => {
                attempt += 1;
                std::thread::sleep(Duration::from_millis(20 << attempt));
            }
            made => return made,
        }
    }
}

/// Starts `cores` pinned executors. Each runs the future that `main(core)` builds on it. There may be more of them than
/// the machine has CPUs.
///
/// # Errors
/// The rings cannot be set up (io_uring is forbidden, the limit on locked memory is too low), or a thread cannot be
/// started.
pub fn run_executors<G, F>(cores: usize, main: G) -> io::Result<Executors>
where
    G: Fn(usize) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    Executors::start::<Heart, G, F>(cores, main)
}

/// Runs one future to completion on its own executor on this thread. For tests and tools.
///
/// # Errors
/// The rings cannot be set up.
pub fn block_on<T>(future: impl Future<Output = T>) -> io::Result<T> {
    cores::block_on::<Heart, T>(future)
}
