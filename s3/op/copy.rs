//! CopyObject and UploadPartCopy (AWS, "CopyObject", "UploadPartCopy"): the server reads the source and writes the copy
//! as a stream.

use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;

use engine::hash::{ChecksumAlgorithm, Plan};
use engine::io::Permit;
use engine::limits::SMALL_BLOB_BYTES;
use engine::placement::Partition;
use raft::command::Selector;
use raft::record::VersionRecord;

use super::get_object::parse_version_id;
use super::multipart::{part_number, part_partition, upload, upload_id};
use super::receive::{NewObject, Received};
use super::{Exchange, ObjectStream, Reclaimed, headers, no_such_bucket, receive};
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
    let storage_class = meta::storage_class(ex.head)?;
    let requested =
        ex.head.header_str("x-amz-checksum-algorithm").map(checksum::parse_algorithm).transpose()?;
    let precondition = headers::write_precondition(ex).await?;
    ex.existing_bucket().await?;
    let source_name = CopySource::from_head(ex.head)?;
    let onto_itself = source_name.bucket.as_str() == ex.bucket()? && source_name.key.as_str() == ex.key()?;
    let changes = directive == MetadataDirective::Replace || ex.head.header("x-amz-storage-class").is_some();
    if onto_itself && !changes && source_name.version_id.is_none() {
        return Err(Code::InvalidRequest.with(
            "This copy request is illegal because it is trying to copy an object to itself without changing the \
             object's metadata, storage class, website redirect location or encryption attributes.",
        ));
    }
    let source = Source::open(ex, &source_name, |version| {
        if version.size > limits::OBJECT_PUT_BYTES_MAX {
            return Err(Code::InvalidRequest
                .with("The specified copy source is larger than the maximum allowable size for a copy source: 5368709120"));
        }
        Ok(0..version.size)
    });
    let source = source.await?;
    let headers = match directive {
        MetadataDirective::Copy => source.version.headers.clone(),
        MetadataDirective::Replace => Some(meta::stored_headers(ex.head)?),
    };
    // A copy keeps the algorithm of its source. The value is computed again, since a composite one does not apply to a
    // single blob.
    let stored = source.version.checksum.as_ref();
    let algorithm = requested.or_else(|| stored?.spec().algorithm()).unwrap_or(checksum::DEFAULT);
    let copied = source.copy(ex, ex.partition()?, algorithm).await?;
    let version = copied.put_version(ex, NewObject { headers, storage_class, precondition }).await?;
    let checksum = headers::checksum_of(&version);
    let mut reply =
        Reply::xml(|out| xml::object::copied(&version.etag(), version.modified_ms, checksum.as_ref(), out));
    headers::write_version_id(&mut reply.lines(), &version);
    Ok(reply)
}

/// Answers UploadPartCopy.
pub(super) async fn part(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    let number = part_number(ex)?;
    let id = upload_id(ex).await?;
    let source_name = CopySource::from_head(ex.head)?;
    let range = ex.head.header("x-amz-copy-source-range").map(ByteRange::parse_copy_source).transpose()?;
    let upload = upload(ex, id).await?;
    let source = Source::open(ex, &source_name, |version| {
        let range = match &range {
            None => 0..version.size,
            Some(range) => {
                let extent = range.resolve_copy_source(version.size)?;
                extent.start..extent.start + extent.length
            }
        };
        if range.end - range.start > limits::OBJECT_PUT_BYTES_MAX {
            return Err(Code::EntityTooLarge.into());
        }
        Ok(range)
    });
    let source = source.await?;
    let algorithm = upload.checksum.and_then(|spec| spec.algorithm()).unwrap_or(checksum::DEFAULT);
    let copied = source.copy(ex, part_partition(ex, number)?, algorithm).await?;
    let checksum = copied.checksum();
    let part = copied.put_part(ex, id, number, algorithm).await?;
    Ok(Reply::xml(|out| {
        xml::multipart::part_copied(&part.md5.to_hex(), part.modified_ms, checksum.as_ref(), out);
    }))
}

/// Resolves the version to copy and checks the conditions on it.
async fn find_source(ex: &Exchange<'_, '_>, name: &CopySource) -> S3Result<Arc<VersionRecord>> {
    let (bucket, key) = (name.bucket.as_str(), name.key.as_str());
    let (action, selector) = match &name.version_id {
        None => ("s3:GetObject", Selector::Current(true)),
        Some(text) => ("s3:GetObjectVersion", parse_version_id(text)?),
    };
    ex.authorise(action, &name.bucket, &name.key)?;
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

/// The source of a copy.
struct Source {
    version: Arc<VersionRecord>,
    stream: ObjectStream,
    size: u64,
    /// Limits the number of copies: each holds buffers for both of its sides, so too many at once could wait for one
    /// another forever.
    _permit: Permit,
}

impl Source {
    /// Resolves the version that `name` refers to, checks the conditions on it, and opens the part of it that `range`
    /// selects.
    async fn open(
        ex: &mut Exchange<'_, '_>,
        name: &CopySource,
        range: impl Fn(&VersionRecord) -> S3Result<Range<u64>>,
    ) -> S3Result<Source> {
        let bytes = &ex.service.bytes;
        let (mut reclaimed, mut turn) = (Reclaimed::default(), None);
        loop {
            // A source that is refused or missing does not wait for a permit. After a wait it may be another version.
            let version = find_source(ex, name).await?;
            let range = range(&version)?;
            let size = range.end - range.start;
            let small = size <= SMALL_BLOB_BYTES as u64;
            let Some((_, permit)) = turn.take().filter(|(of_small, _)| *of_small == small) else {
                turn = Some((small, ex.with_keepalive(pin!(bytes.copy_turn(size))).await));
                continue;
            };
            let opened = ObjectStream::open(bytes, ex.holder, &mut reclaimed, version.clone(), None, range);
            if let Some(stream) = opened.await? {
                return Ok(Source { version, stream, size, _permit: permit });
            }
        }
    }

    /// Copies the source into a new blob of `partition`.
    async fn copy(
        mut self,
        ex: &mut Exchange<'_, '_>,
        partition: Partition,
        checksum: ChecksumAlgorithm,
    ) -> S3Result<Received> {
        let plan = Plan { md5: true, checksum: Some(checksum), ..Plan::default() };
        let mut writer = receive::writer(ex, partition, Some(self.size), plan)?;
        let copy = async move {
            while self.stream.left() > 0 {
                let slice = self.stream.fill().await?;
                let space = writer.space().await?;
                let count = space.len().min(slice.len());
                space[..count].copy_from_slice(&slice[..count]);
                self.stream.consume(count);
                writer.advance(count).await?;
                engine::io::yield_if_needed().await;
            }
            Received::finish(writer).await
        };
        ex.with_keepalive(pin!(copy)).await
    }
}
