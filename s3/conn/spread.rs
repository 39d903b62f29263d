//! Assigns each connection to the core with the least load.
//!
//! The kernel spreads connections over the listeners of one address by a hash, so four connections may all land on one
//! core. The core that accepts a connection therefore picks the core with the fewest active connections, among equals
//! the one with the fewest connections, among those itself, and hands the connection over before its first byte is
//! read.
//!
//! A connection is *active* as soon as it is assigned. It becomes inactive once it has waited between two requests for
//! a while (`deadline` checks every second), and its next request makes it active again. So a burst is spread evenly
//! before any of it has sent a request, the short pauses of a busy client do not count, and a pool of idle connections
//! does not hide which core is working. Consecutive requests touch no shared memory.
//!
//! Choosing a core and counting the connection there is one step under a lock: cores that accept at the same time would
//! otherwise all pick the same one.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use engine::io::{Accepted, Receiver, Sender, mailbox};

use crate::limits::HANDED_CONNECTIONS;

/// The load of a core. It is on a cache line of its own, since each core writes its own often.
#[derive(Default)]
#[repr(align(64))]
struct Load {
    active: AtomicUsize,
    connections: AtomicUsize,
}

struct Loads {
    cores: Box<[Load]>,
    connections_max: usize,
    choice: Mutex<()>,
}

impl Loads {
    /// Takes a seat on the core that `choose` picks, given the current loads.
    fn seat(self: &Arc<Self>, choose: impl FnOnce(&[(usize, usize)]) -> Option<usize>) -> Option<Seat> {
        let _choice = self.choice.lock().unwrap_or_else(PoisonError::into_inner);
        let now =
            |load: &Load| (load.active.load(Ordering::Relaxed), load.connections.load(Ordering::Relaxed));
        let loads: Vec<_> = self.cores.iter().map(now).collect();
        let core = choose(&loads)?;
        self.cores[core].active.fetch_add(1, Ordering::Relaxed);
        self.cores[core].connections.fetch_add(1, Ordering::Relaxed);
        Some(Seat { loads: self.clone(), core, active: Cell::new(true) })
    }
}

/// Chooses a core for a connection that core `own` accepted; `None` if every core is full. `loads` has the number of
/// active and of all connections of each core.
fn choose(loads: &[(usize, usize)], own: usize, connections_max: usize) -> Option<usize> {
    let with_room = (0..loads.len()).filter(|core| loads[*core].1 < connections_max);
    with_room.min_by_key(|core| (loads[*core], *core != own))
}

/// A connection's place among those of its core, given up on drop.
pub(crate) struct Seat {
    loads: Arc<Loads>,
    core: usize,
    active: Cell<bool>,
}

impl Seat {
    /// Marks the connection as active or inactive.
    pub(crate) fn set_active(&self, active: bool) {
        match (self.active.replace(active), active) {
            (false, true) => drop(self.load().active.fetch_add(1, Ordering::Relaxed)),
            (true, false) => drop(self.load().active.fetch_sub(1, Ordering::Relaxed)),
            _ => {}
        }
    }

    fn load(&self) -> &Load {
        &self.loads.cores[self.core]
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.set_active(false);
        self.load().connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection with its seat, on its way to its core.
pub(crate) struct Assigned {
    pub(crate) connection: Accepted,
    pub(crate) seat: Seat,
}

/// Where a connection went.
pub(crate) enum Placed {
    /// This core is to serve it.
    Here(Assigned),
    /// Another core has it.
    Elsewhere,
    /// Every core is full: the connection is closed.
    Nowhere,
}

/// One core's part in distributing connections.
pub struct Spread {
    core: usize,
    loads: Arc<Loads>,
    inboxes: Arc<[Sender<Assigned>]>,
}

/// The connections that other cores hand to a core.
pub struct Inbox(pub(crate) Receiver<Assigned>);

impl Spread {
    /// Creates the parts of all `cores`, each of which holds at most `connections_max` connections.
    pub fn over(cores: usize, connections_max: usize) -> Vec<(Spread, Inbox)> {
        let loads = Loads {
            cores: (0..cores).map(|_| Load::default()).collect(),
            connections_max,
            choice: Mutex::new(()),
        };
        let loads = Arc::new(loads);
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..cores).map(|_| mailbox(HANDED_CONNECTIONS)).unzip();
        let inboxes: Arc<[_]> = senders.into();
        let share = |(core, receiver)| {
            (Spread { core, loads: loads.clone(), inboxes: inboxes.clone() }, Inbox(receiver))
        };
        receivers.into_iter().enumerate().map(share).collect()
    }

    /// Finds a core for a connection that this core accepted.
    pub(crate) fn place(&self, connection: Accepted) -> Placed {
        let most = self.loads.connections_max;
        let Some(seat) = self.loads.seat(|loads| choose(loads, self.core, most)) else {
            return Placed::Nowhere;
        };
        if seat.core == self.core {
            return Placed::Here(Assigned { connection, seat });
        }
        let Err(refused) = self.inboxes[seat.core].try_send(Assigned { connection, seat }) else {
            return Placed::Elsewhere;
        };
        // That core is far behind in taking connections, or is stopping: this one serves it, if it has room.
        let own = self.loads.seat(|loads| (loads[self.core].1 < most).then_some(self.core));
        own.map_or(Placed::Nowhere, |seat| Placed::Here(Assigned { connection: refused.connection, seat }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn loads(cores: usize, connections_max: usize) -> Arc<Loads> {
        Spread::over(cores, connections_max)[0].0.loads.clone()
    }

    fn connections(loads: &Loads) -> Vec<usize> {
        loads.cores.iter().map(|load| load.connections.load(Ordering::Relaxed)).collect()
    }

    #[test]
    fn the_core_with_the_fewest_active_connections_gets_the_next_one() {
        assert_eq!(choose(&[(3, 3), (2, 900), (4, 4)], 0, 1000), Some(1));
        assert_eq!(choose(&[(0, 900), (0, 2), (0, 3)], 0, 1000), Some(1), "then the one with fewest of all");
        assert_eq!(choose(&[(1, 1), (1, 1), (1, 1)], 2, 1000), Some(2), "then the one that accepted it");
    }

    #[test]
    fn a_core_at_its_cap_gets_no_connection() {
        assert_eq!(choose(&[(0, 10), (9, 9)], 0, 10), Some(1));
        assert_eq!(choose(&[(0, 10), (10, 10)], 0, 10), None);
    }

    #[test]
    fn a_burst_on_one_listener_is_spread_evenly_before_any_of_it_has_sent_a_byte() {
        let loads = loads(4, 1000);
        let seats: Vec<_> = (0..42).map(|_| loads.seat(|now| choose(now, 1, 1000)).unwrap()).collect();
        assert_eq!(connections(&loads), [11, 11, 10, 10]);
        drop(seats);
        assert_eq!(connections(&loads), [0; 4]);
    }

    #[test]
    fn cores_that_accept_at_the_same_time_do_not_all_pick_the_same_one() {
        let loads = loads(4, 1000);
        let accept = |own: usize| {
            let loads = loads.clone();
            move || (0..100).map(|_| loads.seat(|now| choose(now, own, 1000)).unwrap()).collect::<Vec<_>>()
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|own| scope.spawn(accept(own))).collect();
            let seats: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
            assert_eq!(connections(&loads), [100; 4]);
            drop(seats);
        });
    }

    #[test]
    fn inactive_connections_do_not_keep_new_ones_away() {
        let loads = loads(2, 1000);
        let idle: Vec<_> = (0..10).map(|_| loads.seat(|_| Some(0)).unwrap()).collect();
        let busy: Vec<_> = (0..4).map(|_| loads.seat(|_| Some(1)).unwrap()).collect();
        assert_eq!(loads.seat(|now| choose(now, 0, 1000)).unwrap().core, 1);
        idle.iter().for_each(|seat| seat.set_active(false));
        assert_eq!(loads.seat(|now| choose(now, 1, 1000)).unwrap().core, 0);
        idle.iter().for_each(|seat| seat.set_active(true));
        assert_eq!(loads.seat(|now| choose(now, 1, 1000)).unwrap().core, 1);
        drop((idle, busy));
        assert_eq!(loads.cores[0].active.load(Ordering::Relaxed), 0);
    }

    proptest! {
        #[test]
        fn the_choice_has_room_and_no_core_with_room_has_less_load(
            loads in prop::collection::vec((0_usize..5, 0_usize..8), 1..9),
            own in 0_usize..9,
            most in 1_usize..9,
        ) {
            let own = own % loads.len();
            let room = |core: &usize| loads[*core].1 < most;
            match choose(&loads, own, most) {
                None => prop_assert!(!(0..loads.len()).any(|core| room(&core))),
                Some(core) => {
                    prop_assert!(room(&core));
                    prop_assert!((0..loads.len()).filter(room).all(|other| loads[core] <= loads[other]));
                    prop_assert!(core == own || !room(&own) || loads[core] < loads[own]);
                }
            }
        }
    }
}
