//! The memory budget of one core's requests, whatever is connected, and the disk space that they reserve.
//!
//! Every connection has a [`Holder`]. It acquires memory before it needs it, for a body, an incomplete head or a long
//! response, and waits for it for at most [`BUDGET_WAIT`]. While it waits for its client it says so
//! ([`Holder::poll_demand`]). When memory runs short, the holders that have waited longest are asked to give back what
//! they can do without ([`Demand::Shrink`]), and if that is not enough, to end ([`Demand::End`]). Holders with more
//! than a fair share are asked first.
//!
//! Disk space that is reserved for a body and not yet written has a budget too. It is acquired at once or not at all,
//! and while it is short, the holders that have waited longest for their clients are asked to end.
//!
//! Promises: the limits of [`crate::limits`] hold at all times; nobody waits forever; small bodies have a reserve. Left
//! to others: how a request shrinks, and what its client is sent.

mod ledger;

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

pub use ledger::{Account, Class};

use crate::error::{Error, Result};
use crate::io::{self, Instant, OneshotSender, oneshot};
use crate::limits::{
    AMPLE_BODY_BYTES, BLOCK_BYTES, BODY_BUDGET_BYTES, BUDGET_WAIT, END_AFTER_STALL, INPUT_BUDGET_BYTES,
    SHRINK_AFTER_STALL, SMALL_SPACE_BYTES, SMALL_SPACE_RESERVE_BYTES, SPACE_BUDGET_BYTES,
};
use ledger::Ledger;

/// How often memory is collected while it is short.
const COLLECT_EVERY: Duration = Duration::from_millis(50);

/// Bytes that a client has to move to count as making progress.
const PROGRESS_BYTES: usize = BLOCK_BYTES;

/// What a holder that waits for its client is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Give back what it can read or receive again.
    Shrink,
    /// End, and give everything back.
    End,
}

/// How often memory, or disk space to reserve, was short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shortages {
    /// Requests that were refused: they waited too long for memory, or no space was left to reserve.
    pub refused: u64,
    /// Requests that were asked to shrink.
    pub shrunk: u64,
    /// Requests and incomplete heads that were ended because their clients were slow.
    pub ended: u64,
}

/// A request that waits for memory.
struct Waiter {
    held: Held,
    sender: OneshotSender<Held>,
}

#[derive(Default)]
struct Inner {
    ledger: RefCell<Ledger>,
    waiters: RefCell<BTreeMap<u64, Waiter>>,
    holders: RefCell<Vec<Weak<Holder>>>,
    collecting: Cell<bool>,
    shortages: Cell<Shortages>,
    /// What may be reserved in all before the disk is crowded, bytes, as of the last reservation.
    disk_limit: Cell<usize>,
}

/// The memory budget of one core. Cheap to clone.
#[derive(Clone, Default)]
pub struct Budget(Rc<Inner>);

/// A connection or another user of memory.
pub struct Holder {
    budget: Budget,
    account: Cell<Account>,
    input: Cell<usize>,
    bodies: Cell<usize>,
    space: Cell<usize>,
    /// Since when it has waited for its client; `None` while it does not wait.
    waits_since: Cell<Option<Instant>>,
    /// How long it waited before that, while its client moved `progress` bytes: too few to count as progress.
    waited: Cell<Duration>,
    progress: Cell<usize>,
    /// Whether it shrank since its client last made progress.
    shrunk: Cell<bool>,
    demand: Cell<Option<Demand>>,
    waker: RefCell<Option<Waker>>,
}

/// Acquired memory. It is released on drop.
pub struct Held {
    holder: Rc<Holder>,
    account: Account,
    class: Class,
    bytes: usize,
    /// False while it waits to be served.
    booked: bool,
}

impl Budget {
    /// A budget with nothing held.
    pub fn new() -> Budget {
        Budget::default()
    }

    /// A new holder without an account.
    pub fn holder(&self) -> Rc<Holder> {
        let holder = Rc::new(Holder {
            budget: self.clone(),
            account: Cell::default(),
            input: Cell::new(0),
            bodies: Cell::new(0),
            space: Cell::new(0),
            waits_since: Cell::new(None),
            waited: Cell::default(),
            progress: Cell::new(0),
            shrunk: Cell::new(false),
            demand: Cell::new(None),
            waker: RefCell::new(None),
        });
        let mut holders = self.0.holders.borrow_mut();
        if holders.len() == holders.capacity() {
            holders.retain(|holder| holder.strong_count() > 0);
            let alive = holders.len();
            holders.reserve(alive);
        }
        holders.push(Rc::downgrade(&holder));
        holder
    }

    /// Bytes held of a class.
    pub fn held(&self, class: Class) -> usize {
        self.0.ledger.borrow().held(class)
    }

    /// Bytes of the body budget that are free.
    pub fn free(&self) -> usize {
        self.0.ledger.borrow().free(Class::Small)
    }

    /// How often memory was short.
    pub fn shortages(&self) -> Shortages {
        self.0.shortages.get()
    }

    fn note(&self, note: impl FnOnce(&mut Shortages)) {
        let mut shortages = self.0.shortages.get();
        note(&mut shortages);
        self.0.shortages.set(shortages);
    }

    /// Hands out freed memory to the waiters in turn.
    fn serve(&self) {
        loop {
            let Some(ticket) = self.0.ledger.borrow_mut().next() else { return };
            let waiter = self.0.waiters.borrow_mut().remove(&ticket);
            let Waiter { mut held, sender } =
                waiter.unwrap_or_else(|| unreachable!("a ticket has its waiter"));
            held.book();
            sender.send(held);
        }
    }

    fn is_short(&self) -> bool {
        let ledger = self.0.ledger.borrow();
        ledger.free(Class::Small) < AMPLE_BODY_BYTES
            || ledger.free(Class::Input) < INPUT_BUDGET_BYTES / 4
            || ledger.waiting(Class::Small) + ledger.waiting(Class::Large) > 0
            || ledger.held(Class::Space) > self.ample_space()
    }

    /// The reserved space up to which nobody is asked to end: half of the budget, or of what the disk can take.
    fn ample_space(&self) -> usize {
        SPACE_BUDGET_BYTES.min(self.0.disk_limit.get()) / 2
    }

    /// Starts collecting memory, if it is short and nobody collects yet.
    fn collect_if_short(&self) {
        if !self.is_short() || self.0.collecting.replace(true) {
            return;
        }
        let inner = Rc::downgrade(&self.0);
        io::spawn(async move {
            while let Some(budget) = inner.upgrade().map(Budget) {
                if !budget.is_short() {
                    return budget.0.collecting.set(false);
                }
                budget.collect(io::now());
                drop(budget);
                io::sleep(COLLECT_EVERY).await;
            }
        });
    }

    /// Asks the holders that have waited longest for their clients: to shrink while less than three quarters of the
    /// memory for bodies are free, to end while less than a quarter is. Holders with less than a fair share are asked last.
    fn collect(&self, now: Instant) {
        let (free, waiting, free_input, share, space, ample_space) = {
            let ledger = self.0.ledger.borrow();
            let waiting = ledger.waiting(Class::Small) + ledger.waiting(Class::Large);
            let (free, free_input) = (ledger.free(Class::Small), ledger.free(Class::Input));
            let (space, ample_space) = (ledger.held(Class::Space), self.ample_space());
            (free, waiting, free_input, ledger.fair_share(), space, ample_space)
        };
        let mut stalled: Vec<_> = {
            let holders = self.0.holders.borrow();
            let stalled = holders.iter().filter_map(Weak::upgrade).filter(|holder| {
                let held = holder.bodies.get() + holder.input.get() + holder.space.get();
                holder.demand.get().is_none() && held > 0
            });
            let ledger = self.0.ledger.borrow();
            let with_age = stalled.filter_map(|holder| {
                let modest = ledger.held_by(holder.account.get()) < share;
                Some((modest, holder.stall(now)?, holder))
            });
            with_age.collect()
        };
        stalled.sort_by_key(|(modest, stall, _)| (*modest, Reverse(*stall)));
        let ask =
            |demand: Demand, what: fn(&Holder) -> usize, wanted: usize, free: usize, after: Duration| {
                let mut missing = wanted.saturating_sub(free);
                for (_, stall, holder) in &stalled {
                    if missing == 0 {
                        break;
                    }
                    let ready = demand == Demand::End || !holder.shrunk.get();
                    if ready && what(holder) > 0 && *stall >= after {
                        missing = missing.saturating_sub(what(holder));
                        holder.ask(demand);
                    }
                }
            };
        let bodies = |holder: &Holder| holder.bodies.get();
        ask(Demand::Shrink, bodies, AMPLE_BODY_BYTES + waiting, free, SHRINK_AFTER_STALL);
        // The waiters need not all be served at once.
        let soon = waiting.min(BODY_BUDGET_BYTES / 8);
        ask(Demand::End, bodies, BODY_BUDGET_BYTES / 4 + soon, free, END_AFTER_STALL);
        ask(Demand::End, |holder| holder.space.get(), space, ample_space, END_AFTER_STALL);
        ask(Demand::End, |holder| holder.input.get(), INPUT_BUDGET_BYTES / 4, free_input, SHRINK_AFTER_STALL);
    }
}

impl Holder {
    /// Sets the account that memory acquired from now on counts for.
    pub fn set_account(&self, account: Account) {
        self.account.set(account);
    }

    /// Whether memory for input is short, so that a body should be received in small pieces.
    pub fn input_is_short(&self) -> bool {
        self.budget.0.ledger.borrow().free(Class::Input) < INPUT_BUDGET_BYTES / 2
    }

    /// Acquires `bytes` at once if they are free and nobody waits for the same class.
    pub fn try_acquire(self: &Rc<Self>, class: Class, bytes: usize) -> Option<Held> {
        let account = self.account.get();
        let taken = self.budget.0.ledger.borrow_mut().try_take(class, account, bytes);
        self.budget.collect_if_short();
        taken.then(|| {
            let mut held = Held { holder: self.clone(), account, class, bytes, booked: false };
            held.book();
            held
        })
    }

    /// Checks that `bytes` of disk space could be reserved for a body now.
    ///
    /// # Errors
    /// [`Error::Busy`] if the budget is used up.
    pub fn check_space(&self, bytes: usize) -> Result<()> {
        let kept = if bytes > SMALL_SPACE_BYTES { SMALL_SPACE_RESERVE_BYTES } else { 0 };
        if self.budget.held(Class::Space) + bytes + kept <= SPACE_BUDGET_BYTES {
            return Ok(());
        }
        crate::reach!("space-refused");
        self.budget.note(|shortages| shortages.refused += 1);
        Err(Error::Busy("the disk space for bodies in progress is reserved"))
    }

    /// Acquires `bytes` of disk space for a body, at once. This core's requests may reserve `disk_share` bytes more
    /// before the disk is crowded.
    ///
    /// # Errors
    /// [`Error::Busy`] if the budget is used up.
    pub fn reserve_space(self: &Rc<Self>, bytes: usize, disk_share: usize) -> Result<Held> {
        self.budget.0.disk_limit.set(self.budget.held(Class::Space).saturating_add(disk_share));
        self.check_space(bytes)?;
        let space = self.try_acquire(Class::Space, bytes);
        Ok(space.unwrap_or_else(|| unreachable!("nobody waits for space, and the budget has room")))
    }

    /// Acquires `bytes`, and waits for them if necessary.
    ///
    /// # Errors
    /// [`Error::Busy`] if they are not free within [`BUDGET_WAIT`].
    pub async fn acquire(self: &Rc<Self>, class: Class, bytes: usize) -> Result<Held> {
        if let Some(held) = self.try_acquire(class, bytes) {
            return Ok(held);
        }
        crate::reach!("memory-waited-for");
        let account = self.account.get();
        let (sender, served) = oneshot();
        let ticket = self.budget.0.ledger.borrow_mut().queue(class, account, bytes);
        let held = Held { holder: self.clone(), account, class, bytes, booked: false };
        self.budget.0.waiters.borrow_mut().insert(ticket, Waiter { held, sender });
        let _turn = Turn { budget: &self.budget, class, account, ticket };
        // This account may hold less than those that wait already.
        self.budget.serve();
        self.budget.collect_if_short();
        match io::timeout(BUDGET_WAIT, served).await {
            Ok(Ok(held)) => {
                crate::reach!("memory-served-after-a-wait");
                Ok(held)
            }
            _ => {
                crate::reach!("memory-not-served-in-time");
                self.budget.note(|shortages| shortages.refused += 1);
                Err(Error::Busy("the memory for requests is in use"))
            }
        }
    }

    /// Reports that this holder waits for its client. Ready when memory is demanded from it; the task is woken then.
    pub fn poll_demand(&self, cx: &Context<'_>) -> Poll<Demand> {
        if let Some(demand) = self.demand.take() {
            self.shrunk.set(true);
            return Poll::Ready(demand);
        }
        if self.waits_since.get().is_none() {
            self.waits_since.set(Some(io::now()));
        }
        let mut waker = self.waker.borrow_mut();
        if waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Reports that the client moved `bytes`, so the holder no longer waits. Its waits add up until `PROGRESS_BYTES`
    /// have been moved: a client that moves a byte now and then is as slow as one that moves none.
    pub fn moved(&self, bytes: usize) {
        if let Some(since) = self.waits_since.take() {
            self.waited.set(self.waited.get() + since.elapsed());
        }
        self.progress.set(self.progress.get().saturating_add(bytes));
        if self.progress.get() >= PROGRESS_BYTES {
            self.start();
        }
    }

    /// Resets the wait: something new begins, for which the holder has not waited yet.
    pub fn start(&self) {
        self.waits_since.set(None);
        self.waited.set(Duration::ZERO);
        self.progress.set(0);
        self.shrunk.set(false);
        self.demand.set(None);
    }

    /// How long it has waited for its client in total; `None` while it does not wait.
    fn stall(&self, now: Instant) -> Option<Duration> {
        Some(self.waited.get() + (now - self.waits_since.get()?))
    }

    fn ask(&self, demand: Demand) {
        self.demand.set(Some(demand));
        crate::reach!("asked-to-shrink", demand == Demand::Shrink);
        crate::reach!("asked-to-end", demand == Demand::End);
        #[cfg(sim)]
        if demand == Demand::End {
            io::sim::control::note_ended_for_memory();
        }
        self.budget.note(|shortages| match demand {
            Demand::Shrink => shortages.shrunk += 1,
            Demand::End => shortages.ended += 1,
        });
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    fn held(&self, class: Class) -> &Cell<usize> {
        match class {
            Class::Input => &self.input,
            Class::Small | Class::Large => &self.bodies,
            Class::Space => &self.space,
        }
    }
}

/// A place in the queue. It is given up on drop.
struct Turn<'a> {
    budget: &'a Budget,
    class: Class,
    account: Account,
    ticket: u64,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.budget.0.ledger.borrow_mut().leave(self.class, self.account, self.ticket) {
            let waiter = self.budget.0.waiters.borrow_mut().remove(&self.ticket);
            drop(waiter);
            // The next waiter may want less.
            self.budget.serve();
        }
    }
}

impl Held {
    /// Counts the memory as held, once the ledger has taken it.
    fn book(&mut self) {
        self.booked = true;
        let held = self.holder.held(self.class);
        held.set(held.get() + self.bytes);
    }

    /// Bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Releases all but `bytes`.
    pub fn shrink(&mut self, bytes: usize) {
        let surplus = self.bytes.saturating_sub(bytes);
        self.bytes -= surplus;
        self.release(surplus);
    }

    /// Splits off `bytes`, to be released separately.
    pub fn split(&mut self, bytes: usize) -> Held {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        let Held { ref holder, account, class, booked, .. } = *self;
        Held { holder: holder.clone(), account, class, bytes, booked }
    }

    fn release(&self, bytes: usize) {
        let kept = match self.class {
            Class::Space => crate::canary!("space-never-returned"),
            _ => crate::canary!("budget-never-returned"),
        };
        if !self.booked || bytes == 0 || kept {
            return;
        }
        let held = self.holder.held(self.class);
        held.set(held.get() - bytes);
        let budget = &self.holder.budget;
        budget.0.ledger.borrow_mut().release(self.class, self.account, bytes);
        budget.serve();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release(self.bytes);
    }
}

#[cfg(test)]
mod tests;
