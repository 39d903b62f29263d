//! The operations on this core's own segments.

use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use crossbeam::queue::SegQueue;

use super::lease::{Returned, Returns};
use super::mesh::Replier;
use super::{Hold, Located, Place, Reply, Request, SmallBlob, WrittenExtent};
use crate::error::{Error, Result};
use crate::ids::DataId;
use crate::io::{self, DiskSpace};
use crate::segment::{Class, Config, Location, PublishItem, Store};

/// How often dropped leases are settled when there is no other operation.
const SETTLE_EVERY: Duration = Duration::from_secs(1);

/// This core's segments as its peers see them. Cheap to clone.
#[derive(Clone)]
pub struct Home(Rc<Inner>);

struct Inner {
    core: usize,
    store: Store,
    returns: Returns,
}

impl Inner {
    fn settle(&self) {
        while let Some(returned) = self.returns.pop() {
            match returned {
                Returned::Place(at) => {
                    crate::reach!("reservation-returned");
                    self.store.release(at);
                }
                Returned::Pin(location) => self.store.unpin(&[location]),
            }
        }
    }
}

async fn settle_periodically(inner: Weak<Inner>) {
    while let Some(inner) = inner.upgrade() {
        inner.settle();
        drop(inner);
        io::sleep(SETTLE_EVERY).await;
    }
}

impl Home {
    /// The home of core `core` over its open store.
    pub fn new(core: usize, store: Store) -> Home {
        let inner = Rc::new(Inner { core, store, returns: Returns::new(SegQueue::new()) });
        io::spawn(settle_periodically(Rc::downgrade(&inner)));
        Home(inner)
    }

    /// Opens the segments of core `core` in the data directory whose space `disk` accounts for on behalf of all cores.
    ///
    /// # Errors
    /// Those of [`Store::open`].
    pub async fn open(disk: &Arc<DiskSpace>, core: usize) -> Result<Home> {
        Ok(Home::new(core, Store::open(Config::new(disk, core)).await?))
    }

    /// Closes the segments: what is durable stays, and nothing more is accepted.
    pub async fn close(&self) {
        self.0.store.shutdown().await;
    }

    /// The store below.
    pub fn segments(&self) -> &Store {
        &self.0.store
    }

    /// Takes back the dropped leases. This also happens automatically.
    pub fn settle(&self) {
        self.0.settle();
    }

    /// Executes a request. The reply is sent at once, or from a task if it takes time.
    pub(super) fn serve(&self, request: Request, replier: Replier<Result<Reply>>) {
        self.settle();
        if let Request::Locate { data_id, shard, hold } = request {
            return replier.send(self.locate(data_id, shard, hold).map(Reply::Located));
        }
        let home = self.clone();
        io::spawn(async move {
            let reply = match request {
                Request::Store(blob) => home.store(&blob).await.map(Reply::Stored),
                Request::Reserve { bytes } => home.reserve(bytes).await.map(Reply::Reserved),
                Request::Publish(extents) => home.publish(extents).await.map(|()| Reply::Published),
                Request::Delete(data_ids) => home.delete(&data_ids).await.map(|()| Reply::Deleted),
                Request::Locate { data_id, shard, hold } => {
                    home.locate(data_id, shard, hold).map(Reply::Located)
                }
            };
            replier.send(reply);
        });
    }

    /// Counts a writer that brings a blob, until it has its reply.
    pub fn writer(&self) -> io::Writer {
        self.0.store.writer()
    }

    /// Stores a small blob. It is durable on return.
    pub async fn store(&self, blob: &SmallBlob) -> Result<Location> {
        self.0.store.append_blob(blob.header, &[&blob.framed]).await
    }

    /// Reserves space for an extent of `bytes` framed bytes.
    pub async fn reserve(&self, bytes: u64) -> Result<Place> {
        self.settle();
        let at = self.0.store.reserve(bytes).await?;
        Ok(Place::new(self.0.core, at, &self.0.returns))
    }

    /// Publishes the extents of one shard. They are durable on return.
    pub async fn publish(&self, extents: Vec<WrittenExtent>) -> Result<()> {
        if extents.iter().any(|extent| extent.place.core != self.0.core) {
            return Err(Error::Invalid("an extent of another core"));
        }
        let _writer = self.writer();
        let items: Vec<PublishItem> = extents
            .iter()
            .map(|extent| PublishItem { blob: extent.header, at: extent.place.at, length: extent.length })
            .collect();
        let published = self.0.store.publish(&items).await;
        if published.is_ok() {
            extents.into_iter().for_each(|extent| extent.place.keep());
        }
        published
    }

    /// Locates a shard. What `hold` names stays in place for as long as the result lives.
    ///
    /// # Errors
    /// [`Error::NotFound`] if none of it is stored.
    pub fn locate(&self, data_id: DataId, shard: u8, hold: Hold) -> Result<Located> {
        let locations = self.0.store.locate(data_id, shard)?;
        let held = hold == Hold::All || locations.iter().any(|location| location.class == Class::Extent);
        if held && !self.0.store.pin(&locations) {
            return Err(Error::NotFound);
        }
        Ok(Located::new(self.0.core, locations, held.then_some(&self.0.returns)))
    }

    /// Deletes blobs. The delete is durable on return.
    pub async fn delete(&self, data_ids: &[DataId]) -> Result<()> {
        self.settle();
        self.0.store.delete(data_ids).await
    }
}
