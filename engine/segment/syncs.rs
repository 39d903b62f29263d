//! Data syncs of extent segments, each shared by all the blobs that wait for it.
//!
//! Any core of the node may write extents. Their owner syncs them while it writes their publish records. One sync of a
//! segment runs at a time and covers every write that ended before it began. Requests that arrive while it runs share
//! the next one.
//!
//! After a failed sync, the contents of all pages written since the last good one are unknown, whoever wrote them, and
//! the next sync would succeed without them. So the segment is sealed: everyone who waits for the sync fails, nothing
//! more is reserved or published in the segment, and what was published before stays readable.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::Class;
use super::batch::Outcome;
use super::log::Shared;
use crate::error::{Error, Result};

/// The outcome of one sync.
pub(super) type Round = Rc<Outcome<()>>;

/// The segments that are being synced, each with the following round if somebody waits for one.
#[derive(Default)]
pub(super) struct Syncs(RefCell<BTreeMap<u32, Option<Round>>>);

impl Syncs {
    /// The first round that covers everything written until now, and whether the caller has to run it.
    fn join(&self, segment: u32) -> (Round, bool) {
        let mut running = self.0.borrow_mut();
        if let Some(next) = running.get_mut(&segment) {
            crate::reach!("extent-sync-shared", next.is_some());
            return (next.get_or_insert_default().clone(), false);
        }
        running.insert(segment, None);
        (Round::default(), true)
    }

    /// The round to run now that the last one has ended.
    fn next(&self, segment: u32) -> Option<Round> {
        let mut running = self.0.borrow_mut();
        let next = running.get_mut(&segment).and_then(Option::take);
        if next.is_none() {
            running.remove(&segment);
        }
        next
    }
}

impl Shared {
    /// Starts to make everything written to an extent segment before this call durable. The round gives the outcome:
    /// [`Error::Io`] if the sync fails, and [`Error::Busy`] for those that follow, because the segment is sealed.
    ///
    /// # Errors
    /// [`Error::Busy`] if the segment is already sealed.
    pub(super) async fn start_sync(self: &Rc<Self>, segment: u32) -> Result<Round> {
        self.check_sealed(segment)?;
        let (round, mine) = self.syncs.join(segment);
        if mine {
            self.background(run_rounds(self.clone(), segment, round.clone())).await;
        }
        Ok(round)
    }

    fn check_sealed(&self, segment: u32) -> Result<()> {
        match self.state.borrow().extents.is_sealed(segment) {
            true => {
                crate::reach!("sealed-extents-refused");
                Err(Error::Busy("an earlier sync of the extent's segment failed"))
            }
            false => Ok(()),
        }
    }

    async fn sync_now(&self, segment: u32) -> Result<()> {
        self.check_sealed(segment)?;
        if crate::canary!("extent-not-synced") {
            return Ok(());
        }
        let file = self.files.get(self.config.core, Class::Extent, segment).await?;
        self.counters.borrow_mut().extent_syncs += 1;
        let synced = file.sync_data().await;
        #[cfg(test)]
        let synced =
            if self.fail_extent_sync.take() { Err(std::io::Error::other("injected")) } else { synced };
        synced.map_err(|error| {
            if !crate::canary!("failed-sync-retried") {
                self.state.borrow_mut().extents.seal(segment);
            }
            Error::io("sync an extent", &error)
        })
    }
}

async fn run_rounds(shared: Rc<Shared>, segment: u32, first: Round) {
    let mut round = Some(first);
    while let Some(current) = round {
        current.set(shared.sync_now(segment).await);
        round = shared.syncs.next(segment);
    }
}
