//! What a home core keeps for someone else until they release it: space reserved for writing, and extents pinned for
//! reading.
//!
//! A lease may be dropped anywhere, on any core, by a client that left or with a message that got lost. Dropping it
//! puts it on its home core's list of returns, which the home core settles before its next operation and once a second.
//! So nothing leaks, and a release costs neither a message nor a wait.

use std::sync::Arc;

use crossbeam::queue::SegQueue;
use smallvec::SmallVec;

use crate::segment::{Location, Reservation};

/// A returned lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Returned {
    /// Reserved space in which nothing was published.
    Place(Reservation),
    /// A pinned extent.
    Pin(Location),
}

/// The returns of one core.
pub(super) type Returns = Arc<SegQueue<Returned>>;

/// Space reserved for one extent. Dropping it releases the space, unless the extent has been published.
#[derive(Debug)]
pub struct Place {
    /// The core whose files it lies in.
    pub core: usize,
    /// The reservation.
    pub at: Reservation,
    returns: Option<Returns>,
}

impl Place {
    pub(super) fn new(core: usize, at: Reservation, returns: &Returns) -> Place {
        Place { core, at, returns: Some(returns.clone()) }
    }

    /// The space holds a published extent now: there is nothing to return.
    pub(super) fn keep(mut self) {
        self.returns = None;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(returns) = self.returns.take() {
            returns.push(Returned::Place(self.at));
        }
    }
}

/// The parts of a shard that stay in place while it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Its extents. A small blob's record may move, which its reader notices by the checksum and then locates it again.
    Extents,
    /// Its record too, even if the blob is deleted: for readers that read it late.
    All,
}

/// The location of a shard. What its caller asked to [`Hold`] stays in place until this is dropped.
#[derive(Debug)]
pub struct Located {
    /// The core whose files hold the shard.
    pub core: usize,
    /// The record of a small blob, or the extents of a large one in order.
    pub locations: SmallVec<[Location; 1]>,
    returns: Option<Returns>,
}

impl Located {
    pub(super) fn new(core: usize, locations: SmallVec<[Location; 1]>, returns: Option<&Returns>) -> Located {
        Located { core, locations, returns: returns.cloned() }
    }

    /// Whether it stays in place while this lives.
    pub fn is_held(&self) -> bool {
        self.returns.is_some()
    }
}

impl Drop for Located {
    fn drop(&mut self) {
        if let Some(returns) = self.returns.take() {
            for location in self.locations.drain(..) {
                returns.push(Returned::Pin(location));
            }
        }
    }
}
