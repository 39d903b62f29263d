//! CopyObject and UploadPartCopy (AWS, "CopyObject", "UploadPartCopy"): read and rewritten on the server, streaming.

use std::sync::Arc;

use engine::hash::{Digests, Plan};
use engine::placement::{Partition, Profile};
use engine::write::{BlobWriter, Finished};
use raft::command::{Kind, Outcome, PutPart, PutVersion, Selector};
use raft::record::{BlobRef, VersionKind, VersionRecord};

use super::get_object::parse_version_id;
use super::multipart::{part_algorithm, part_number, part_partition, part_record, upload, upload_id};
use super::{Exchange, ObjectStream, body, headers, no_such_bucket};
use crate::checksum::{self, Algorithm, Value};
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
    let bucket = ex.existing_bucket().await?.to_owned();
    let key = ex.key()?.to_owned();
    let source_name = CopySource::from_head(ex.head)?;
    let source = find_source(ex, &source_name).await?;
    let onto_itself = source_name.bucket.as_str() == bucket && source_name.key.as_str() == key;
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
        MetadataDirective::Replace => Some(headers::stored(ex)?),
    };
    // A copy keeps its source's algorithm; its value is computed anew, since a composite one says nothing of a whole.
    let algorithm =
        asked.or_else(|| source.checksum.as_ref().and_then(|stored| body::from_record(stored.algorithm)));
    let copied = copy_range(ex, ex.partition()?, &source, 0..source.size, algorithm).await?;
    let version = VersionRecord {
        version_id: ex.service.new_id(ex.now_ms).into(),
        kind: VersionKind::Object.into(),
        modified_ms: ex.now_ms,
        size: source.size,
        md5: copied.md5.into(),
        headers,
        checksum: copied.checksum.as_ref().map(body::full_object),
        blobs: if source.size > 0 { vec![copied.blob] } else { Vec::new() },
        ..VersionRecord::default()
    };
    let command = ex.command(Kind::PutVersion(PutVersion { bucket, key, version, precondition }));
    let Outcome::Written { version } = body::commit(copied.finished, &ex.service.metadata, command).await?
    else {
        return Err(Code::InternalError.into());
    };
    let text = version.checksum.as_ref().and_then(|sum| body::checksum_text(sum, 0));
    let shown = text.as_ref().map(|(algorithm, text, kind)| xml::Checksum {
        algorithm: *algorithm,
        text,
        kind: Some(*kind),
    });
    let mut reply = Reply::xml(|out| xml::object::copied(&version.etag(), version.modified_ms, shown, out));
    if !version.null_version {
        reply.lines().header("x-amz-version-id", version.version_id.to_hex());
    }
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
    let algorithm = part_algorithm(&upload).map(|(algorithm, _)| algorithm);
    let copied = copy_range(ex, part_partition(ex, number)?, &source, range, algorithm).await?;
    let part = part_record(ex.now_ms, number, &copied.blob, algorithm.is_some());
    let command = ex.command(Kind::PutPart(PutPart {
        bucket: ex.bucket()?.to_owned(),
        key: ex.key()?.to_owned(),
        upload_id: id,
        part,
    }));
    body::commit(copied.finished, &ex.service.metadata, command).await?;
    let text = copied.checksum.as_ref().map(|value| (value.algorithm(), value.to_base64()));
    let shown =
        text.as_ref().map(|(algorithm, text)| xml::Checksum { algorithm: *algorithm, text, kind: None });
    let etag = hex::encode(copied.md5);
    Ok(Reply::xml(|out| xml::multipart::part_copied(&etag, ex.now_ms, shown, out)))
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

/// A blob that was written from another object.
struct Copied {
    blob: BlobRef,
    md5: [u8; 16],
    checksum: Option<Value>,
    finished: Finished,
}

/// Copies a range of `source` into a new blob of `partition`.
async fn copy_range(
    ex: &mut Exchange<'_, '_>,
    partition: Partition,
    source: &Arc<VersionRecord>,
    range: std::ops::Range<u64>,
    algorithm: Option<Algorithm>,
) -> S3Result<Copied> {
    let size = range.end - range.start;
    let plan = Plan { md5: true, sha256: false, checksum: algorithm.map(body::to_engine) };
    let data_id = ex.service.new_data_id(ex.now_ms);
    let bytes = &ex.service.bytes;
    // A copy holds buffers for both of its sides: all at once could wait for one another for ever.
    let _turn = bytes.copy_turn().await;
    let mut writer = BlobWriter::new(bytes, partition, data_id, Profile::for_nodes(1), Some(size), plan)?;
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
    let Digests { md5, checksum, .. } = writer.end().await?;
    let finished = writer.finish().await?;
    let md5 = md5.unwrap_or_default();
    let checksum = algorithm.zip(checksum).and_then(|(algorithm, sum)| Value::new(algorithm, sum.as_bytes()));
    let blob = body::record_of(&finished, size, md5, checksum.as_ref());
    Ok(Copied { blob, md5, checksum, finished })
}
