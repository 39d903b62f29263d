//! Listings: pages of objects, versions, uploads, parts and buckets, over one consistent view.
//!
//! Promise: order, markers and delimiters are S3's (AWS, "ListObjectsV2", "ListObjectVersions",
//! "ListMultipartUploads"):
//! - Keys sort by their UTF-8 bytes. Markers are exclusive.
//! - Keys that share the text between the prefix and the end of the next delimiter form one common prefix, which
//!   counts as one entry of the page.
//! - A marker equal to a common prefix has passed all of it. A marker inside one has not, so the common prefix is
//!   listed if keys after the marker belong to it.
//! - A page says that it is truncated only if at least one more entry exists.
//!
//! After the first few, a seek skips the rows behind a common prefix that is already listed.
//!
//! Absent here: encoding-type, continuation tokens and their secrecy, limits of max-keys. The protocol handles
//! them.

use crate::{
    Result,
    command::Selector,
    error::corrupt,
    key::{self, Name},
    kv::Reader,
    read,
    record::{BucketRecord, Bytes16, CurrentRecord, PartRecord, Record, UploadRecord, VersionRecord},
};
use std::{cell::Cell, ops::ControlFlow};

/// Rows to step over one by one before a seek: a seek costs as much as reading about twenty rows.
const STEPS_BEFORE_SEEK: usize = if cfg!(sim) { 2 } else { 16 };

/// What every listing of a bucket's keys asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Query<'a> {
    /// Keys must start with it.
    pub prefix: &'a str,
    /// Groups keys; `None` or empty: no groups.
    pub delimiter: Option<&'a str>,
    /// Only keys (or common prefixes) after this one; empty: from the start.
    pub marker: &'a str,
    /// Maximum number of entries on a page. 0 gives an empty page that is not truncated.
    pub max: usize,
}

/// One entry of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry<T> {
    /// A row.
    Row(T),
    /// Keys that share this prefix.
    CommonPrefix(String),
}

/// A page of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T, M> {
    /// The entries, in order.
    pub entries: Vec<Entry<T>>,
    /// The marker of the next page, if there is more.
    pub next: Option<M>,
}

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedObject {
    /// Its key.
    pub key: String,
    /// A summary of its current version.
    pub current: CurrentRecord,
}

/// A version in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedVersion {
    /// Its key.
    pub key: String,
    /// The version, possibly a delete marker.
    pub version: VersionRecord,
    /// It is the key's newest.
    pub is_latest: bool,
}

/// Where in a key's version list a page starts (exclusive).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionMarker {
    /// After this version, which may have been deleted since.
    Id(Bytes16),
    /// After the null version. If that has been deleted, the key's list starts over.
    Null,
}

impl VersionMarker {
    /// After `version`.
    pub fn after(version: &VersionRecord) -> Self {
        if version.null_version { Self::Null } else { Self::Id(version.version_id) }
    }
}

/// A page of an upload's parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartsPage {
    /// The upload.
    pub upload: UploadRecord,
    /// Its parts, by number.
    pub parts: Vec<PartRecord>,
    /// The part-number marker of the next page, if there is more.
    pub next: Option<u32>,
}

/// Current objects of a bucket. The next marker is the last entry's key or common prefix.
pub fn objects(reader: &impl Reader, bucket: &str, query: Query<'_>) -> Result<Page<ListedObject, String>> {
    let walk = Walk { tag: key::TAG_CURRENT, bucket, query };
    let (entries, truncated) = walk.run(reader, walk.after_marker(), |key, _, value| {
        Ok(Step::Take(ListedObject { key: key.to_owned(), current: CurrentRecord::from_row(value)? }))
    })?;
    let next = entries.last().filter(|_| truncated).map(|last| match last {
        Entry::Row(object) => object.key.clone(),
        Entry::CommonPrefix(common) => common.clone(),
    });
    Ok(Page { entries, next })
}

/// Versions of a bucket by key, those of one key newest first. With `version` the page starts inside
/// `query.marker`'s list.
pub fn versions(
    reader: &impl Reader,
    bucket: &str,
    query: Query<'_>,
    version: Option<VersionMarker>,
) -> Result<Page<ListedVersion, (String, Option<VersionMarker>)>> {
    let walk = Walk { tag: key::TAG_VERSION, bucket, query };
    let inside = match (version, Name::new(bucket, query.marker)) {
        (Some(marker), Ok(name)) => Some((marker, name)),
        _ => None,
    };
    let start = match inside {
        None => walk.after_marker(),
        Some((VersionMarker::Id(id), name)) => key::prefix_end(&name.version(id)),
        Some((VersionMarker::Null, name)) => match read::version(reader, name, &Selector::Null(true))? {
            Some(null) => key::prefix_end(&name.version(null.version_id)),
            None => name.versions(),
        },
    };
    let mut last_key = String::new();
    let (entries, truncated) = walk.run(reader, start, |key, _, value| {
        let version = VersionRecord::from_row(value)?;
        let mut is_latest = last_key != key;
        if is_latest {
            last_key.clear();
            last_key.push_str(key);
            if let Some((_, name)) = inside.filter(|(_, name)| name.key() == key) {
                let newest = read::newest(reader, name)?;
                is_latest = newest.is_some_and(|newest| newest.version_id == version.version_id);
            }
        }
        Ok(Step::Take(ListedVersion { key: key.to_owned(), version, is_latest }))
    })?;
    let next = entries.last().filter(|_| truncated).map(|last| match last {
        Entry::Row(ListedVersion { key, version, .. }) => (key.clone(), Some(VersionMarker::after(version))),
        Entry::CommonPrefix(common) => (common.clone(), None),
    });
    Ok(Page { entries, next })
}

/// Uploads in progress of a bucket by key, those of one key oldest first. With `upload` the page starts inside
/// `query.marker`'s uploads.
pub fn uploads(
    reader: &impl Reader,
    bucket: &str,
    query: Query<'_>,
    upload: Option<Bytes16>,
) -> Result<Page<UploadRecord, (String, Option<Bytes16>)>> {
    let walk = Walk { tag: key::TAG_UPLOAD, bucket, query };
    let start = match (upload, Name::new(bucket, query.marker)) {
        (Some(id), Ok(name)) => key::prefix_end(&name.upload(id)),
        _ => walk.after_marker(),
    };
    let (entries, truncated) = walk.run(reader, start, |_, tail, value| match tail.len() {
        16 => Ok(Step::Take(UploadRecord::from_row(value)?)),
        // Its parts; there may be ten thousand.
        18 => Ok(Step::Skip { same_tail: 16 }),
        _ => Err(corrupt("row key", "not the key of an upload or a part")),
    })?;
    let next = entries.last().filter(|_| truncated).map(|last| match last {
        Entry::Row(upload) => (upload.key.clone(), Some(upload.upload_id)),
        Entry::CommonPrefix(common) => (common.clone(), None),
    });
    Ok(Page { entries, next })
}

/// Parts of an upload after number `after`; `None` if there is no such upload.
pub fn parts(
    reader: &impl Reader,
    name: Name<'_>,
    upload_id: Bytes16,
    after: u32,
    max: usize,
) -> Result<Option<PartsPage>> {
    let Some(upload) = read::upload(reader, name, upload_id)? else { return Ok(None) };
    let mut page = PartsPage { upload, parts: Vec::new(), next: None };
    let Some(first) = u16::try_from(after).ok().and_then(|after| after.checked_add(1)) else {
        return Ok(Some(page));
    };
    if max == 0 {
        return Ok(Some(page));
    }
    let end = key::prefix_end(&name.upload(upload_id));
    reader.scan(&name.part(upload_id, first), &end, &mut |_, value| {
        if page.parts.len() == max {
            page.next = page.parts.last().map(|part: &PartRecord| part.number);
            return Ok(ControlFlow::Break(()));
        }
        page.parts.push(PartRecord::from_row(value)?);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(Some(page))
}

/// Buckets by name, if the name starts with `prefix` and sorts after `marker`, and whether there are more.
pub fn buckets(
    reader: &impl Reader,
    prefix: &str,
    marker: &str,
    max: usize,
) -> Result<(Vec<BucketRecord>, bool)> {
    let mut found = Vec::new();
    let mut truncated = false;
    let mut first = vec![key::TAG_BUCKET];
    first.extend_from_slice(prefix.as_bytes());
    let start = if marker.is_empty() {
        first.clone()
    } else {
        key::prefix_end(&key::in_bucket(key::TAG_BUCKET, marker))
    };
    if max > 0 && !prefix.contains('\0') {
        reader.scan(&start.max(first.clone()), &key::prefix_end(&first), &mut |_, value| {
            if found.len() == max {
                truncated = true;
                return Ok(ControlFlow::Break(()));
            }
            found.push(BucketRecord::from_row(value)?);
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok((found, truncated))
}

/// What to do with a row.
enum Step<T> {
    /// It is an entry.
    Take(T),
    /// It is not an entry, and neither are the rows with the same key and the same first bytes of the tail.
    Skip { same_tail: usize },
}

/// A walk over a bucket's rows of one tag.
struct Walk<'a> {
    tag: u8,
    bucket: &'a str,
    query: Query<'a>,
}

impl Walk<'_> {
    /// The first row after those of the marker.
    fn after_marker(&self) -> Vec<u8> {
        // No key contains a NUL, so the keys after `a\0b` are the keys after `a`.
        let marker = self.query.marker.split('\0').next().unwrap_or_default();
        let mut start = key::in_bucket(self.tag, self.bucket);
        if !marker.is_empty() {
            start.extend_from_slice(marker.as_bytes());
            start.push(1);
        }
        start
    }

    /// The page from row `start` on, and whether there is more. `on_row` gets an object key, the rest of its row's
    /// key, and the row's value.
    fn run<T>(
        &self,
        reader: &impl Reader,
        start: Vec<u8>,
        mut on_row: impl FnMut(&str, &[u8], &[u8]) -> Result<Step<T>>,
    ) -> Result<(Vec<Entry<T>>, bool)> {
        let Query { prefix, delimiter, marker, max } = self.query;
        let mut entries = Vec::new();
        if max == 0 || prefix.contains('\0') || key::check_bucket(self.bucket).is_err() {
            return Ok((entries, false));
        }
        let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty());
        let mut first = key::in_bucket(self.tag, self.bucket);
        let head = first.len();
        first.extend_from_slice(prefix.as_bytes());
        let end = key::prefix_end(&first);
        // The last common prefix listed, on this page or the one before.
        let passed = if engine::canary!("common-prefix-listed-again") { "" } else { marker };
        let mut common = passed.to_owned();
        let mut truncated = false;
        let mut from = Some(start.max(first));
        while let Some(start) = from.take() {
            let skipped = Cell::new(0);
            let mut skip = |group: &[u8]| {
                skipped.set(skipped.get() + 1);
                if skipped.get() <= STEPS_BEFORE_SEEK {
                    return ControlFlow::Continue(());
                }
                from = Some(key::prefix_end(group));
                ControlFlow::Break(())
            };
            reader.scan(&start, &end, &mut |row, value| {
                let (key, tail) =
                    key::component(&row[head..]).ok_or(corrupt("row key", "its key is not text"))?;
                let group =
                    delimiter.and_then(|d| key[prefix.len()..].find(d).map(|at| prefix.len() + at + d.len()));
                let entry = if let Some(len) = group {
                    if common == key[..len] {
                        return Ok(skip(&row[..head + len]));
                    }
                    Entry::CommonPrefix(key[..len].to_owned())
                } else {
                    match on_row(key, tail, value)? {
                        Step::Take(entry) => Entry::Row(entry),
                        Step::Skip { same_tail } => {
                            return Ok(skip(&row[..head + key.len() + 1 + same_tail]));
                        }
                    }
                };
                if entries.len() == max {
                    truncated = true;
                    return Ok(ControlFlow::Break(()));
                }
                if let Entry::CommonPrefix(new) = &entry {
                    common.clone_from(new);
                }
                entries.push(entry);
                skipped.set(0);
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok((entries, truncated))
    }
}

#[cfg(test)]
#[path = "list_tests.rs"]
mod tests;
