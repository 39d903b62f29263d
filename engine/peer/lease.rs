//! What a home core keeps for someone else until they let go: places reserved for writing, extents pinned for
//! reading.
//!
//! A lease may be dropped anywhere, on any core, by a client that left or a message that got lost: dropping
//! it puts it on its home core's list of returns, which the home core settles before its next operation and
//! once a second. So nothing leaks, and letting go costs neither a message nor a wait.

use std::sync::Arc;

use crossbeam::queue::SegQueue;
use smallvec::SmallVec;

use crate::segment::{Location, Reservation};

/// What comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Returned {
    /// A place that nothing was published in.
    Place(Reservation),
    /// A pinned extent.
    Pin(Location),
}

/// The returns of one core.
pub(super) type Returns = Arc<SegQueue<Returned>>;

/// A place reserved for one extent; free again when dropped, unless it is published before.
#[derive(Debug)]
pub struct Place {
    /// The core whose files it lies in.
    pub core: usize,
    /// Where.
    pub at: Reservation,
    returns: Option<Returns>,
}

impl Place {
    pub(super) fn new(core: usize, at: Reservation, returns: &Returns) -> Place {
        Place { core, at, returns: Some(returns.clone()) }
    }

    /// The place holds a published extent now: nothing comes back.
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

/// What of a shard stays in place while it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Its extents. A small blob's record may move, which its reader notices by the checksum and asks again.
    Extents,
    /// Its record too, also if the blob is deleted: for who reads it late.
    All,
}

/// Where a shard lies; what its asker wanted to [`Hold`] stays in place until this is dropped.
#[derive(Debug)]
pub struct Located {
    /// The core whose files they are.
    pub core: usize,
    /// The record of a small blob, or the extents of a large one in order.
    pub locations: SmallVec<[Location; 1]>,
    returns: Option<Returns>,
}

impl Located {
    pub(super) fn new(core: usize, locations: SmallVec<[Location; 1]>, returns: Option<&Returns>) -> Located {
        Located { core, locations, returns: returns.cloned() }
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
