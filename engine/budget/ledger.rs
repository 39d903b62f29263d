//! Who holds how much of a core's memory, and who is served next. Pure.
//!
//! Invariants: no pool exceeds its limit; large bodies never touch the reserve for small ones; a request is served at
//! once only if nobody waits for the same class. Among waiters, the one whose credential holds least is served first,
//! then the one whose address holds least, then the oldest.

use std::collections::{BTreeMap, VecDeque};

use crate::limits::{BODY_BUDGET_BYTES, INPUT_BUDGET_BYTES, SMALL_RESERVE_BYTES, SPACE_BUDGET_BYTES};

/// Up to this many entries are kept, even of accounts that hold nothing, so that a lone client does not allocate.
const IDLE_ACCOUNTS: usize = 256;

/// The use of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Incomplete heads, and input behind the request being served.
    Input,
    /// A body of at most [`crate::limits::SMALL_BLOB_BYTES`].
    Small,
    /// Any other body.
    Large,
    /// Disk space that is reserved for a body and not yet written. Nobody waits for it: those that hold memory would
    /// wait for those that hold space, and the other way round.
    Space,
}

const CLASSES: usize = 4;

impl Class {
    fn is_body(self) -> bool {
        matches!(self, Class::Small | Class::Large)
    }
}

/// The owner of memory: a hash of the credential, and the address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Account {
    /// Hash of the credential; 0 before a request is verified.
    pub credential: u64,
    /// The peer's address.
    pub address: u64,
}

/// A waiting request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Waiting {
    ticket: u64,
    bytes: usize,
}

#[derive(Default)]
pub(super) struct Ledger {
    held: [usize; CLASSES],
    /// Body bytes by account and by credential.
    accounts: BTreeMap<Account, usize>,
    credentials: BTreeMap<u64, usize>,
    queues: [BTreeMap<Account, VecDeque<Waiting>>; CLASSES],
    waiting_bytes: [usize; CLASSES],
    tickets: u64,
}

impl Ledger {
    /// Bytes held of a class.
    pub(super) fn held(&self, class: Class) -> usize {
        self.held[class as usize]
    }

    /// Maximum number of bytes that one more request of the class could get.
    pub(super) fn free(&self, class: Class) -> usize {
        let bodies = self.held(Class::Small) + self.held(Class::Large);
        match class {
            Class::Input => INPUT_BUDGET_BYTES - self.held(Class::Input),
            Class::Small => BODY_BUDGET_BYTES - bodies,
            Class::Large => (BODY_BUDGET_BYTES - SMALL_RESERVE_BYTES)
                .saturating_sub(self.held(Class::Large))
                .min(BODY_BUDGET_BYTES - bodies),
            Class::Space => SPACE_BUDGET_BYTES - self.held(Class::Space),
        }
    }

    /// Bytes that requests of the class are waiting for.
    pub(super) fn waiting(&self, class: Class) -> usize {
        self.waiting_bytes[class as usize]
    }

    /// Body bytes that an account holds.
    pub(super) fn held_by(&self, account: Account) -> usize {
        self.accounts.get(&account).copied().unwrap_or(0)
    }

    /// Body bytes of each account if they were shared evenly among the accounts that hold any.
    pub(super) fn fair_share(&self) -> usize {
        let holders = self.accounts.values().filter(|held| **held > 0).count();
        (self.held(Class::Small) + self.held(Class::Large)) / holders.max(1)
    }

    /// Takes `bytes` if they are free and nobody waits for the same class.
    pub(super) fn try_take(&mut self, class: Class, account: Account, bytes: usize) -> bool {
        let free = self.queues[class as usize].is_empty() && bytes <= self.free(class);
        if free {
            self.take(class, account, bytes);
        }
        free
    }

    fn take(&mut self, class: Class, account: Account, bytes: usize) {
        self.held[class as usize] += bytes;
        if class.is_body() {
            if self.accounts.len() > IDLE_ACCOUNTS {
                self.accounts.retain(|_, held| *held > 0);
                self.credentials.retain(|_, held| *held > 0);
            }
            *self.accounts.entry(account).or_default() += bytes;
            *self.credentials.entry(account.credential).or_default() += bytes;
        }
    }

    /// Releases `bytes`.
    pub(super) fn release(&mut self, class: Class, account: Account, bytes: usize) {
        self.held[class as usize] -= bytes;
        if class.is_body() {
            let held = self.accounts.get_mut(&account).zip(self.credentials.get_mut(&account.credential));
            let (of_account, of_credential) = held.unwrap_or_else(|| unreachable!("the bytes were taken"));
            *of_account -= bytes;
            *of_credential -= bytes;
        }
    }

    /// Queues a request. [`Ledger::next`] returns its ticket when it is served.
    pub(super) fn queue(&mut self, class: Class, account: Account, bytes: usize) -> u64 {
        self.tickets += 1;
        self.waiting_bytes[class as usize] += bytes;
        let waiting = Waiting { ticket: self.tickets, bytes };
        self.queues[class as usize].entry(account).or_default().push_back(waiting);
        self.tickets
    }

    /// Removes a request that no longer waits. Returns false if it was already served.
    pub(super) fn leave(&mut self, class: Class, account: Account, ticket: u64) -> bool {
        let Some(queue) = self.queues[class as usize].get_mut(&account) else { return false };
        let Some(at) = queue.iter().position(|waiting| waiting.ticket == ticket) else { return false };
        self.waiting_bytes[class as usize] -= queue.remove(at).map_or(0, |waiting| waiting.bytes);
        if queue.is_empty() {
            self.queues[class as usize].remove(&account);
        }
        true
    }

    /// Serves the next waiting request if there is room for it. No smaller request overtakes it.
    pub(super) fn next(&mut self) -> Option<u64> {
        [Class::Input, Class::Small, Class::Large].into_iter().find_map(|class| self.next_of(class))
    }

    fn next_of(&mut self, class: Class) -> Option<u64> {
        let queues = &self.queues[class as usize];
        let (account, Waiting { ticket, bytes }) = queues
            .iter()
            .filter_map(|(account, queue)| Some((*account, *queue.front()?)))
            .min_by_key(|(account, waiting)| {
                let of_credential = self.credentials.get(&account.credential).copied().unwrap_or(0);
                (of_credential, self.held_by(*account), waiting.ticket)
            })?;
        if bytes > self.free(class) {
            return None;
        }
        self.leave(class, account, ticket);
        self.take(class, account, bytes);
        Some(ticket)
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
