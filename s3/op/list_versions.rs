//! ListObjectVersions (AWS, "ListObjectVersions"). It also works on buckets without versioning, where each key has one
//! version, `null`.

use raft::command::Selector;
use raft::list::VersionMarker;

use super::get_object::parse_version_id;
use super::listing::ListRequest;
use super::{Exchange, OWNER};
use crate::conn::Reply;
use crate::error::{Code, S3Result};
use crate::xml::list;

/// Answers ListObjectVersions.
pub(super) async fn list(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    let query = ex.head.query();
    let request = ListRequest::read(&query, "max-keys")?;
    let key_marker = query.get("key-marker")?.unwrap_or_default();
    let version_marker = query.get("version-id-marker")?.filter(|id| !id.is_empty());
    if version_marker.is_some() && key_marker.is_empty() {
        return Err(
            Code::InvalidArgument.with("A version-id marker cannot be specified without a key marker.")
        );
    }
    let after = version_marker.as_deref().map(marker).transpose()?;
    let bucket = ex.existing_bucket().await?;
    let page = ex.service.metadata.list_versions(request.query(bucket, &key_marker), after).await?;
    request.check_next_marker(page.next.as_ref().map(|(key, _)| key.as_str()))?;
    let markers = (key_marker.as_ref(), version_marker.as_deref().unwrap_or_default());
    Ok(Reply::xml(|out| list::versions(request.echo(bucket), markers, &page, OWNER, out)))
}

fn marker(text: &str) -> S3Result<VersionMarker> {
    Ok(match parse_version_id(text)? {
        Selector::Id(id) => VersionMarker::Id(id),
        Selector::Null(_) | Selector::Current(_) => VersionMarker::Null,
    })
}
