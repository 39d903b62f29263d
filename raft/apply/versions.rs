//! A key's version list: reading it, adding to it, removing from it, and deriving the current object.

use super::{Change, Session, precondition::Target};
use crate::{
    Result,
    error::corrupt,
    key::{self, Name},
    kv::Reader,
    record::{Bytes16, CurrentRecord, Record, VersionRecord, Versioning},
};
use std::{ops::ControlFlow, sync::Arc};

/// What a command needs to know about a key's version list.
pub(super) struct KeyState {
    newest: Option<Newest>,
    /// The null version, if a write replaces it.
    replaced: Option<Replaced>,
}

/// What a command needs to know about a key's newest version.
#[derive(Clone, Copy)]
struct Newest {
    id: Bytes16,
    modified_ms: u64,
    /// Its MD5 and part count if it is an object.
    target: Target,
}

/// A version that a write replaces.
enum Replaced {
    /// The only version of a key whose bucket never kept versions, from its `c/` row.
    Only(CurrentRecord),
    /// One of a version list.
    Listed(VersionRecord),
}

impl KeyState {
    /// The current object.
    pub(super) fn target(&self) -> Target {
        self.newest.and_then(|newest| newest.target)
    }

    /// The newest version's id.
    pub(super) fn newest(&self) -> Option<Bytes16> {
        self.newest.map(|newest| newest.id)
    }
}

fn target_of(version: &VersionRecord) -> Target {
    (!version.is_delete_marker()).then_some((version.md5, version.part_count))
}

impl<R: Reader> Session<'_, R> {
    /// Reads the state of a key. If its bucket never kept versions, that is one point read, of the `c/` row.
    pub(super) fn key_state(&self, name: Name<'_>, versioning: Versioning) -> Result<KeyState> {
        if versioning == Versioning::Unversioned {
            let current: Option<CurrentRecord> = self.record(&name.current())?;
            let newest = current.as_ref().map(|current| Newest {
                id: current.version_id,
                modified_ms: current.modified_ms,
                target: Some((current.md5, current.part_count)),
            });
            return Ok(KeyState { newest, replaced: current.map(Replaced::Only) });
        }
        let mut state = KeyState { newest: None, replaced: None };
        let want_null = versioning == Versioning::Suspended;
        self.each_version(name, None, |version| {
            state.newest.get_or_insert_with(|| Newest {
                id: version.version_id,
                modified_ms: version.modified_ms,
                target: target_of(&version),
            });
            if want_null && version.null_version {
                state.replaced = Some(Replaced::Listed(version));
            }
            !want_null || state.replaced.is_some()
        })?;
        Ok(state)
    }

    /// The version that a command with this id wrote, if it was executed before and the version still exists.
    pub(super) fn written_before(
        &self,
        name: Name<'_>,
        state: &KeyState,
        proposed: Bytes16,
    ) -> Result<Option<VersionRecord>> {
        match state.newest() {
            Some(newest) if newest == proposed => self.record(&name.version(proposed)),
            // Ids increase in log order: if it was written, the newest is not older.
            Some(newest) if newest > proposed => {
                let mut found = None;
                self.each_version(name, Some(proposed), |version| {
                    let same = version.version_id == proposed || version.proposed_id == Some(proposed);
                    if same {
                        found = Some(version);
                    }
                    same
                })?;
                Ok(found)
            }
            _ => Ok(None),
        }
    }

    /// The null version of a list.
    pub(super) fn null_version(&self, name: Name<'_>) -> Result<Option<VersionRecord>> {
        let mut found = None;
        self.each_version(name, None, |version| {
            let null = version.null_version;
            if null {
                found = Some(version);
            }
            null
        })?;
        Ok(found)
    }

    /// Adds the newest version of a key, replacing the null version if the bucket's versioning state says so.
    ///
    /// Its time is the command's, but never before that of the version that was the newest until now: clocks
    /// disagree and jump, and a client that polls Last-Modified must not see it go back.
    pub(super) fn add_version(
        &mut self,
        name: Name<'_>,
        versioning: Versioning,
        state: &KeyState,
        mut version: VersionRecord,
        changes: &mut Vec<Change>,
    ) -> Result<Arc<VersionRecord>> {
        self.drop_replaced(name, state, changes)?;
        if engine::canary!("live-blob-reclaimed") && state.newest.is_some() {
            version.blobs.iter().for_each(|blob| self.release(blob, changes));
        }
        let not_before = state.newest.filter(|_| !engine::canary!("modified-goes-back"));
        version.modified_ms = not_before.map_or(0, |newest| newest.modified_ms).max(self.at_ms);
        engine::reach!("time-kept-from-going-back", version.modified_ms > self.at_ms);
        if engine::canary!("apply-reads-clock") {
            version.modified_ms = engine::io::unix_ms();
        }
        version.null_version = versioning != Versioning::Enabled;
        if versioning != Versioning::Unversioned
            && let Some(newest) = state.newest()
            && version.version_id <= newest
        {
            version.proposed_id = Some(version.version_id);
            version.version_id = newest.next();
        }
        self.rows.put(name.version(version.version_id), version.to_row());
        let version = Arc::new(version);
        self.set_current(name, Some(version.clone()), changes);
        Ok(version)
    }

    /// Removes the only version of a key whose bucket never kept versions.
    pub(super) fn remove_only(
        &mut self,
        name: Name<'_>,
        state: &KeyState,
        changes: &mut Vec<Change>,
    ) -> Result<()> {
        self.drop_replaced(name, state, changes)?;
        self.set_current(name, None, changes);
        Ok(())
    }

    /// Removes one version of a list, and derives the current object from the rest.
    pub(super) fn remove_version(
        &mut self,
        name: Name<'_>,
        version: &VersionRecord,
        changes: &mut Vec<Change>,
    ) -> Result<()> {
        self.drop_version(name, version, changes);
        let mut newest = None;
        self.each_version(name, None, |version| {
            newest = Some(version);
            true
        })?;
        self.set_current(name, newest.map(Arc::new), changes);
        Ok(())
    }

    fn drop_replaced(&mut self, name: Name<'_>, state: &KeyState, changes: &mut Vec<Change>) -> Result<()> {
        match &state.replaced {
            None => {}
            Some(Replaced::Listed(version)) => self.drop_version(name, version, changes),
            Some(Replaced::Only(current)) if current.many_blobs => {
                let version = self.record(&name.version(current.version_id))?;
                let missing = corrupt("current-version record", "its version is missing");
                self.drop_version(name, &version.ok_or(missing)?, changes);
            }
            Some(Replaced::Only(current)) => {
                if let Some(blob) = &current.blob {
                    self.release(blob, changes);
                }
                self.rows.delete(name.version(current.version_id));
            }
        }
        Ok(())
    }

    /// Deletes a `v/` row and releases its blobs; the caller updates the current object.
    fn drop_version(&mut self, name: Name<'_>, version: &VersionRecord, changes: &mut Vec<Change>) {
        let count = if engine::canary!("first-blob-released") { 1 } else { version.blobs.len() };
        for blob in version.blobs.iter().take(count) {
            self.release(blob, changes);
        }
        self.rows.delete(name.version(version.version_id));
    }

    /// Makes the `c/` row match the newest version.
    fn set_current(&mut self, name: Name<'_>, newest: Option<Arc<VersionRecord>>, changes: &mut Vec<Change>) {
        let current = newest.filter(|version| !version.is_delete_marker());
        match &current {
            Some(version) => self.rows.put(name.current(), CurrentRecord::of(version).to_row()),
            None => self.rows.delete(name.current()),
        }
        changes.push(Change::Key { bucket: name.bucket().to_owned(), key: name.key().to_owned(), current });
    }

    /// Calls `visit` with a key's versions, newest first, down to `oldest` (inclusive), until it returns true.
    fn each_version(
        &self,
        name: Name<'_>,
        oldest: Option<Bytes16>,
        mut visit: impl FnMut(VersionRecord) -> bool,
    ) -> Result<()> {
        let start = name.versions();
        let end = key::prefix_end(&oldest.map_or_else(|| start.clone(), |id| name.version(id)));
        self.rows.scan(&start, &end, &mut |_, value| {
            let stop = visit(VersionRecord::from_row(value)?);
            Ok(if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
    }
}
