//! Operations that need metadata and bytes on a home core: storing and committing a small blob, and resolving and
//! locating an object. Each takes one message.

use engine::ids::DataId;
use engine::peer::{Hold, Home, Located, SmallBlob};
use engine::placement::home_core;

use super::{Metadata, Reply, Request};
use crate::command::{Command, Outcome, Selector};
use crate::record::VersionRecord;
use crate::{Error, Result};
use std::sync::Arc;

/// A version, and where its bytes are.
#[derive(Debug, Default)]
pub struct Resolved {
    /// The version, possibly a delete marker; `None` if nothing of that name is stored.
    pub version: Option<Arc<VersionRecord>>,
    /// The location of its only blob, if that lies on the key's home core and was requested.
    pub located: Option<Located>,
}

impl Metadata {
    /// Stores a small blob, then commits the command that refers to it, as [`Metadata::commit`] does.
    ///
    /// # Errors
    /// Those of both steps. If the command was not proposed, the bytes are deleted again.
    pub async fn store_and_commit(&self, blob: SmallBlob, command: Command) -> Result<Outcome> {
        let command_home = self.home_of_command(&command);
        let blob_home = home_core(blob.header.partition, self.0.cores);
        let here = self.0.core;
        if blob_home != command_home {
            self.store(blob_home, blob).await?;
            return self.commit(command).await;
        }
        if command_home == here {
            return self.store_and_commit_here(blob, command).await;
        }
        match self.mesh()?.call(command_home, Request::StoreAndCommit(Box::new((blob, command)))).await {
            Ok(Reply::Outcome(outcome)) => outcome,
            Ok(_) | Err(_) => Err(Error::OutcomeUnknown),
        }
    }

    async fn store(&self, home: usize, blob: SmallBlob) -> Result<()> {
        if home == self.0.core {
            return self.store_here(blob).await;
        }
        match self.mesh()?.call(home, Request::Store(Box::new(blob))).await {
            Ok(Reply::Stored(stored)) => stored,
            Ok(_) | Err(_) => Err(Error::Unavailable("the blob's core has ended")),
        }
    }

    pub(super) async fn store_here(&self, blob: SmallBlob) -> Result<()> {
        let _writer = self.home().writer();
        self.home().store(&blob).await.map(drop).map_err(Error::Bytes)
    }

    pub(super) async fn store_and_commit_here(&self, blob: SmallBlob, command: Command) -> Result<Outcome> {
        let data_id = blob.header.data_id;
        let _writers = (self.home().writer(), self.0.writers.enter());
        self.home().store(&blob).await.map_err(Error::Bytes)?;
        let outcome = self.propose(command).await;
        if let Err(Error::Unavailable(_)) = &outcome {
            engine::reach!("small-blob-stored-but-not-proposed");
            // Nothing was proposed, so nothing will ever refer to the blob. If this delete fails, the sweep finds
            // the blob.
            let _ = self.home().delete(&[data_id]).await;
        }
        outcome
    }

    /// The version that a request names, and the location of its blob if that lies on the same core as its row.
    ///
    /// # Errors
    /// Those of [`Metadata::resolve`].
    pub async fn resolve_located(&self, bucket: &str, key: &str, selector: Selector) -> Result<Resolved> {
        let home = self.home_of(bucket, key);
        if home == self.0.core {
            let version = self.resolve_here(bucket, key, &selector).await?;
            return Ok(self.located(version));
        }
        let request = Request::ResolveLocated { bucket: bucket.to_owned(), key: key.to_owned(), selector };
        match self.mesh()?.call(home, request).await {
            Ok(Reply::Resolved(resolved)) => resolved,
            Ok(_) | Err(_) => Err(Error::Unavailable("the key's core has ended")),
        }
    }

    /// Adds the location of a version's only blob, if it lies on this core.
    pub(super) fn located(&self, version: Option<Arc<VersionRecord>>) -> Resolved {
        let located = version.as_deref().and_then(|version| match version.blobs.as_slice() {
            [blob] if home_core(blob.partition as u16, self.0.cores) == self.0.core => {
                self.home().locate(DataId(blob.data_id.to_bytes()), 0, Hold::Extents).ok()
            }
            _ => None,
        });
        Resolved { version, located }
    }

    fn home(&self) -> &Home {
        &self.0.home
    }
}
