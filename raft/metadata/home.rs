//! What a home core does for its keys: propose, wait, resolve, and follow apply's feed.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use engine::io::{Receiver, now, oneshot, sleep, yield_if_needed};

use super::{Metadata, OUTCOME_PATIENCE, Pending, Submission};
use crate::apply::Change;
use crate::command::{Command, Kind, Outcome, Selector};
use crate::feed::{Applied, Feed};
use crate::key::Name;
use crate::record::{VersionRecord, Versioning};
use crate::types::Proposal;
use crate::{Error, Result, read};

thread_local! {
    /// Cache keys are built here, so that a lookup allocates nothing.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Calls `with` with the cache key of an object.
fn keyed<T>(bucket: &str, key: &str, with: impl FnOnce(&[u8]) -> T) -> T {
    SCRATCH.with(|scratch| {
        let mut bytes = scratch.borrow_mut();
        bytes.clear();
        bytes.extend_from_slice(bucket.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(key.as_bytes());
        with(&bytes)
    })
}

impl Metadata {
    /// Proposes a command whose home is this core, and waits for its outcome.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: nothing was done. [`Error::OutcomeUnknown`]: the command may have been executed, or
    /// may still be.
    ///
    /// # Panics
    /// In debug builds, if this core is not the command's home: the outcome would go to another core.
    pub async fn commit_here(&self, command: Command) -> Result<Outcome> {
        let _writer = self.0.writers.enter();
        self.propose(command).await
    }

    /// Like [`Metadata::commit_here`], for a writer that is counted already.
    pub(super) async fn propose(&self, command: Command) -> Result<Outcome> {
        debug_assert_eq!(
            self.home_of_command(&command),
            self.0.core,
            "commands are committed on their home core"
        );
        let command_id = command.command_id;
        let changes_buckets = matches!(command.kind, Some(Kind::CreateBucket(_) | Kind::DeleteBucket(_)));
        let proposal = Proposal::of(command)?;
        let _room = self.0.room.acquire(1).await;
        let (sender, outcome) = oneshot();
        let pending = Pending { outcome: sender, deadline: now() + OUTCOME_PATIENCE };
        // If two commands have the same id, the first one's outcome becomes unknown: its sender is dropped.
        self.0.pending.borrow_mut().insert(command_id, pending);
        let submission = Submission { proposal, command_id, core: self.0.core };
        if self.0.submit.send(submission).await.is_err() {
            self.0.pending.borrow_mut().remove(&command_id);
            return Err(Error::Unavailable("the node is stopping"));
        }
        let outcome = outcome.await.unwrap_or(Err(Error::OutcomeUnknown))?;
        if changes_buckets {
            // Each core answers from its own memory. A bucket that exists already may be as new as one created here.
            self.seen_by_all().await.map_err(|_| Error::OutcomeUnknown)?;
        }
        Ok(outcome)
    }

    /// The version that a request names, if it is in memory.
    pub(super) fn cached(&self, name: Name<'_>, selector: &Selector) -> Option<Arc<VersionRecord>> {
        let known = keyed(name.bucket(), name.key(), |key| self.0.rows.borrow_mut().get(key))??;
        let named = match selector {
            Selector::Current(_) => true,
            Selector::Null(_) => known.null_version,
            Selector::Id(id) => known.version_id == *id && !known.null_version,
        };
        named.then_some(known)
    }

    /// The version that a request names, for a key whose home is this core.
    ///
    /// # Errors
    /// No key can have this name, or the store can't be read.
    pub async fn resolve_here(
        &self,
        bucket: &str,
        key: &str,
        selector: &Selector,
    ) -> Result<Option<Arc<VersionRecord>>> {
        let name = Name::new(bucket, key)?;
        if let Selector::Current(_) = selector {
            if let Some(current) = self.current(name).await? {
                return Ok(Some(current));
            }
            // No current object. If the bucket ever kept versions, a delete marker may hide some.
            let keeps_versions = self
                .bucket(bucket)
                .await?
                .is_some_and(|bucket| bucket.versioning() != Versioning::Unversioned);
            if !keeps_versions {
                return Ok(None);
            }
        } else if let Some(known) = self.cached(name, selector) {
            return Ok(Some(known));
        }
        let (bucket, key, selector) = (bucket.to_owned(), key.to_owned(), selector.clone());
        let read =
            move |view: &super::reads::View<'_>| read::version(view, Name::new(&bucket, &key)?, &selector);
        Ok(self.read_store(read).await?.1.map(Arc::new))
    }

    async fn current(&self, name: Name<'_>) -> Result<Option<Arc<VersionRecord>>> {
        let (bucket, key) = (name.bucket(), name.key());
        if let Some(known) = keyed(bucket, key, |key| self.0.rows.borrow_mut().get(key)) {
            return Ok(known);
        }
        keyed(bucket, key, |key| self.0.rows.borrow_mut().begin_read(key));
        let (owned_bucket, owned_key) = (bucket.to_owned(), key.to_owned());
        let read =
            move |view: &super::reads::View<'_>| read::current(view, Name::new(&owned_bucket, &owned_key)?);
        let found = self.0.readers.read(read).await;
        keyed(bucket, key, |key| {
            let mut rows = self.0.rows.borrow_mut();
            match found {
                Ok((index, version)) => Ok(rows.end_read(key, Some((index, version.map(Arc::new))))),
                Err(error) => {
                    rows.end_read(key, None);
                    Err(error)
                }
            }
        })
    }

    /// Follows apply's feed for as long as the node lives.
    pub(super) async fn follow(self, mut feed: Receiver<Feed>) {
        while let Some(message) = feed.recv().await {
            match message {
                Feed::Applied(applied) => self.applied(applied),
                Feed::Refused(ids) => {
                    for id in ids {
                        if let Some(pending) = self.0.pending.borrow_mut().remove(&id) {
                            engine::reach!("proposal-refused");
                            pending.outcome.send(Err(Error::Unavailable("the group has no leader")));
                        }
                    }
                }
            }
            yield_if_needed().await;
        }
    }

    fn applied(&self, applied: Applied) {
        let index = applied.index;
        for change in applied.changes {
            match change {
                Change::Bucket { name, record } => {
                    self.0.buckets.borrow_mut().update(name.as_bytes(), record, index);
                }
                Change::Key { bucket, key, current } => {
                    keyed(&bucket, &key, |key| self.0.rows.borrow_mut().update(key, current, index));
                }
                Change::Reclaim(record) => self.0.reclaim.push(record),
                Change::Upload { .. } => {}
            }
        }
        self.0.seen.set(index);
        self.0.progress.saw(self.0.core, index);
        // Only now: whoever gets the outcome must find the change in memory.
        let mut pending = self.0.pending.borrow_mut();
        for (id, outcome) in applied.outcomes {
            if let Some(waiting) = pending.remove(&id) {
                waiting.outcome.send(Ok(outcome));
            }
        }
    }

    /// Reports an unknown outcome to those who have waited too long.
    pub(super) async fn expire_pending(self) {
        loop {
            sleep(Duration::from_secs(1)).await;
            if self.0.pending.borrow().is_empty() {
                continue;
            }
            let now = now();
            let is_late = |_: &crate::record::Bytes16, pending: &mut Pending| pending.deadline < now;
            let expired: Vec<Pending> =
                self.0.pending.borrow_mut().extract_if(is_late).map(|(_, pending)| pending).collect();
            for pending in expired {
                engine::reach!("outcome-unknown");
                pending.outcome.send(Err(Error::OutcomeUnknown));
            }
        }
    }
}
