//! CreateMultipartUpload, UploadPart, AbortMultipartUpload (AWS, "CreateMultipartUpload", "UploadPart",
//! "AbortMultipartUpload").

use std::sync::Arc;

use engine::placement::{self, Partition};
use raft::command::{AbortUpload, CreateUpload, Kind};
use raft::record::{Bytes16, ChecksumSpec, UploadRecord};

use super::{Exchange, headers, receive};
use crate::checksum;
use crate::conn::Reply;
use crate::error::{Code, S3Error, S3Result};
use crate::limits;
use crate::meta;
use crate::xml;

/// Answers CreateMultipartUpload.
pub(super) async fn create(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    let asked = checksum::multipart_from_head(ex.head)?;
    let headers = meta::stored_headers(ex.head)?;
    let bucket = ex.existing_bucket().await?.to_owned();
    let key = ex.key()?.to_owned();
    let upload_id = Bytes16::from(ex.service.new_id(ex.now_ms));
    let upload = UploadRecord {
        upload_id,
        bucket: bucket.clone(),
        key: key.clone(),
        created_ms: ex.now_ms,
        headers: Some(headers),
        checksum: asked,
        ..UploadRecord::default()
    };
    ex.commit(Kind::CreateUpload(CreateUpload { upload })).await?;
    let mut reply = Reply::xml(|out| xml::multipart::initiated(&bucket, &key, &upload_id.to_hex(), out));
    if let Some((algorithm, kind)) = asked.and_then(ChecksumSpec::known) {
        reply
            .lines()
            .header("x-amz-checksum-algorithm", checksum::name(algorithm))
            .header("x-amz-checksum-type", checksum::type_name(kind));
    }
    Ok(reply)
}

/// The `uploadId` of a request; one that can't be ours names no upload.
pub(super) fn upload_id(ex: &Exchange<'_, '_>) -> S3Result<Bytes16> {
    let text = ex.head.query().get("uploadId")?.unwrap_or_default();
    Bytes16::from_hex(&text).ok_or_else(|| no_such_upload(ex))
}

/// The refusal of an upload that is not there.
pub(super) fn no_such_upload(ex: &Exchange<'_, '_>) -> S3Error {
    Code::NoSuchUpload.field("UploadId", ex.head.query().get("uploadId").ok().flatten().unwrap_or_default())
}

/// The `partNumber` of a request.
pub(super) fn part_number(ex: &Exchange<'_, '_>) -> S3Result<u32> {
    parse_part_number(&ex.head.query().get("partNumber")?.unwrap_or_default())
}

/// Reads a `partNumber`.
pub(super) fn parse_part_number(text: &str) -> S3Result<u32> {
    text.parse().ok().filter(|number| (1..=limits::PART_NUMBER_MAX).contains(number)).ok_or_else(|| {
        Code::InvalidArgument
            .with("Part number must be an integer between 1 and 10000, inclusive")
            .field("ArgumentName", "partNumber")
            .field("ArgumentValue", text)
    })
}

/// The upload of a request, which has to exist.
pub(super) async fn upload(ex: &Exchange<'_, '_>, id: Bytes16) -> S3Result<Arc<UploadRecord>> {
    let (bucket, key) = (ex.bucket()?, ex.key()?);
    match ex.service.metadata.upload(bucket, key, id).await? {
        Some(upload) => Ok(upload),
        None => {
            ex.existing_bucket().await?;
            Err(no_such_upload(ex))
        }
    }
}

/// The partition of a part's blob.
pub(super) fn part_partition(ex: &Exchange<'_, '_>, number: u32) -> S3Result<Partition> {
    Ok(placement::partition_of_part(ex.bucket()?, ex.key()?.as_bytes(), number as u16))
}

/// Answers UploadPart.
pub(super) async fn upload_part(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    let number = part_number(ex)?;
    let id = upload_id(ex)?;
    let upload = upload(ex, id).await?;
    let asked = upload.checksum.and_then(|spec| spec.algorithm());
    if let (Some(asked), Some(sent)) = (asked, checksum::Wanted::from_head(ex.head)?.algorithm())
        && asked != sent
    {
        return Err(Code::InvalidRequest.with(format!(
            "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
            checksum::name(asked).to_lowercase(),
            checksum::name(sent).to_lowercase()
        )));
    }
    let partition = part_partition(ex, number)?;
    let received = receive::receive(ex, partition, asked).await?;
    let (etag, checksum) = (received.md5().to_hex(), received.checksum);
    received.put_part(ex, id, number, asked.is_some()).await?;
    let mut reply = Reply::empty(200);
    let mut lines = reply.lines();
    lines.etag(&etag);
    if let Some(checksum) = &checksum {
        headers::write_checksum(&mut lines, checksum);
    }
    Ok(reply)
}

/// Answers AbortMultipartUpload.
pub(super) async fn abort(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    let id = upload_id(ex)?;
    let (bucket, key) = (ex.bucket()?.to_owned(), ex.key()?.to_owned());
    match ex.commit(Kind::AbortUpload(AbortUpload { bucket, key, upload_id: id })).await {
        Ok(_) => Ok(Reply::empty(204)),
        Err(error) if error.code() == Code::NoSuchUpload => Err(no_such_upload(ex)),
        Err(error) => Err(error),
    }
}
