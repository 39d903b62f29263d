//! A channel within one core that holds the latest value. tokio's wakes its receivers in an order that the system
//! seeds, so a run can't be repeated; this one wakes them in the order in which they began to wait.

use std::cell::{Cell, Ref, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

struct Shared<T> {
    value: RefCell<T>,
    /// How often the value was set.
    version: Cell<u64>,
    senders: Cell<usize>,
    receivers: Cell<usize>,
    waiting: RefCell<Vec<Waker>>,
}

impl<T> Shared<T> {
    fn wake(&self) {
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// Sets the value.
pub struct Sender<T>(Rc<Shared<T>>);

/// Sees the value.
pub struct Receiver<T> {
    shared: Rc<Shared<T>>,
    seen: u64,
}

/// A channel that holds `initial`, which its receiver has seen.
pub fn channel<T>(initial: T) -> (Sender<T>, Receiver<T>) {
    let shared = Rc::new(Shared {
        value: RefCell::new(initial),
        version: Cell::new(0),
        senders: Cell::new(1),
        receivers: Cell::new(1),
        waiting: RefCell::default(),
    });
    (Sender(shared.clone()), Receiver { shared, seen: 0 })
}

impl<T> Sender<T> {
    /// Sets the value; gives it back if there is no receiver.
    pub fn send(&self, value: T) -> Result<(), T> {
        if self.0.receivers.get() == 0 {
            return Err(value);
        }
        let before = self.0.value.replace(value);
        self.changed();
        drop(before);
        Ok(())
    }

    /// Lets `modify` change the value and say whether it did.
    pub fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        let modified = modify(&mut self.0.value.borrow_mut());
        if modified {
            self.changed();
        }
        modified
    }

    fn changed(&self) {
        self.0.version.set(self.0.version.get() + 1);
        self.0.wake();
    }

    /// The value.
    pub fn borrow(&self) -> Ref<'_, T> {
        self.0.value.borrow()
    }

    /// A receiver that has seen the value.
    pub fn subscribe(&self) -> Receiver<T> {
        self.0.receivers.set(self.0.receivers.get() + 1);
        Receiver { shared: self.0.clone(), seen: self.0.version.get() }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.senders.set(self.0.senders.get() + 1);
        Sender(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.senders.set(self.0.senders.get() - 1);
        if self.0.senders.get() == 0 {
            self.0.wake();
        }
    }
}

impl<T> Receiver<T> {
    /// Waits for a value that was not seen yet, and marks it as seen; false once every sender is gone.
    pub async fn changed(&mut self) -> bool {
        poll_fn(|cx| {
            let version = self.shared.version.get();
            if version != self.seen {
                self.seen = version;
                return Poll::Ready(true);
            }
            if self.shared.senders.get() == 0 {
                return Poll::Ready(false);
            }
            let mut waiting = self.shared.waiting.borrow_mut();
            if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// The value.
    pub fn borrow(&self) -> Ref<'_, T> {
        self.shared.value.borrow()
    }

    /// The value, marked as seen.
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        self.seen = self.shared.version.get();
        self.shared.value.borrow()
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.shared.receivers.set(self.shared.receivers.get() + 1);
        Receiver { shared: self.shared.clone(), seen: self.seen }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.receivers.set(self.shared.receivers.get() - 1);
    }
}
