//! Bounded mailboxes between cores (and between a core and a plain thread).
//!
//! Many senders, one receiver. A full mailbox makes the sender wait: back-pressure, never a drop. A wake-up costs
//! something only when the receiver sleeps, so under load a message costs a push and a pop.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use crossbeam::queue::ArrayQueue;

struct Shared<T> {
    queue: ArrayQueue<T>,
    receiver: Mutex<Option<Waker>>,
    receiver_sleeps: AtomicBool,
    receiver_gone: AtomicBool,
    senders: AtomicUsize,
    blocked: Mutex<VecDeque<Waker>>,
    blocked_count: AtomicUsize,
}

/// The sending half of a mailbox; cloned freely, usable from any thread.
pub struct Sender<T>(Arc<Shared<T>>);

/// The receiving half of a mailbox.
pub struct Receiver<T>(Arc<Shared<T>>);

/// The receiver is gone. The message is returned.
#[derive(Debug)]
pub struct SendError<T>(pub T);

/// A mailbox that holds at most `capacity` messages.
pub fn mailbox<T: Send>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        queue: ArrayQueue::new(capacity),
        receiver: Mutex::new(None),
        receiver_sleeps: AtomicBool::new(false),
        receiver_gone: AtomicBool::new(false),
        senders: AtomicUsize::new(1),
        blocked: Mutex::new(VecDeque::new()),
        blocked_count: AtomicUsize::new(0),
    });
    (Sender(shared.clone()), Receiver(shared))
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl<T> Shared<T> {
    fn wake_receiver(&self) {
        // Pairs with the fence in poll_recv: either we see that the receiver sleeps, or it sees our message.
        std::sync::atomic::fence(Ordering::SeqCst);
        if self.receiver_sleeps.swap(false, Ordering::SeqCst) {
            let waker = locked(&self.receiver).take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    fn wake_blocked(&self) {
        if self.blocked_count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let wakers = {
            let mut blocked = locked(&self.blocked);
            self.blocked_count.store(0, Ordering::SeqCst);
            std::mem::take(&mut *blocked)
        };
        for waker in wakers {
            waker.wake();
        }
    }
}

impl<T> Sender<T> {
    /// Sends at once, or returns the message if the mailbox is full or its receiver is gone.
    pub fn try_send(&self, message: T) -> Result<(), T> {
        if self.0.receiver_gone.load(Ordering::Acquire) {
            return Err(message);
        }
        self.0.queue.push(message)?;
        self.0.wake_receiver();
        Ok(())
    }

    /// Sends, and waits for room if the mailbox is full.
    pub async fn send(&self, message: T) -> Result<(), SendError<T>> {
        let mut held = Some(message);
        poll_fn(|cx| self.poll_send(cx, &mut held)).await
    }

    fn poll_send(&self, cx: &mut Context<'_>, held: &mut Option<T>) -> Poll<Result<(), SendError<T>>> {
        for registered in [false, true] {
            let Some(message) = held.take() else { return Poll::Ready(Ok(())) };
            if self.0.receiver_gone.load(Ordering::Acquire) {
                return Poll::Ready(Err(SendError(message)));
            }
            match self.try_send(message) {
                Ok(()) => return Poll::Ready(Ok(())),
                Err(message) => *held = Some(message),
            }
            if !registered {
                let mut blocked = locked(&self.0.blocked);
                blocked.push_back(cx.waker().clone());
                self.0.blocked_count.store(blocked.len(), Ordering::SeqCst);
            }
        }
        Poll::Pending
    }

    /// Messages waiting now.
    pub fn depth(&self) -> usize {
        self.0.queue.len()
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.senders.fetch_add(1, Ordering::Relaxed);
        Sender(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.0.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.wake_receiver();
        }
    }
}

impl<T> Receiver<T> {
    /// The next message, if there is one.
    pub fn try_recv(&mut self) -> Option<T> {
        let message = self.0.queue.pop();
        if message.is_some() {
            self.0.wake_blocked();
        }
        message
    }

    /// The next message; `None` once every sender is gone and the mailbox is empty.
    pub async fn recv(&mut self) -> Option<T> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        if let Some(message) = self.try_recv() {
            return Poll::Ready(Some(message));
        }
        *locked(&self.0.receiver) = Some(cx.waker().clone());
        self.0.receiver_sleeps.store(true, Ordering::SeqCst);
        std::sync::atomic::fence(Ordering::SeqCst);
        if let Some(message) = self.try_recv() {
            self.0.receiver_sleeps.store(false, Ordering::SeqCst);
            return Poll::Ready(Some(message));
        }
        if self.0.senders.load(Ordering::Acquire) == 0 {
            return Poll::Ready(None);
        }
        Poll::Pending
    }

    /// Messages waiting now.
    pub fn depth(&self) -> usize {
        self.0.queue.len()
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.receiver_gone.store(true, Ordering::Release);
        while self.0.queue.pop().is_some() {}
        self.0.wake_blocked();
    }
}
