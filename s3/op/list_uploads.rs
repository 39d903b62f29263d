//! ListMultipartUploads and ListParts (AWS, "ListMultipartUploads", "ListParts").

use raft::record::Bytes16;

use super::listing::{ListRequest, limit, url_encoding};
use super::multipart::{missing_upload, upload_id};
use super::{Exchange, OWNER};
use crate::conn::Reply;
use crate::error::{Code, S3Result};
use crate::limits::LIST_KEYS_MAX;
use crate::xml::multipart;

/// Answers ListMultipartUploads.
pub(super) async fn uploads(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    let query = ex.head.query();
    let request = ListRequest::read(&query, "max-uploads")?;
    let key_marker = query.get("key-marker")?.unwrap_or_default();
    // Without a key marker, an upload id marker is ignored, as AWS documents.
    let id_marker = query.get("upload-id-marker")?.filter(|id| !id.is_empty() && !key_marker.is_empty());
    let after = match &id_marker {
        Some(text) => Some(Bytes16::from_hex(text).ok_or_else(|| {
            Code::InvalidArgument.with("Invalid uploadId marker").field("ArgumentName", "upload-id-marker")
        })?),
        None => None,
    };
    let bucket = ex.existing_bucket().await?;
    let page = ex.service.metadata.list_uploads(request.query(bucket, &key_marker), after).await?;
    request.check_next_marker(page.next.as_ref().map(|(key, _)| key.as_str()))?;
    let markers = (key_marker.as_ref(), id_marker.as_deref().unwrap_or_default());
    Ok(Reply::xml(|out| multipart::uploads(request.echo(bucket), markers, &page, OWNER, out)))
}

/// Answers ListParts.
pub(super) async fn parts(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    let query = ex.head.query();
    let id = upload_id(ex).await?;
    let max = limit(&query, "max-parts", LIST_KEYS_MAX)?;
    let url = url_encoding(&query)?;
    let marker = match query.get("part-number-marker")?.as_deref() {
        None | Some("") => 0,
        Some(text) => text.parse::<u32>().map_err(|_| {
            Code::InvalidArgument
                .with("Argument part-number-marker must be an integer between 0 and 2147483647")
        })?,
    };
    let (bucket, key) = (ex.bucket()?, ex.key()?);
    let found = ex.service.metadata.list_parts(bucket, key, id, marker, max as usize).await?;
    let Some(page) = found else { return Err(missing_upload(ex).await) };
    let echo = multipart::PartsEcho { bucket, key, marker, max, url };
    Ok(Reply::xml(|out| multipart::parts(echo, &page, OWNER, out)))
}
