//! CopyObject and UploadPartCopy (AWS, "CopyObject", "UploadPartCopy"): read and rewritten on the server, streaming.

use std::sync::Arc;

use engine::hash::{ChecksumAlgorithm, Plan};
use engine::placement::Partition;
use raft::command::Selector;
use raft::record::VersionRecord;

use super::body::Received;
use super::get_object::parse_version_id;
use super::multipart::{part_number, part_partition, upload, upload_id};
use super::{Exchange, ObjectStream, body, headers, no_such_bucket};
use crate::checksum;
use crate::condition::Conditions;
use crate::conn::Reply;
use crate::copy_source::CopySource;
use crate::error::{Code, S3Result};
use crate::limits;
use crate::meta::{self, MetadataDirective};
use crate::range::ByteRange;
use crate::xml;

/// Answers CopyObject.
pub(super) async fn object(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    let directive = meta::metadata_directive(ex.head)?;
    let asked = ex.head.header_str("x-amz-checksum-algorithm").map(checksum::parse_algorithm).transpose()?;
    let precondition = headers::write_precondition(ex).await?;
    ex.existing_bucket().await?;
    let source_name = CopySource::from_head(ex.head)?;
    let source = find_source(ex, &source_name).await?;
    let onto_itself = source_name.bucket.as_str() == ex.bucket()? && source_name.key.as_str() == ex.key()?;
    if onto_itself && directive == MetadataDirective::Copy && source_name.version_id.is_none() {
        return Err(Code::InvalidRequest.with(
            "This copy request is illegal because it is trying to copy an object to itself without changing the \
             object's metadata, storage class, website redirect location or encryption attributes.",
        ));
    }
    if source.size > limits::OBJECT_PUT_BYTES_MAX {
        return Err(Code::InvalidRequest
            .with("The specified copy source is larger than the maximum allowable size for a copy source: 5368709120"));
    }
    let headers = match directive {
        MetadataDirective::Copy => source.headers.clone(),
        MetadataDirective::Replace => Some(meta::stored_headers(ex.head)?),
    };
    // A copy keeps its source's algorithm; its value is computed anew, since a composite one says nothing of a whole.
    let algorithm = asked.or_else(|| source.checksum.as_ref().and_then(|stored| stored.spec().algorithm()));
    let copied = copy_range(ex, ex.partition()?, &source, 0..source.size, algorithm).await?;
    let version = copied.put_version(ex, headers, precondition).await?;
    let checksum = body::checksum_of(&version);
    let mut reply =
        Reply::xml(|out| xml::object::copied(&version.etag(), version.modified_ms, checksum.as_ref(), out));
    headers::write_version_id(&mut reply.lines(), &version);
    Ok(reply)
}

/// Answers UploadPartCopy.
pub(super) async fn part(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    let number = part_number(ex)?;
    let id = upload_id(ex)?;
    let source_name = CopySource::from_head(ex.head)?;
    let range = ex.head.header("x-amz-copy-source-range").map(ByteRange::parse_copy_source).transpose()?;
    let upload = upload(ex, id).await?;
    let source = find_source(ex, &source_name).await?;
    let range = match range {
        None => 0..source.size,
        Some(range) => {
            let extent = range.of_copy_source(source.size)?;
            extent.start..extent.start + extent.length
        }
    };
    if range.end - range.start > limits::OBJECT_PUT_BYTES_MAX {
        return Err(Code::EntityTooLarge.into());
    }
    let algorithm = upload.checksum.and_then(|spec| spec.algorithm());
    let copied = copy_range(ex, part_partition(ex, number)?, &source, range, algorithm).await?;
    let (etag, checksum) = (copied.md5().to_hex(), copied.checksum);
    copied.put_part(ex, id, number, algorithm.is_some()).await?;
    Ok(Reply::xml(|out| xml::multipart::part_copied(&etag, ex.now_ms, checksum.as_ref(), out)))
}

/// The version that a copy reads, once its conditions hold.
async fn find_source(ex: &Exchange<'_, '_>, name: &CopySource) -> S3Result<Arc<VersionRecord>> {
    let (bucket, key) = (name.bucket.as_str(), name.key.as_str());
    let selector = match &name.version_id {
        None => Selector::Current(true),
        Some(text) => parse_version_id(text)?,
    };
    let version = match ex.service.metadata.resolve(bucket, key, selector).await? {
        Some(version) if !version.is_delete_marker() => version,
        Some(_) if name.version_id.is_some() => {
            return Err(Code::InvalidRequest.with(
                "The source of a copy request may not specifically refer to a delete marker by version id.",
            ));
        }
        _ if ex.service.metadata.bucket(bucket).await?.is_none() => return Err(no_such_bucket(bucket)),
        _ if name.version_id.is_some() => return Err(Code::NoSuchVersion.field("Key", key)),
        _ => return Err(Code::NoSuchKey.field("Key", key)),
    };
    Conditions::from_copy_source(ex.head).check_copy_source(&version.etag(), version.modified_ms)?;
    Ok(version)
}

/// Copies a range of `source` into a new blob of `partition`.
async fn copy_range(
    ex: &mut Exchange<'_, '_>,
    partition: Partition,
    source: &Arc<VersionRecord>,
    range: std::ops::Range<u64>,
    checksum: Option<ChecksumAlgorithm>,
) -> S3Result<Received> {
    let size = range.end - range.start;
    let plan = Plan { md5: true, sha256: false, checksum };
    let bytes = &ex.service.bytes;
    // A copy holds buffers for both of its sides: all at once could wait for one another for ever.
    let _turn = bytes.copy_turn().await;
    let mut writer = body::writer(ex, partition, Some(size), plan)?;
    let mut stream = ObjectStream::new(bytes, source.clone(), None, range.start, size);
    while let Some(mut slice) = stream.next().await? {
        while !slice.is_empty() {
            let space = writer.space().await?;
            let count = space.len().min(slice.len());
            space[..count].copy_from_slice(&slice[..count]);
            slice = &slice[count..];
            writer.advance(count).await?;
        }
        engine::io::yield_if_needed().await;
    }
    let digests = writer.end().await?;
    Received::finish(writer, digests).await
}
