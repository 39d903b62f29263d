//! Timeouts of connections, without a timer per read.
//!
//! Each connection has a slot with the instant at which it times out. One task per core checks all slots every second
//! and wakes the expired ones, so a request pays for two stores and no timer. A connection that was late may continue
//! with a new deadline, so that the client can still be told about the timeout.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use engine::io::{self as eio, Instant};

use super::spread::Seat;

/// How often deadlines are checked: a timeout is late by at most this much.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Whether a connection's time is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expiry {
    /// It has time left.
    Not,
    /// It waited too long.
    Late,
    /// The node is stopping.
    Stopped,
}

/// The deadline of one connection.
pub(crate) struct Slot {
    deadline: Cell<Instant>,
    expiry: Cell<Expiry>,
    idle: Cell<bool>,
    /// It was idle at the last check, too.
    was_idle: Cell<bool>,
    seat: Seat,
    waker: RefCell<Option<Waker>>,
}

impl Slot {
    /// Moves the deadline to `after` from now.
    pub(crate) fn extend(&self, after: Duration) {
        self.deadline.set(eio::now() + after);
        if self.expiry.get() == Expiry::Late {
            self.expiry.set(Expiry::Not);
        }
    }

    /// Sets whether the connection is waiting between two requests.
    pub(crate) fn set_idle(&self, idle: bool) {
        self.idle.set(idle);
        if !idle {
            self.was_idle.set(false);
            self.seat.set_active(true);
        }
    }

    /// Expires the connection if its deadline has passed, and marks it inactive if it is idle for the second check in a
    /// row.
    fn check(&self, now: Instant) {
        if self.deadline.get() <= now && self.waker.borrow().is_some() {
            self.expire(Expiry::Late);
        }
        if self.idle.get() && self.was_idle.replace(true) {
            self.seat.set_active(false);
        }
    }

    fn expire(&self, expiry: Expiry) {
        self.expiry.set(expiry);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Polls `io` until it is ready or the deadline has passed.
    pub(crate) async fn guard<T>(
        &self,
        mut io: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> io::Result<T> {
        poll_fn(|cx| {
            if self.expiry.get() != Expiry::Not {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            let result = io(cx);
            // Only a connection that is waiting can be late: a handler may take its time.
            *self.waker.borrow_mut() = result.is_pending().then(|| cx.waker().clone());
            result
        })
        .await
    }
}

/// All connections of a core.
#[derive(Clone, Default)]
pub(crate) struct Deadlines(Rc<RefCell<Vec<Weak<Slot>>>>);

impl Deadlines {
    /// Creates the slot of a new connection.
    pub(crate) fn register(&self, after: Duration, seat: Seat) -> Rc<Slot> {
        let slot = Rc::new(Slot {
            deadline: Cell::new(eio::now() + after),
            expiry: Cell::new(Expiry::Not),
            idle: Cell::new(false),
            was_idle: Cell::new(false),
            seat,
            waker: RefCell::new(None),
        });
        self.0.borrow_mut().push(Rc::downgrade(&slot));
        slot
    }

    /// Starts the task that wakes expired connections.
    pub(crate) fn start(&self) {
        let slots = Rc::downgrade(&self.0);
        eio::spawn(async move {
            loop {
                eio::sleep(SWEEP_INTERVAL).await;
                let Some(slots) = slots.upgrade() else { return };
                let now = eio::now();
                slots.borrow_mut().retain(|slot| match slot.upgrade() {
                    None => false,
                    Some(slot) => {
                        slot.check(now);
                        true
                    }
                });
            }
        });
    }

    /// Expires the connections that are waiting between two requests.
    pub(crate) fn expire_idle(&self) {
        for slot in self.0.borrow().iter().filter_map(Weak::upgrade).filter(|slot| slot.idle.get()) {
            slot.expire(Expiry::Late);
        }
    }

    /// Expires every connection: the node is stopping.
    pub(crate) fn expire_all(&self) {
        for slot in self.0.borrow().iter().filter_map(Weak::upgrade) {
            slot.expire(Expiry::Stopped);
        }
    }
}
