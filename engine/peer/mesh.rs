//! Requests and replies between the cores of a node.
//!
//! Each core has two mailboxes, one for the requests sent to it and one for the replies to its own. A request takes one
//! of the `capacity` permits that its core has for the target and keeps it until the reply has arrived, even if the
//! caller has stopped waiting. Both mailboxes hold as many messages as there are permits for them.
//!
//! Promises: nothing in flight ever waits for room, so two cores that flood each other cannot deadlock; every request
//! gets a reply or [`Disconnected`]; requests from one core to another arrive in order. Left to others: what is
//! requested.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::io::{self, OneshotSender, Permit, Receiver, Semaphore, Sender, mailbox, oneshot};

/// The other core, or the task that should have replied, is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnected;

impl std::fmt::Display for Disconnected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the other core is gone")
    }
}

impl std::error::Error for Disconnected {}

struct Call<Q> {
    from: usize,
    /// Slot in the caller's table of open requests.
    slot: u32,
    request: Q,
}

struct Reply<R> {
    slot: u32,
    reply: Option<R>,
}

/// One core's end of a mesh. It is made before the executors start and then moved to its core.
pub struct MeshSeed<Q, R> {
    core: usize,
    capacity: usize,
    to_cores: Vec<Sender<Call<Q>>>,
    replies_to: Vec<Sender<Reply<R>>>,
    calls: Receiver<Call<Q>>,
    replies: Receiver<Reply<R>>,
}

/// The ends of a mesh of `cores` cores. A core has at most `capacity` requests open at each other core.
///
/// # Panics
/// If either is 0.
pub fn mesh<Q: Send + 'static, R: Send + 'static>(cores: usize, capacity: usize) -> Vec<MeshSeed<Q, R>> {
    assert!(cores > 0 && capacity > 0);
    let room = capacity * cores.saturating_sub(1).max(1);
    let (to_cores, calls): (Vec<_>, Vec<_>) = (0..cores).map(|_| mailbox(room)).unzip();
    let (replies_to, replies): (Vec<_>, Vec<_>) = (0..cores).map(|_| mailbox(room)).unzip();
    calls
        .into_iter()
        .zip(replies)
        .enumerate()
        .map(|(core, (calls, replies))| MeshSeed {
            core,
            capacity,
            to_cores: to_cores.clone(),
            replies_to: replies_to.clone(),
            calls,
            replies,
        })
        .collect()
}

/// A request that waits for its reply.
struct Open<R> {
    /// The waiting caller; `None` for a cast.
    caller: Option<OneshotSender<Option<R>>>,
    _permit: Permit,
}

/// The open requests of a core by slot.
struct OpenTable<R> {
    slots: Vec<Option<Open<R>>>,
    free: Vec<u32>,
}

impl<R> OpenTable<R> {
    fn insert(&mut self, open: Open<R>) -> u32 {
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Some(open);
            return slot;
        }
        self.slots.push(Some(open));
        self.slots.len() as u32 - 1
    }

    fn remove(&mut self, slot: u32) -> Open<R> {
        self.free.push(slot);
        self.slots[slot as usize].take().unwrap_or_else(|| unreachable!("one reply for each request"))
    }
}

/// Not `FnMut`: a task that it spawns runs at once, and may send a request to this same core.
type Handler<Q, R> = Rc<dyn Fn(Q, Replier<R>)>;

struct Shared<Q, R> {
    core: usize,
    capacity: usize,
    to_cores: Vec<Sender<Call<Q>>>,
    permits: Vec<Semaphore>,
    open: Rc<RefCell<OpenTable<R>>>,
    calls_waiting: Rc<Cell<usize>>,
    handler: Handler<Q, R>,
}

/// A running core's end of a mesh.
pub struct Mesh<Q, R>(Rc<Shared<Q, R>>);

impl<Q, R> Clone for Mesh<Q, R> {
    fn clone(&self) -> Self {
        Mesh(self.0.clone())
    }
}

/// What waits at one core.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Depths {
    /// Requests of other cores that waited when this core last took one.
    pub requests: usize,
    /// This core's requests without a reply yet, by target core.
    pub open: Vec<usize>,
}

impl<Q: Send + 'static, R: Send + 'static> MeshSeed<Q, R> {
    /// The core that this end is for.
    pub fn core(&self) -> usize {
        self.core
    }

    /// Starts this core's end, on its core. `handler` replies through the [`Replier`], at once or from a task. It must
    /// not block.
    pub fn start(self, handler: impl Fn(Q, Replier<R>) + 'static) -> Mesh<Q, R> {
        let handler: Handler<Q, R> = Rc::new(handler);
        let open = Rc::new(RefCell::new(OpenTable { slots: Vec::new(), free: Vec::new() }));
        let calls_waiting = Rc::new(Cell::new(0));
        let waiting = calls_waiting.clone();
        io::spawn(serve_calls(self.calls, self.replies_to, handler.clone(), waiting));
        io::spawn(take_replies(self.replies, open.clone()));
        Mesh(Rc::new(Shared {
            core: self.core,
            capacity: self.capacity,
            permits: self.to_cores.iter().map(|_| Semaphore::new(self.capacity)).collect(),
            to_cores: self.to_cores,
            open,
            calls_waiting,
            handler,
        }))
    }
}

async fn serve_calls<Q: Send, R: Send>(
    mut calls: Receiver<Call<Q>>,
    replies_to: Vec<Sender<Reply<R>>>,
    handler: Handler<Q, R>,
    waiting: Rc<Cell<usize>>,
) {
    while let Some(Call { from, slot, request }) = calls.recv().await {
        waiting.set(calls.depth());
        let to = To::Core { replies: replies_to[from].clone(), slot };
        handler(request, Replier(Some(to)));
        io::yield_if_needed().await;
    }
}

async fn take_replies<R: Send>(mut replies: Receiver<Reply<R>>, open: Rc<RefCell<OpenTable<R>>>) {
    while let Some(Reply { slot, reply }) = replies.recv().await {
        let request = open.borrow_mut().remove(slot);
        if let Some(caller) = request.caller {
            caller.send(reply);
        }
        io::yield_if_needed().await;
    }
}

enum To<R> {
    Caller(OneshotSender<Option<R>>),
    Core { replies: Sender<Reply<R>>, slot: u32 },
    Nobody,
}

/// Takes the reply to one request. If it is dropped without one, the caller gets [`Disconnected`].
pub struct Replier<R>(Option<To<R>>);

impl<R> Replier<R> {
    /// Replies. A caller that has stopped waiting is not an error.
    pub fn send(mut self, reply: R) {
        self.deliver(Some(reply));
    }

    fn deliver(&mut self, reply: Option<R>) {
        match self.0.take() {
            Some(To::Caller(caller)) => caller.send(reply),
            Some(To::Core { replies, slot }) => {
                // There is room for the reply to every open request; the calling core may be gone, though.
                let _ = replies.try_send(Reply { slot, reply });
            }
            Some(To::Nobody) | None => {}
        }
    }
}

impl<R> Drop for Replier<R> {
    fn drop(&mut self) {
        self.deliver(None);
    }
}

impl<Q: Send + 'static, R: Send + 'static> Mesh<Q, R> {
    /// The number of this core.
    pub fn core(&self) -> usize {
        self.0.core
    }

    /// Number of cores.
    pub fn cores(&self) -> usize {
        self.0.to_cores.len()
    }

    /// Sends a request to `core` and waits for its reply. A request to this core calls its handler at once.
    ///
    /// # Panics
    /// If there is no such core.
    pub async fn call(&self, core: usize, request: Q) -> Result<R, Disconnected> {
        let (caller, reply) = oneshot();
        self.send(core, request, Some(caller)).await?;
        reply.await.ok().flatten().ok_or(Disconnected)
    }

    /// Sends a request to `core` and returns once it is on its way. A reply is dropped.
    ///
    /// # Panics
    /// If there is no such core.
    pub async fn cast(&self, core: usize, request: Q) -> Result<(), Disconnected> {
        self.send(core, request, None).await
    }

    async fn send(
        &self,
        core: usize,
        request: Q,
        caller: Option<OneshotSender<Option<R>>>,
    ) -> Result<(), Disconnected> {
        let shared = &self.0;
        if core == shared.core {
            let to = caller.map_or(To::Nobody, To::Caller);
            (shared.handler)(request, Replier(Some(to)));
            return Ok(());
        }
        let permit = shared.permits[core].acquire(1).await;
        let slot = shared.open.borrow_mut().insert(Open { caller, _permit: permit });
        let call = Call { from: shared.core, slot, request };
        if shared.to_cores[core].try_send(call).is_err() {
            // There is certainly room, so the receiver is gone.
            shared.open.borrow_mut().remove(slot);
            return Err(Disconnected);
        }
        Ok(())
    }

    /// What waits here now.
    pub fn depths(&self) -> Depths {
        let open = self.0.permits.iter().map(|permits| self.0.capacity - permits.available()).collect();
        Depths { requests: self.0.calls_waiting.get(), open }
    }
}

#[cfg(test)]
#[path = "mesh_tests.rs"]
mod tests;
