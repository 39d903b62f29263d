//! Objects: writing and deleting versions.

use super::{Change, Session, precondition::refusal};
use crate::{
    Result,
    command::{DeleteVersion, Outcome, PutVersion, Selector},
    key::Name,
    kv::Reader,
    record::{Bytes16, Record, VersionKind, VersionRecord, Versioning},
};

impl<R: Reader> Session<'_, R> {
    pub(super) fn put_version(&mut self, command: PutVersion, changes: &mut Vec<Change>) -> Result<Outcome> {
        let PutVersion { bucket, key, version, precondition } = command;
        let Ok(name) = Name::new(&bucket, &key) else {
            return Ok(self.refuse(Outcome::InvalidKey, &version.blobs, changes));
        };
        if version.check().is_err() || version.kind() != VersionKind::Object {
            return Ok(self.refuse(Outcome::InvalidRecord, &version.blobs, changes));
        }
        let Some(record) = self.bucket(&bucket)? else {
            return Ok(self.refuse(Outcome::NoSuchBucket, &version.blobs, changes));
        };
        let versioning = record.versioning();
        let state = self.key_state(name, versioning)?;
        if let Some(existing) = self.written_before(name, &state, version.version_id)? {
            return Ok(Outcome::Written { version: existing.into() });
        }
        if self.superseded(&version.blobs)? {
            return Ok(Outcome::Superseded);
        }
        if let Some(outcome) = refusal(precondition.as_ref(), state.target())
            && !engine::canary!("condition-not-checked-at-commit")
        {
            engine::reach!("condition-failed-at-commit");
            return Ok(self.refuse(outcome, &version.blobs, changes));
        }
        let version = self.add_version(name, versioning, &state, version, changes)?;
        Ok(Outcome::Written { version })
    }

    /// What S3 calls simple and permanent deletes (AWS, "Deleting object versions from a versioning-enabled
    /// bucket").
    pub(super) fn delete_version(
        &mut self,
        command: &DeleteVersion,
        changes: &mut Vec<Change>,
    ) -> Result<Outcome> {
        let Some(selector) = &command.selector else { return Ok(Outcome::UnknownCommand) };
        let Ok(name) = Name::new(&command.bucket, &command.key) else { return Ok(Outcome::InvalidKey) };
        let Some(record) = self.bucket(&command.bucket)? else { return Ok(Outcome::NoSuchBucket) };
        let versioning = record.versioning();
        let version = match *selector {
            Selector::Current(_) | Selector::Null(_) if versioning == Versioning::Unversioned => {
                return self.delete_only(name, command, changes);
            }
            Selector::Current(_) => return self.hide(name, versioning, command, changes),
            Selector::Null(_) => self.null_version(name)?,
            // The null version has an id too, which clients never learn.
            Selector::Id(id) => {
                self.record::<VersionRecord>(&name.version(id))?.filter(|version| !version.null_version)
            }
        };
        let target = version.as_ref().filter(|v| !v.is_delete_marker()).map(|v| (v.md5, v.part_count));
        if let Some(outcome) = refusal(command.precondition.as_ref(), target) {
            return Ok(outcome);
        }
        let Some(version) = version else { return Ok(nothing_deleted()) };
        self.remove_version(name, &version, changes)?;
        Ok(deleted(&version, true))
    }

    /// Deletes the only version of a key whose bucket never kept versions.
    fn delete_only(
        &mut self,
        name: Name<'_>,
        command: &DeleteVersion,
        changes: &mut Vec<Change>,
    ) -> Result<Outcome> {
        let state = self.key_state(name, Versioning::Unversioned)?;
        if let Some(outcome) = refusal(command.precondition.as_ref(), state.target()) {
            return Ok(outcome);
        }
        let Some(version_id) = state.newest() else { return Ok(nothing_deleted()) };
        self.remove_only(name, &state, changes)?;
        let version_id = Some(version_id);
        Ok(Outcome::Deleted { version_id, null_version: true, delete_marker: false, existed: true })
    }

    /// Adds a delete marker.
    fn hide(
        &mut self,
        name: Name<'_>,
        versioning: Versioning,
        command: &DeleteVersion,
        changes: &mut Vec<Change>,
    ) -> Result<Outcome> {
        let state = self.key_state(name, versioning)?;
        if let Some(existing) = self.written_before(name, &state, command.marker_version_id)? {
            return Ok(deleted(&existing, true));
        }
        if let Some(outcome) = refusal(command.precondition.as_ref(), state.target()) {
            return Ok(outcome);
        }
        let existed = state.target().is_some();
        let marker = delete_marker(command.marker_version_id);
        let marker = self.add_version(name, versioning, &state, marker, changes)?;
        Ok(deleted(&marker, existed))
    }
}

fn delete_marker(version_id: Bytes16) -> VersionRecord {
    VersionRecord { version_id, kind: VersionKind::DeleteMarker.into(), ..VersionRecord::default() }
}

fn deleted(version: &VersionRecord, existed: bool) -> Outcome {
    Outcome::Deleted {
        version_id: Some(version.version_id),
        null_version: version.null_version,
        delete_marker: version.is_delete_marker(),
        existed,
    }
}

fn nothing_deleted() -> Outcome {
    Outcome::Deleted { version_id: None, null_version: false, delete_marker: false, existed: false }
}
