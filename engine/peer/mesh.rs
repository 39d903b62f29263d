//! Questions and answers between the cores of a node.
//!
//! Each core has two mailboxes, one for questions put to it and one for answers to its own. A question takes
//! one of the `capacity` permits that its core has for the target and keeps it until the answer is back, also
//! if the asker has stopped waiting; both mailboxes hold as many messages as there are permits for them.
//!
//! Promises: nothing in flight ever waits for room, so two cores that flood each other cannot deadlock; every
//! question gets an answer or [`Gone`]; questions of one core to another arrive in order. It leaves to others
//! what is asked.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::io::{self, OneshotSender, Permit, Receiver, Semaphore, Sender, mailbox, oneshot};

/// The other core, or the one who should have answered, is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl std::fmt::Display for Gone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the other core is gone")
    }
}

impl std::error::Error for Gone {}

struct Question<Q> {
    from: usize,
    /// Place among the asker's open questions.
    slot: u32,
    question: Q,
}

struct Answer<R> {
    slot: u32,
    answer: Option<R>,
}

/// One core's end of a mesh, made before the executors start and moved to its core.
pub struct MeshSeed<Q, R> {
    core: usize,
    capacity: usize,
    to_cores: Vec<Sender<Question<Q>>>,
    answers_to: Vec<Sender<Answer<R>>>,
    questions: Receiver<Question<Q>>,
    answers: Receiver<Answer<R>>,
}

/// The ends of a mesh over `cores` cores. A core has at most `capacity` questions open at each other one.
///
/// # Panics
/// If either is 0.
pub fn mesh<Q: Send + 'static, R: Send + 'static>(cores: usize, capacity: usize) -> Vec<MeshSeed<Q, R>> {
    assert!(cores > 0 && capacity > 0);
    let room = capacity * cores.saturating_sub(1).max(1);
    let (to_cores, questions): (Vec<_>, Vec<_>) = (0..cores).map(|_| mailbox(room)).unzip();
    let (answers_to, answers): (Vec<_>, Vec<_>) = (0..cores).map(|_| mailbox(room)).unzip();
    questions
        .into_iter()
        .zip(answers)
        .enumerate()
        .map(|(core, (questions, answers))| MeshSeed {
            core,
            capacity,
            to_cores: to_cores.clone(),
            answers_to: answers_to.clone(),
            questions,
            answers,
        })
        .collect()
}

/// A question that waits for its answer.
struct Open<R> {
    /// `None` for a cast.
    asker: Option<OneshotSender<Option<R>>>,
    _permit: Permit,
}

/// The open questions of a core by slot.
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
        self.slots[slot as usize].take().unwrap_or_else(|| unreachable!("one answer for each question"))
    }
}

/// Not `FnMut`: a task that it spawns runs at once, and may put a question to this same core.
type Handler<Q, R> = Rc<dyn Fn(Q, Replier<R>)>;

struct Shared<Q, R> {
    core: usize,
    capacity: usize,
    to_cores: Vec<Sender<Question<Q>>>,
    permits: Vec<Semaphore>,
    open: Rc<RefCell<OpenTable<R>>>,
    questions_waiting: Rc<Cell<usize>>,
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
    /// Questions of other cores that waited when this core last took one.
    pub questions: usize,
    /// This core's questions without an answer yet, by target core.
    pub open: Vec<usize>,
}

impl<Q: Send + 'static, R: Send + 'static> MeshSeed<Q, R> {
    /// The core that this end is for.
    pub fn core(&self) -> usize {
        self.core
    }

    /// Starts this core's end, on its core. `handler` answers through the [`Replier`], at once or from a task;
    /// it must not block.
    pub fn start(self, handler: impl Fn(Q, Replier<R>) + 'static) -> Mesh<Q, R> {
        let handler: Handler<Q, R> = Rc::new(handler);
        let open = Rc::new(RefCell::new(OpenTable { slots: Vec::new(), free: Vec::new() }));
        let questions_waiting = Rc::new(Cell::new(0));
        let waiting = questions_waiting.clone();
        io::spawn(answer_questions(self.questions, self.answers_to, handler.clone(), waiting));
        io::spawn(take_answers(self.answers, open.clone()));
        Mesh(Rc::new(Shared {
            core: self.core,
            capacity: self.capacity,
            permits: self.to_cores.iter().map(|_| Semaphore::new(self.capacity)).collect(),
            to_cores: self.to_cores,
            open,
            questions_waiting,
            handler,
        }))
    }
}

async fn answer_questions<Q: Send, R: Send>(
    mut questions: Receiver<Question<Q>>,
    answers_to: Vec<Sender<Answer<R>>>,
    handler: Handler<Q, R>,
    waiting: Rc<Cell<usize>>,
) {
    while let Some(Question { from, slot, question }) = questions.recv().await {
        waiting.set(questions.depth());
        let to = To::Core { answers: answers_to[from].clone(), slot };
        handler(question, Replier(Some(to)));
        io::yield_if_needed().await;
    }
}

async fn take_answers<R: Send>(mut answers: Receiver<Answer<R>>, open: Rc<RefCell<OpenTable<R>>>) {
    while let Some(Answer { slot, answer }) = answers.recv().await {
        let question = open.borrow_mut().remove(slot);
        if let Some(asker) = question.asker {
            asker.send(answer);
        }
        io::yield_if_needed().await;
    }
}

enum To<R> {
    Asker(OneshotSender<Option<R>>),
    Core { answers: Sender<Answer<R>>, slot: u32 },
    Nobody,
}

/// Takes the answer to one question. Dropped without one, it tells the asker [`Gone`].
pub struct Replier<R>(Option<To<R>>);

impl<R> Replier<R> {
    /// Answers. An asker that stopped waiting is no error.
    pub fn send(mut self, answer: R) {
        self.deliver(Some(answer));
    }

    fn deliver(&mut self, answer: Option<R>) {
        match self.0.take() {
            Some(To::Asker(asker)) => asker.send(answer),
            Some(To::Core { answers, slot }) => {
                // There is room for the answer to every open question; the asking core may be gone, though.
                let _ = answers.try_send(Answer { slot, answer });
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
    /// This core.
    pub fn core(&self) -> usize {
        self.0.core
    }

    /// Number of cores.
    pub fn cores(&self) -> usize {
        self.0.to_cores.len()
    }

    /// Asks `core` and waits for its answer. A question to this core calls its handler at once.
    ///
    /// # Panics
    /// If there is no such core.
    pub async fn call(&self, core: usize, question: Q) -> Result<R, Gone> {
        let (asker, answer) = oneshot();
        self.ask(core, question, Some(asker)).await?;
        answer.await.ok().flatten().ok_or(Gone)
    }

    /// Tells `core` something and returns once it is on its way; an answer is dropped.
    ///
    /// # Panics
    /// If there is no such core.
    pub async fn cast(&self, core: usize, question: Q) -> Result<(), Gone> {
        self.ask(core, question, None).await
    }

    async fn ask(
        &self,
        core: usize,
        question: Q,
        asker: Option<OneshotSender<Option<R>>>,
    ) -> Result<(), Gone> {
        let shared = &self.0;
        if core == shared.core {
            let to = asker.map_or(To::Nobody, To::Asker);
            (shared.handler)(question, Replier(Some(to)));
            return Ok(());
        }
        let permit = shared.permits[core].acquire(1).await;
        let slot = shared.open.borrow_mut().insert(Open { asker, _permit: permit });
        let question = Question { from: shared.core, slot, question };
        if shared.to_cores[core].try_send(question).is_err() {
            // Room is certain, so its receiver is gone.
            shared.open.borrow_mut().remove(slot);
            return Err(Gone);
        }
        Ok(())
    }

    /// What waits here now.
    pub fn depths(&self) -> Depths {
        let open = self.0.permits.iter().map(|permits| self.0.capacity - permits.available()).collect();
        Depths { questions: self.0.questions_waiting.get(), open }
    }
}

#[cfg(test)]
#[path = "mesh_tests.rs"]
mod tests;
