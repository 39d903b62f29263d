//! ListMultipartUploads and ListParts (AWS, "ListMultipartUploads", "ListParts").

use std::borrow::Cow;

use raft::list::Entry;
use raft::metadata::ListQuery;

use super::multipart::{no_such_upload, upload_id};
use super::{Exchange, OWNER, body, list_limit, url_encoding};
use crate::checksum;
use crate::conn::Reply;
use crate::error::{Code, S3Result};
use crate::limits::LIST_KEYS_MAX;
use crate::xml::{self, multipart};

/// Answers ListMultipartUploads.
pub(super) async fn uploads(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    let query = ex.head.query();
    let prefix = query.get("prefix")?.unwrap_or_default();
    let delimiter = query.get("delimiter")?.filter(|delimiter| !delimiter.is_empty());
    let max = list_limit(&query, "max-uploads", LIST_KEYS_MAX)?;
    let url = url_encoding(&query)?;
    let key_marker = query.get("key-marker")?.unwrap_or_default();
    // Without a key marker an upload id marker is ignored, as AWS documents.
    let id_marker = query.get("upload-id-marker")?.filter(|id| !id.is_empty() && !key_marker.is_empty());
    let after = match &id_marker {
        Some(text) => Some(super::multipart::parse_upload_id(text).ok_or_else(|| {
            Code::InvalidArgument.with("Invalid uploadId marker").field("ArgumentName", "upload-id-marker")
        })?),
        None => None,
    };
    let bucket = ex.existing_bucket().await?;
    let ask = ListQuery {
        bucket: bucket.to_owned(),
        prefix: prefix.clone().into_owned(),
        delimiter: delimiter.clone().map(Cow::into_owned),
        marker: key_marker.clone().into_owned(),
        max: max as usize,
    };
    let found = ex.service.metadata.list_uploads(ask, after).await?;
    let next_id = found.next.as_ref().and_then(|(_, id)| id.map(|id| id.to_hex()));
    let page = multipart::UploadsPage {
        bucket,
        owner: OWNER,
        key_marker: &key_marker,
        upload_id_marker: id_marker.as_deref().unwrap_or_default(),
        next_key_marker: found.next.as_ref().map(|(key, _)| key.as_str()),
        next_upload_id_marker: next_id.as_deref(),
        prefix: &prefix,
        delimiter: delimiter.as_deref(),
        max_uploads: max,
        truncated: found.next.is_some(),
        url,
    };
    let ids: Vec<String> = found
        .entries
        .iter()
        .map(|entry| match entry {
            Entry::Row(upload) => upload.upload_id.to_hex(),
            Entry::CommonPrefix(_) => String::new(),
        })
        .collect();
    let rows = found.entries.iter().zip(&ids).map(|(entry, upload_id)| match entry {
        Entry::CommonPrefix(prefix) => multipart::Upload::CommonPrefix(prefix),
        Entry::Row(upload) => multipart::Upload::Upload {
            key: &upload.key,
            upload_id,
            initiated_ms: upload.created_ms,
            checksum: body::spec_of(upload.checksum.as_ref()),
        },
    });
    Ok(Reply::xml(|out| multipart::uploads(page, rows, out)))
}

/// Answers ListParts.
pub(super) async fn parts(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    let query = ex.head.query();
    let id = upload_id(ex)?;
    let max = list_limit(&query, "max-parts", LIST_KEYS_MAX)?;
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
    let Some(found) = found else {
        ex.existing_bucket().await?;
        return Err(no_such_upload(ex));
    };
    let id = id.to_hex();
    let spec = body::spec_of(found.upload.checksum.as_ref());
    let page = multipart::PartsPage {
        bucket,
        key,
        upload_id: &id,
        owner: OWNER,
        marker,
        next_marker: found.parts.last().map_or(0, |part| part.number),
        max_parts: max,
        truncated: found.next.is_some(),
        url,
        checksum: spec,
    };
    let texts: Vec<(String, String)> =
        found.parts.iter().map(|part| (part.md5.to_hex(), checksum::base64_encode(&part.checksum))).collect();
    let rows = found.parts.iter().zip(&texts).map(|(part, (etag, text))| multipart::Part {
        number: part.number,
        modified_ms: part.modified_ms,
        etag,
        size: part.size,
        checksum: spec.filter(|_| !text.is_empty()).map(|(algorithm, _)| xml::Checksum {
            algorithm,
            text,
            kind: None,
        }),
    });
    Ok(Reply::xml(|out| multipart::parts(page, rows, out)))
}
