//! ListObjectVersions (AWS, "ListObjectVersions"), on buckets without versioning too: each key has one version there,
//! `null`.

use std::borrow::Cow;

use raft::command::Selector;
use raft::list::{Entry, ListedVersion, VersionMarker};
use raft::metadata::ListQuery;

use super::get_object::parse_version_id;
use super::{Exchange, OWNER, body, list_limit, url_encoding};
use crate::conn::Reply;
use crate::error::{Code, S3Result};
use crate::limits::LIST_KEYS_MAX;
use crate::xml::{self, list};

/// Answers ListObjectVersions.
pub(super) async fn list(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    let query = ex.head.query();
    let prefix = query.get("prefix")?.unwrap_or_default();
    let delimiter = query.get("delimiter")?.filter(|delimiter| !delimiter.is_empty());
    let max = list_limit(&query, "max-keys", LIST_KEYS_MAX)?;
    let url = url_encoding(&query)?;
    let key_marker = query.get("key-marker")?.unwrap_or_default();
    let version_marker = query.get("version-id-marker")?.filter(|id| !id.is_empty());
    if version_marker.is_some() && key_marker.is_empty() {
        return Err(
            Code::InvalidArgument.with("A version-id marker cannot be specified without a key marker.")
        );
    }
    let marker = version_marker.as_deref().map(marker).transpose()?;
    let bucket = ex.existing_bucket().await?;
    let ask = ListQuery {
        bucket: bucket.to_owned(),
        prefix: prefix.clone().into_owned(),
        delimiter: delimiter.clone().map(Cow::into_owned),
        marker: key_marker.clone().into_owned(),
        max: max as usize,
    };
    let found = ex.service.metadata.list_versions(ask, marker).await?;
    let (next_key, next_version_id) = match &found.next {
        None => (None, None),
        Some((key, version)) => (Some(key.as_str()), version.as_ref().map(marker_text)),
    };
    let page = list::Page {
        bucket,
        prefix: &prefix,
        delimiter: delimiter.as_deref(),
        max_keys: u64::from(max),
        url,
        truncated: found.next.is_some(),
    };
    let markers = list::VersionMarkers {
        key: &key_marker,
        version_id: version_marker.as_deref().unwrap_or_default(),
        next_key,
        next_version_id: next_version_id.as_deref(),
    };
    let texts: Vec<(String, String)> = found.entries.iter().map(texts_of).collect();
    let rows = found.entries.iter().zip(&texts).map(|(entry, (id, etag))| row(entry, id, etag));
    Ok(Reply::xml(|out| list::versions(page, markers, rows, out)))
}

fn marker(text: &str) -> S3Result<VersionMarker> {
    Ok(match parse_version_id(text)? {
        Selector::Id(id) => VersionMarker::Id(id),
        Selector::Null(_) | Selector::Current(_) => VersionMarker::Null,
    })
}

fn marker_text(marker: &VersionMarker) -> String {
    match marker {
        VersionMarker::Null => "null".to_owned(),
        VersionMarker::Id(id) => id.to_hex(),
    }
}

/// The version id and the ETag of an entry as text.
fn texts_of(entry: &Entry<ListedVersion>) -> (String, String) {
    match entry {
        Entry::CommonPrefix(_) => (String::new(), String::new()),
        Entry::Row(ListedVersion { version, .. }) => {
            let id = if version.null_version { "null".to_owned() } else { version.version_id.to_hex() };
            (id, version.etag())
        }
    }
}

fn row<'a>(entry: &'a Entry<ListedVersion>, version_id: &'a str, etag: &'a str) -> list::Version<'a> {
    match entry {
        Entry::CommonPrefix(prefix) => list::Version::CommonPrefix(prefix),
        Entry::Row(ListedVersion { key, version, is_latest }) if version.is_delete_marker() => {
            list::Version::DeleteMarker {
                key,
                version_id,
                latest: *is_latest,
                modified_ms: version.modified_ms,
                owner: Some(OWNER),
            }
        }
        Entry::Row(ListedVersion { key, version, is_latest }) => {
            let checksum = version.checksum.as_ref().and_then(|sum| {
                let kind = Some(body::kind_of(sum.kind));
                Some(xml::Checksum { algorithm: body::from_record(sum.algorithm)?, text: "", kind })
            });
            let object = list::Object {
                key,
                modified_ms: version.modified_ms,
                etag,
                size: version.size,
                owner: Some(OWNER),
                checksum,
            };
            list::Version::Object { object, version_id, latest: *is_latest }
        }
    }
}
