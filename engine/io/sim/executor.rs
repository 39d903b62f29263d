//! Tasks. The seed decides which ready task runs next; each step takes a moment of virtual time.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::control;
use super::world::{self, Event, ProcessId, World, current, run_as, try_with, with};
use crate::io::{OneshotReceiver, oneshot};

/// Longest virtual time that a step takes, nanoseconds.
const STEP_NS: u64 = 2_000;
/// A woken plain thread runs within the shorter of these times, or occasionally within the longer one.
const THREAD_LAG: [Duration; 2] = [Duration::from_micros(60), Duration::from_millis(8)];

type Body = Pin<Box<dyn Future<Output = ()>>>;

struct Task {
    /// `None` while the task is being polled.
    body: Option<Body>,
    waker: Waker,
    process: ProcessId,
    core: usize,
    /// The task stands for a plain thread, which the system schedules.
    is_thread: bool,
    queued: bool,
}

/// All tasks of the world.
#[derive(Default)]
pub struct Tasks {
    all: BTreeMap<u64, Task>,
    ready: Vec<u64>,
    made: u64,
    requests_in_flight: BTreeMap<(ProcessId, usize), Rc<Cell<usize>>>,
}

thread_local! {
    /// Tasks that were woken and are not queued yet: a waker may be called while the world is borrowed.
    static WOKEN: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

struct TaskWaker(u64);

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let _ = WOKEN.try_with(|woken| woken.borrow_mut().push(self.0));
    }
}

/// The panic payload of a process that ends itself.
struct Ended;

/// Writes a line for the operator to the trace.
pub fn log_line(line: &str) {
    with(|world| world.trace(|| format!("process {}: {line}", current().0)));
}

/// Ends the current process, with a reason for its operator.
pub fn end_process(line: &str, _code: u8) -> ! {
    let (process, _) = current();
    with(|world| {
        world.trace(|| format!("process {process} ends itself: {line}"));
        if let Some(node) = world.node_of(process) {
            world.nodes[node].ended = Some(line.to_owned());
        }
    });
    resume_unwind(Box::new(Ended))
}

impl World {
    fn add_task(&mut self, process: ProcessId, core: usize, is_thread: bool, body: Body) {
        self.tasks.made += 1;
        let id = self.tasks.made;
        let waker = Waker::from(Arc::new(TaskWaker(id)));
        waker.wake_by_ref();
        self.tasks.all.insert(id, Task { body: Some(body), waker, process, core, is_thread, queued: false });
    }

    /// Queues the woken tasks.
    fn take_woken(&mut self) {
        let woken = WOKEN.with(|woken| std::mem::take(&mut *woken.borrow_mut()));
        for id in woken {
            let Some(task) = self.tasks.all.get_mut(&id) else { continue };
            if std::mem::replace(&mut task.queued, true) {
                continue;
            }
            if task.is_thread {
                let longest = THREAD_LAG[usize::from(self.random.one_in(32))];
                let lag = self.delay(Duration::ZERO, longest);
                self.after(lag, Event::Run(Box::new(move |world| world.tasks.ready.push(id))));
            } else {
                self.tasks.ready.push(id);
            }
        }
    }

    /// Runs the events that are due.
    fn run_due(&mut self) {
        while let Some(first) = self.events.first_entry()
            && first.key().0 <= self.now
        {
            match first.remove() {
                Event::Wake(waker) => waker.wake(),
                Event::Run(change) => change(self),
            }
        }
    }

    /// A task that may run now, drawn from the ready ones.
    fn pick(&mut self) -> Option<(u64, ProcessId, usize, Body, Waker)> {
        while !self.tasks.ready.is_empty() {
            let place = self.random.index(self.tasks.ready.len());
            let id = self.tasks.ready.swap_remove(place);
            let Some(task) = self.tasks.all.get(&id) else { continue };
            let (process, core) = (task.process, task.core);
            let until = self.node_of(process).map_or(0, |node| self.nodes[node].paused_until);
            if until > self.now {
                self.at(until, Event::Run(Box::new(move |world| world.tasks.ready.push(id))));
                continue;
            }
            let Some(task) = self.tasks.all.get_mut(&id) else { continue };
            task.queued = false;
            let (waker, body) = (task.waker.clone(), task.body.take());
            if let Some(body) = body {
                return Some((id, process, core, body, waker));
            }
        }
        None
    }

    /// Removes all tasks of a process and returns them.
    pub fn take_tasks(&mut self, process: ProcessId) -> Vec<(usize, Body)> {
        let gone = |_: &u64, task: &mut Task| task.process == process;
        self.tasks.requests_in_flight.retain(|(owner, _), _| *owner != process);
        self.tasks.all.extract_if(.., gone).filter_map(|(_, task)| Some((task.core, task.body?))).collect()
    }
}

/// Polls one task, or advances the time. Returns false if nothing will ever happen again.
pub fn step() -> bool {
    let picked = with(|world| {
        world.steps += 1;
        world.now += 1 + world.random.below(STEP_NS);
        loop {
            world.take_woken();
            world.run_due();
            world.take_woken();
            if let Some(picked) = world.pick() {
                world.note(picked.0);
                return Some(picked);
            }
            // Only events are left: jump to the time of the next one.
            world.now = world.events.first_key_value()?.0.0.max(world.now);
        }
    });
    let Some((id, process, core, mut body, waker)) = picked else { return false };
    let polled = run_as(process, core, || {
        catch_unwind(AssertUnwindSafe(|| body.as_mut().poll(&mut Context::from_waker(&waker))))
    });
    match polled {
        Ok(Poll::Pending) => put_back(id, process, core, body),
        Ok(Poll::Ready(())) => {
            with(|world| world.tasks.all.remove(&id));
            run_as(process, core, || drop(body));
        }
        Err(payload) => unwound(payload, process, core, body),
    }
    true
}

fn put_back(id: u64, process: ProcessId, core: usize, body: Body) {
    let mut body = Some(body);
    with(|world| {
        if let Some(task) = world.tasks.all.get_mut(&id) {
            task.body = body.take();
        }
    });
    // If the process was killed while the task ran, the body is still here.
    run_as(process, core, || drop(body));
}

fn unwound(payload: Box<dyn Any + Send>, process: ProcessId, core: usize, body: Body) {
    if !payload.is::<Ended>() {
        resume_unwind(payload);
    }
    run_as(process, core, || drop(body));
    if let Some(node) = with(|world| world.node_of(process)) {
        control::kill(node);
    }
}

/// A task's result. Dropping it neither cancels the task nor blocks it.
pub struct JoinHandle<T>(OneshotReceiver<T>);

impl<T> Future for JoinHandle<T> {
    type Output = Option<T>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        Pin::new(&mut self.0).poll(cx).map(Result::ok)
    }
}

fn spawn_on<T: 'static>(
    core: usize,
    is_thread: bool,
    future: impl Future<Output = T> + 'static,
) -> JoinHandle<T> {
    let (sender, receiver) = oneshot();
    let (process, _) = current();
    let mut body: Option<Body> = Some(Box::pin(async move { sender.send(future.await) }));
    try_with(|world| {
        if world.lives(process)
            && let Some(body) = body.take()
        {
            world.add_task(process, core, is_thread, body);
        }
    });
    // A killed process starts nothing any more.
    drop(body);
    JoinHandle(receiver)
}

/// Starts a task on this core. It runs to completion whether or not the handle is kept.
pub fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    spawn_on(current().1, false, future)
}

/// Starts a task that stands for a plain thread and runs one future to completion.
pub fn spawn_worker<F: Future<Output = ()> + 'static>(
    _name: &str,
    body: impl FnOnce() -> F + Send + 'static,
) -> io::Result<()> {
    spawn_on(usize::MAX, true, body());
    Ok(())
}

/// A point where the system may switch to another thread. Call it in workers where others may see intermediate state.
pub async fn preemption_point() {
    let pause = with(|world| {
        let longest = THREAD_LAG[usize::from(world.random.one_in(6))];
        world.random.one_in(4).then(|| world.delay(Duration::ZERO, longest))
    });
    if let Some(pause) = pause {
        super::sleep(pause).await;
    }
}

/// Fails: a simulated process has no plain threads.
pub fn spawn_thread(
    name: &str,
    _body: impl FnOnce() + Send + 'static,
) -> io::Result<std::thread::JoinHandle<()>> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        format!("thread {name}: a simulated process has no threads"),
    ))
}

/// Running executors; [`Executors::join`] waits for all of their futures.
pub struct Executors(Rc<Cell<usize>>);

impl Executors {
    /// Waits until every core's future has ended.
    pub fn join(self) -> io::Result<()> {
        while self.0.get() > 0 {
            if !step() {
                return Err(io::Error::other("the cores wait for something that never happens"));
            }
        }
        Ok(())
    }

    /// Whether a core's future is still running.
    pub fn is_running(&self) -> bool {
        self.0.get() > 0
    }
}

/// Starts `cores` executors in this process. Each runs the future that `main(core)` builds on it.
pub fn run_executors<G, F>(cores: usize, main: G) -> io::Result<Executors>
where
    G: Fn(usize) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    let left = Rc::new(Cell::new(cores));
    for core in 0..cores {
        let (main, left) = (main.clone(), left.clone());
        spawn_on(core, false, async move {
            main(core).await;
            left.set(left.get() - 1);
        });
    }
    Ok(Executors(left))
}

struct MainWaker(AtomicBool);

impl Wake for MainWaker {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs one future to completion as a process of a small world without faults. For tests.
pub fn block_on<T>(future: impl Future<Output = T>) -> io::Result<T> {
    let before = world::replace(Some(World::new(1)));
    let node = control::add_node(1 << 40);
    let process = control::start(node, || current().0);
    let main = Arc::new(MainWaker(AtomicBool::new(true)));
    let waker = Waker::from(main.clone());
    let mut future = Box::pin(future);
    let value = loop {
        if main.0.swap(false, Ordering::Relaxed)
            && let Poll::Ready(value) =
                run_as(process, 0, || future.as_mut().poll(&mut Context::from_waker(&waker)))
        {
            break Ok(value);
        }
        if !step() {
            break Err(io::Error::other("the future waits for something that never happens"));
        }
    };
    run_as(process, 0, || drop(future));
    control::kill(node);
    drop(world::replace(before));
    value
}

/// Steps until a task has ended, for at most `steps` steps.
pub fn drive<T>(handle: JoinHandle<T>, steps: u64) -> Result<T, &'static str> {
    let mut handle = std::pin::pin!(handle);
    let mut cx = Context::from_waker(Waker::noop());
    let end = with(|world| world.steps).saturating_add(steps);
    loop {
        if let Poll::Ready(value) = handle.as_mut().poll(&mut cx) {
            return value.ok_or("the task was cut off");
        }
        if !step() {
            return Err("everything waits for something that never happens");
        }
        if with(|world| world.steps) > end {
            return Err("the run goes on forever");
        }
    }
}

/// Lets other tasks run from time to time, like a core whose time slice may be over.
pub async fn yield_if_needed() {
    if with(|world| world.random.one_in(8)) {
        crate::io::yield_now().await;
    }
}

/// A request in flight on this core. It ends on drop.
pub struct RequestInFlight(Rc<Cell<usize>>);

fn requests() -> Rc<Cell<usize>> {
    with(|world| world.tasks.requests_in_flight.entry(current()).or_default().clone())
}

/// Counts a request that begins.
pub fn begin_request() -> RequestInFlight {
    let requests = requests();
    requests.set(requests.get() + 1);
    RequestInFlight(requests)
}

/// Number of requests in flight on this core.
pub fn requests_in_flight() -> usize {
    requests().get()
}

impl Drop for RequestInFlight {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
