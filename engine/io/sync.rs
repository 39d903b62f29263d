//! Waiting within one core: a oneshot, an event, a counting semaphore. None of them is `Send`. Waiters are served first
//! come, first served, so a run is repeatable.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Lets every other ready task run once.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

struct Slot<T> {
    value: RefCell<Option<T>>,
    waker: RefCell<Option<Waker>>,
    sender_gone: Cell<bool>,
}

/// The sending half of [`oneshot`].
pub struct OneshotSender<T>(Rc<Slot<T>>);

/// The receiving half of [`oneshot`]: a future that yields the value.
pub struct OneshotReceiver<T>(Rc<Slot<T>>);

/// The sender was dropped without sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canceled;

/// A channel for one value between two tasks of one core.
pub fn oneshot<T>() -> (OneshotSender<T>, OneshotReceiver<T>) {
    let slot =
        Rc::new(Slot { value: RefCell::new(None), waker: RefCell::new(None), sender_gone: Cell::new(false) });
    (OneshotSender(slot.clone()), OneshotReceiver(slot))
}

impl<T> OneshotSender<T> {
    /// Sends the value. A receiver that is gone is not an error: the value is dropped.
    pub fn send(self, value: T) {
        *self.0.value.borrow_mut() = Some(value);
    }
}

impl<T> Drop for OneshotSender<T> {
    fn drop(&mut self) {
        self.0.sender_gone.set(true);
        let waker = self.0.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for OneshotReceiver<T> {
    type Output = Result<T, Canceled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(value) = self.0.value.borrow_mut().take() {
            return Poll::Ready(Ok(value));
        }
        if self.0.sender_gone.get() {
            return Poll::Ready(Err(Canceled));
        }
        *self.0.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// Wakes all tasks that wait on it. One notification is remembered while there is no waiter.
#[derive(Default)]
pub struct Event {
    set: Cell<bool>,
    waiters: RefCell<Vec<Waker>>,
}

impl Event {
    /// An event that has not happened.
    pub fn new() -> Event {
        Event::default()
    }

    /// Marks the event and wakes every waiter.
    pub fn notify(&self) {
        self.set.set(true);
        let waiters = std::mem::take(&mut *self.waiters.borrow_mut());
        for waker in waiters {
            waker.wake();
        }
    }

    /// Waits for a notification and consumes it. If there are several waiters, one consumes it and the others keep
    /// waiting.
    pub async fn wait(&self) {
        std::future::poll_fn(|cx| {
            if self.set.replace(false) {
                return Poll::Ready(());
            }
            let mut waiters = self.waiters.borrow_mut();
            if !waiters.iter().any(|waker| waker.will_wake(cx.waker())) {
                waiters.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

struct SemaphoreState {
    free: Cell<usize>,
    waiters: RefCell<VecDeque<Rc<Waiter>>>,
}

struct Waiter {
    wanted: usize,
    granted: Cell<bool>,
    gone: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// A counting semaphore of one core. Waiters are served first come, first served.
#[derive(Clone)]
pub struct Semaphore(Rc<SemaphoreState>);

/// Units acquired from a [`Semaphore`]. They return on drop.
pub struct Permit {
    semaphore: Semaphore,
    units: usize,
}

impl Semaphore {
    /// A semaphore with `units` free.
    pub fn new(units: usize) -> Semaphore {
        Semaphore(Rc::new(SemaphoreState { free: Cell::new(units), waiters: RefCell::default() }))
    }

    /// Units that nobody holds.
    pub fn available(&self) -> usize {
        self.0.free.get()
    }

    /// Acquires `units` at once if they are free and nobody is waiting.
    pub fn try_acquire(&self, units: usize) -> Option<Permit> {
        if !self.0.waiters.borrow().is_empty() || self.0.free.get() < units {
            return None;
        }
        self.0.free.set(self.0.free.get() - units);
        Some(Permit { semaphore: self.clone(), units })
    }

    /// Acquires `units`, and waits until they are free.
    pub async fn acquire(&self, units: usize) -> Permit {
        if let Some(permit) = self.try_acquire(units) {
            return permit;
        }
        let waiter = Rc::new(Waiter {
            wanted: units,
            granted: Cell::new(false),
            gone: Cell::new(false),
            waker: RefCell::new(None),
        });
        self.0.waiters.borrow_mut().push_back(waiter.clone());
        let turn = Turn { semaphore: self.clone(), waiter };
        std::future::poll_fn(|cx| {
            if turn.waiter.granted.get() {
                return Poll::Ready(());
            }
            *turn.waiter.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
        turn.waiter.granted.set(false);
        Permit { semaphore: self.clone(), units }
    }

    fn release(&self, units: usize) {
        self.0.free.set(self.0.free.get() + units);
        self.grant();
    }

    fn grant(&self) {
        loop {
            let next = {
                let mut waiters = self.0.waiters.borrow_mut();
                match waiters.front() {
                    Some(waiter) if waiter.gone.get() || waiter.wanted <= self.0.free.get() => {
                        waiters.pop_front()
                    }
                    _ => None,
                }
            };
            let Some(waiter) = next else { return };
            if waiter.gone.get() {
                continue;
            }
            self.0.free.set(self.0.free.get() - waiter.wanted);
            waiter.granted.set(true);
            if let Some(waker) = waiter.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }
}

/// A place in the queue. Leaving it early gives back what was granted in the meantime.
struct Turn {
    semaphore: Semaphore,
    waiter: Rc<Waiter>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.waiter.gone.set(true);
        if self.waiter.granted.replace(false) {
            self.semaphore.release(self.waiter.wanted);
        } else {
            self.semaphore.grant();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.semaphore.release(self.units);
    }
}
