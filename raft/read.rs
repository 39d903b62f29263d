//! Point reads of the metadata, over one consistent view.

use crate::{
    Result,
    command::Selector,
    error::corrupt,
    key::{self, Name},
    kv::Reader,
    record::{BucketRecord, Bytes16, CurrentRecord, ReclaimRecord, Record, UploadRecord, VersionRecord},
};
use std::ops::ControlFlow;

/// Maximum number of a key's versions to search for the one that a repeated Complete made; it bounds the work of
/// one command. A bucket that does not keep versions has just one per key.
const MAX_VERSIONS_OF_REPEAT: usize = 1000;

fn record<T: Record>(reader: &impl Reader, row: &[u8]) -> Result<Option<T>> {
    reader.get(row)?.map(|value| T::from_row(&value)).transpose()
}

/// A bucket; `None` for a name that no bucket can have.
pub fn bucket(reader: &impl Reader, name: &str) -> Result<Option<BucketRecord>> {
    let Ok(row) = key::bucket(name) else { return Ok(None) };
    record(reader, &row)
}

/// A key's current object; `None` if its newest version is a delete marker.
pub fn current(reader: &impl Reader, name: Name<'_>) -> Result<Option<VersionRecord>> {
    let Some(current) = record::<CurrentRecord>(reader, &name.current())? else { return Ok(None) };
    let version = record(reader, &name.version(current.version_id))?;
    version.ok_or(corrupt("current-version record", "its version is missing")).map(Some)
}

/// A key's newest version, which may be a delete marker.
pub fn newest(reader: &impl Reader, name: Name<'_>) -> Result<Option<VersionRecord>> {
    first_version(reader, name, |_| true)
}

/// The version that a request names, which may be a delete marker. [`Selector::Current`] gives the newest.
pub fn version(reader: &impl Reader, name: Name<'_>, selector: &Selector) -> Result<Option<VersionRecord>> {
    match *selector {
        Selector::Current(_) => newest(reader, name),
        Selector::Null(_) => first_version(reader, name, |version| version.null_version),
        Selector::Id(id) => {
            let found: Option<VersionRecord> = record(reader, &name.version(id))?;
            Ok(found.filter(|version| !version.null_version))
        }
    }
}

/// An upload in progress.
pub fn upload(reader: &impl Reader, name: Name<'_>, upload_id: Bytes16) -> Result<Option<UploadRecord>> {
    record(reader, &name.upload(upload_id))
}

/// What became of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UploadState {
    /// It is in progress.
    Open(UploadRecord),
    /// It was completed, and this version made of it is still there.
    Completed(VersionRecord),
}

/// What became of an upload; `None` if nothing is known of it (any more).
pub fn upload_state(reader: &impl Reader, name: Name<'_>, upload_id: Bytes16) -> Result<Option<UploadState>> {
    Ok(match upload(reader, name, upload_id)? {
        Some(upload) => Some(UploadState::Open(upload)),
        None => made_by_upload(reader, name, upload_id)?.map(UploadState::Completed),
    })
}

/// The version that was completed from this upload, if it is among the newest of its key.
pub fn made_by_upload(
    reader: &impl Reader,
    name: Name<'_>,
    upload_id: Bytes16,
) -> Result<Option<VersionRecord>> {
    if engine::canary!("completed-upload-forgotten") {
        return Ok(None);
    }
    let mut looked_at = 0;
    let mut found = None;
    let start = name.versions();
    reader.scan(&start, &key::prefix_end(&start), &mut |_, value| {
        found = Some(VersionRecord::from_row(value)?).filter(|version| version.upload_id == Some(upload_id));
        looked_at += 1;
        let enough = found.is_some() || looked_at == MAX_VERSIONS_OF_REPEAT;
        Ok(if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(found)
}

/// Blobs to reclaim, by data id from `after` (exclusive) on; at most `max`.
pub fn reclaim_queue(reader: &impl Reader, after: Option<Bytes16>, max: usize) -> Result<Vec<ReclaimRecord>> {
    let mut out = Vec::new();
    let start = after.map_or(vec![key::TAG_RECLAIM], |id| key::prefix_end(&key::reclaim(id)));
    reader.scan(&start, &[key::TAG_RECLAIM + 1], &mut |_, value| {
        if out.len() < max {
            out.push(ReclaimRecord::from_row(value)?);
        }
        Ok(if out.len() < max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    Ok(out)
}

fn first_version(
    reader: &impl Reader,
    name: Name<'_>,
    wanted: impl Fn(&VersionRecord) -> bool,
) -> Result<Option<VersionRecord>> {
    let start = name.versions();
    let mut found = None;
    reader.scan(&start, &key::prefix_end(&start), &mut |_, value| {
        found = Some(VersionRecord::from_row(value)?).filter(&wanted);
        Ok(if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(found)
}
