//! Executors pinned to CPUs: one thread, one ring, a queue of ready tasks.
//!
//! A round runs the ready tasks, then submits new entries and fetches completions in one system call. A core with
//! nothing to do waits in that same call. Another thread that wakes a task of a sleeping core rings the core's
//! doorbell, an eventfd that the ring polls.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use async_task::Runnable;
use crossbeam::queue::SegQueue;
use rustix::event::{EventfdFlags, eventfd};
use slab::Slab;

use super::load;
use super::ring::Ring;
use super::timer::Timers;
use crate::io::Instant;
use crate::io::host::cores::{self, Executor, Executors};
use crate::io::host::now;
use crate::io::host::watchdog::Pulse;

/// How long tasks run before the core looks at its ring again, and before [`yield_if_needed`] yields.
const SLICE: Duration = Duration::from_micros(500);
/// The clock is read once per this many polls of tasks.
const POLLS_PER_LOOK: u32 = 16;
/// Ring set-up may fail with ENOMEM just after another process ended: the kernel frees locked memory late.
const SETUP_ATTEMPTS: u32 = 6;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

/// The part of a core that other threads may touch.
pub struct Remote {
    /// Tasks of this core that other threads have woken.
    woken: SegQueue<Runnable>,
    asleep: AtomicBool,
    doorbell: OwnedFd,
    /// Number of rounds begun, which shows the watchdog that the core is alive.
    rounds: AtomicU64,
}

impl Remote {
    /// Wakes the core if it sleeps.
    fn ring_doorbell(&self) {
        // Pairs with the fence in `turn`: either we see that the core sleeps, or it sees what we queued.
        fence(Ordering::SeqCst);
        if self.asleep.swap(false, Ordering::SeqCst) {
            // The counter is never read. It can't overflow in the life of a process, and each write is an event.
            let _ = rustix::io::write(&self.doorbell, &1_u64.to_ne_bytes());
        }
    }

    /// Queues a task that was woken by any thread.
    fn schedule(self: &Arc<Self>, runnable: Runnable) {
        let mut runnable = Some(runnable);
        let _ = CURRENT.try_with(|current| {
            if let Some(core) = current.borrow().as_ref()
                && Arc::ptr_eq(&core.remote, self)
            {
                core.ready.borrow_mut().extend(runnable.take());
            }
        });
        if let Some(runnable) = runnable {
            self.woken.push(runnable);
            self.ring_doorbell();
        }
    }
}

impl Pulse for Remote {
    const INTERVAL: Duration = Duration::from_secs(5);

    fn pulse(&self) -> (u64, bool) {
        (self.rounds.load(Ordering::Relaxed), self.asleep.load(Ordering::Relaxed))
    }
}

impl Executor for Remote {
    fn new() -> io::Result<Remote> {
        let doorbell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Remote {
            woken: SegQueue::new(),
            asleep: AtomicBool::new(false),
            doorbell,
            rounds: AtomicU64::new(0),
        })
    }

    fn run<T>(
        self: Arc<Self>,
        future: impl Future<Output = T>,
        started: impl FnOnce(io::Result<()>),
    ) -> Option<T> {
        let core = match Core::new(self) {
            Ok(core) => Rc::new(core),
            Err(error) => {
                started(Err(error));
                return None;
            }
        };
        assert!(CURRENT.replace(Some(core.clone())).is_none(), "a thread has one executor");
        let _leave = Leave(core.clone());
        started(Ok(()));
        Some(core.run(future))
    }
}

/// The executor of this thread.
pub struct Core {
    remote: Arc<Remote>,
    ready: RefCell<VecDeque<Runnable>>,
    /// A waker of each unfinished task, so that the tasks can be ended with the executor.
    tasks: RefCell<Slab<Waker>>,
    pub timers: RefCell<Timers>,
    pub ring: RefCell<Ring>,
    round_began: Cell<Instant>,
    wakers: Cell<Vec<Waker>>,
}

/// Calls `body` with this thread's executor, if it has one.
pub fn try_with<R>(body: impl FnOnce(&Core) -> R) -> Option<R> {
    CURRENT.try_with(|current| current.borrow().as_ref().map(|core| body(core))).ok().flatten()
}

/// Calls `body` with this thread's executor.
///
/// # Panics
/// On a thread without one.
pub fn with<R>(body: impl FnOnce(&Core) -> R) -> R {
    try_with(body).unwrap_or_else(|| panic!("a plain thread has no tasks, timers, files or sockets"))
}

/// The waker of the main future that an executor runs to completion.
struct MainWaker {
    remote: Arc<Remote>,
    woken: AtomicBool,
}

impl Wake for MainWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.remote.ring_doorbell();
    }
}

impl Core {
    fn new(remote: Arc<Remote>) -> io::Result<Core> {
        let ring = set_up(&remote)?;
        Ok(Core {
            remote,
            ready: RefCell::default(),
            tasks: RefCell::default(),
            timers: RefCell::default(),
            ring: RefCell::new(ring),
            round_began: Cell::new(now()),
            wakers: Cell::default(),
        })
    }

    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let main = Arc::new(MainWaker { remote: self.remote.clone(), woken: AtomicBool::new(true) });
        let waker = Waker::from(main.clone());
        loop {
            self.remote.rounds.fetch_add(1, Ordering::Relaxed);
            self.round_began.set(now());
            if main.woken.swap(false, Ordering::Acquire)
                && let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker))
            {
                return value;
            }
            self.run_ready();
            self.turn(|| main.woken.load(Ordering::Acquire));
        }
    }

    /// Runs ready tasks until none is left or the time slice is over.
    fn run_ready(&self) {
        let mut polls = 0_u32;
        while let Some(runnable) = self.next_ready() {
            runnable.run();
            polls += 1;
            if polls.is_multiple_of(POLLS_PER_LOOK) && self.slice_is_over() {
                return;
            }
        }
    }

    fn next_ready(&self) -> Option<Runnable> {
        self.ready.borrow_mut().pop_front()
    }

    fn slice_is_over(&self) -> bool {
        now() - self.round_began.get() > SLICE
    }

    /// Ends a round: enters the kernel, waits there if nothing is ready, and queues what has become ready.
    fn turn(&self, more_to_do: impl Fn() -> bool) {
        let mut wakers = self.wakers.take();
        let result = if !self.ready.borrow().is_empty() || more_to_do() {
            self.ring.borrow_mut().look(&mut wakers)
        } else {
            self.remote.asleep.store(true, Ordering::SeqCst);
            // Pairs with the fence in `ring_doorbell`.
            fence(Ordering::SeqCst);
            let result = if self.remote.woken.is_empty() && !more_to_do() {
                let timeout = self.timers.borrow().next().map(|at| at - now());
                self.ring.borrow_mut().wait(timeout, load::patience(), &mut wakers)
            } else {
                self.ring.borrow_mut().look(&mut wakers)
            };
            self.remote.asleep.store(false, Ordering::Relaxed);
            result
        };
        if let Err(error) = result {
            // Without its ring a core can do nothing, not even shut down in order.
            panic!("io_uring_enter failed: {error}");
        }
        self.timers.borrow_mut().expire(now(), &mut wakers);
        wakers.drain(..).for_each(Waker::wake);
        self.wakers.set(wakers);
        while let Some(runnable) = self.remote.woken.pop() {
            self.ready.borrow_mut().push_back(runnable);
        }
    }

    /// Ends every task, on the thread that its future belongs to.
    fn end_tasks(&self) {
        while !self.tasks.borrow().is_empty() {
            let wakers: Vec<Waker> = self.tasks.borrow().iter().map(|(_, waker)| waker.clone()).collect();
            wakers.into_iter().for_each(Waker::wake);
            while let Some(runnable) = self.next_ready().or_else(|| self.remote.woken.pop()) {
                drop(runnable);
            }
        }
    }

    fn spawn<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> async_task::Task<T> {
        let mut tasks = self.tasks.borrow_mut();
        let place = tasks.vacant_entry();
        let listed = Listed(place.key());
        let future = async move {
            let _listed = listed;
            future.await
        };
        let remote = self.remote.clone();
        // SAFETY: the future is made, run and dropped on this thread only: a runnable is run by the executor of the
        // thread that spawned it, or dropped there by `end_tasks`, which leaves no unfinished task; future and output
        // are 'static; the schedule function is Send, Sync and 'static.
        let (runnable, task) =
            unsafe { async_task::spawn_unchecked(future, move |runnable| remote.schedule(runnable)) };
        place.insert(runnable.waker());
        drop(tasks);
        runnable.schedule();
        task
    }
}

/// A task's entry in the list of unfinished tasks. It leaves the list together with the task's future.
struct Listed(usize);

impl Drop for Listed {
    fn drop(&mut self) {
        // The waker may be the last one, and dropping it then destroys the task: not while the list is borrowed.
        let waker = try_with(|core| core.tasks.borrow_mut().try_remove(self.0));
        drop(waker);
    }
}

fn set_up(remote: &Remote) -> io::Result<Ring> {
    let mut attempt = 0;
    loop {
        match Ring::new(remote.doorbell.as_raw_fd()) {
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory && attempt < SETUP_ATTEMPTS => {
                attempt += 1;
                std::thread::sleep(Duration::from_millis(20 << attempt));
            }
            made => return made,
        }
    }
}

/// Ends the tasks and takes the executor off its thread, however the executor ends.
struct Leave(Rc<Core>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.end_tasks();
        CURRENT.set(None);
        self.0.remote.asleep.store(true, Ordering::Relaxed);
    }
}

/// Starts `cores` pinned executors. Each runs the future that `main(core)` builds on it. There may be more of them than
/// the machine has CPUs.
///
/// # Errors
/// The ring cannot be set up (io_uring is forbidden, the limit on locked memory is too low), or a thread cannot be
/// started.
pub fn run_executors<G, F>(cores: usize, main: G) -> io::Result<Executors>
where
    G: Fn(usize) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    Executors::start::<Remote, G, F>(cores, main)
}

/// Runs one future to completion on its own executor on this thread. For tests and tools.
///
/// # Errors
/// The ring cannot be set up.
pub fn block_on<T>(future: impl Future<Output = T>) -> io::Result<T> {
    cores::block_on::<Remote, T>(future)
}

/// A task's result. Dropping it neither cancels the task nor blocks it.
pub struct JoinHandle<T>(Option<async_task::FallibleTask<T>>);

impl<T> Future for JoinHandle<T> {
    type Output = Option<T>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        match &mut self.0 {
            Some(task) => Pin::new(task).poll(cx),
            None => Poll::Ready(None),
        }
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.detach();
        }
    }
}

/// Starts a task on this core. It runs to completion whether or not the handle is kept.
pub fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    JoinHandle(Some(with(|core| core.spawn(future)).fallible()))
}

/// Lets other tasks run if this round has used up its time slice. Call it in every loop over ready data.
pub async fn yield_if_needed() {
    if with(Core::slice_is_over) {
        crate::io::yield_now().await;
    }
}
