//! CreateMultipartUpload, UploadPart, AbortMultipartUpload (AWS, "CreateMultipartUpload", "UploadPart",
//! "AbortMultipartUpload").

use std::pin::pin;
use std::sync::Arc;

use engine::placement::{self, Partition};
use raft::command::{AbortUpload, CreateUpload, Kind, Outcome};
use raft::record::{Bytes16, ChecksumSpec, UploadRecord};

use super::{Exchange, headers, outcome, receive};
use crate::checksum;
use crate::conn::Reply;
use crate::error::{Code, S3Error, S3Result};
use crate::meta;
use crate::part_number::PartNumber;
use crate::xml;

/// Answers CreateMultipartUpload.
pub(super) async fn create(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    let requested = checksum::multipart_from_head(ex.head)?;
    let headers = meta::stored_headers(ex.head)?;
    let storage_class = meta::storage_class(ex.head)?;
    let bucket = ex.existing_bucket().await?.to_owned();
    let key = ex.key()?.to_owned();
    let upload_id = Bytes16::from(ex.service.new_id(ex.now_ms));
    let upload = UploadRecord {
        upload_id,
        bucket: bucket.clone(),
        key: key.clone(),
        created_ms: ex.now_ms,
        headers: Some(headers),
        checksum: requested,
        storage_class,
    };
    ex.commit(Kind::CreateUpload(CreateUpload { upload })).await?;
    let mut reply = Reply::xml(|out| xml::multipart::initiated(&bucket, &key, &upload_id.to_hex(), out));
    if let Some((algorithm, kind)) = requested.and_then(ChecksumSpec::known) {
        reply
            .lines()
            .header("x-amz-checksum-algorithm", checksum::name(algorithm))
            .header("x-amz-checksum-type", checksum::type_name(kind));
    }
    Ok(reply)
}

/// The `uploadId` of a request; NoSuchUpload if it does not have the form of our ids.
pub(super) async fn upload_id(ex: &Exchange<'_, '_>) -> S3Result<Bytes16> {
    let text = ex.head.query().get("uploadId")?.unwrap_or_default();
    match Bytes16::from_hex(&text) {
        Some(id) => Ok(id),
        None => Err(missing_upload(ex).await),
    }
}

/// The error for a missing upload. A missing bucket takes precedence.
pub(super) async fn missing_upload(ex: &Exchange<'_, '_>) -> S3Error {
    match ex.existing_bucket().await {
        Ok(_) => no_such_upload(ex),
        Err(error) => error,
    }
}

/// NoSuchUpload, with the id of the upload.
fn no_such_upload(ex: &Exchange<'_, '_>) -> S3Error {
    Code::NoSuchUpload.field("UploadId", ex.head.query().get("uploadId").ok().flatten().unwrap_or_default())
}

/// Commits a command on the upload of the request. A refusal names the missing bucket or upload.
pub(super) async fn commit(ex: &mut Exchange<'_, '_>, kind: Kind) -> S3Result<Outcome> {
    let (metadata, command) = (&ex.service.metadata, ex.service.command(kind));
    let committed = ex.with_keepalive(pin!(metadata.commit(command))).await;
    committed.map_err(S3Error::from).and_then(outcome::accepted).map_err(|error| match error.code() {
        Code::NoSuchUpload => no_such_upload(ex),
        _ => error,
    })
}

/// The `partNumber` of a request.
pub(super) fn part_number(ex: &Exchange<'_, '_>) -> S3Result<PartNumber> {
    PartNumber::parse(&ex.head.query().get("partNumber")?.unwrap_or_default())
}

/// The upload of a request, which must exist.
pub(super) async fn upload(ex: &Exchange<'_, '_>, id: Bytes16) -> S3Result<Arc<UploadRecord>> {
    match ex.service.metadata.upload(ex.bucket()?, ex.key()?, id).await? {
        Some(upload) => Ok(upload),
        None => Err(missing_upload(ex).await),
    }
}

/// The partition of a part's blob.
pub(super) fn part_partition(ex: &Exchange<'_, '_>, number: PartNumber) -> S3Result<Partition> {
    Ok(placement::partition_of_part(ex.bucket()?, ex.key()?.as_bytes(), number.get()))
}

/// Answers UploadPart.
pub(super) async fn upload_part(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    let number = part_number(ex)?;
    let id = upload_id(ex).await?;
    let upload = upload(ex, id).await?;
    let requested = upload.checksum.and_then(|spec| spec.algorithm());
    if let (Some(requested), Some(sent)) =
        (requested, checksum::DeclaredDigests::from_head(ex.head)?.algorithm())
        && requested != sent
    {
        return Err(Code::InvalidRequest.with(format!(
            "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
            checksum::name(requested).to_lowercase(),
            checksum::name(sent).to_lowercase()
        )));
    }
    let partition = part_partition(ex, number)?;
    let algorithm = requested.unwrap_or(checksum::DEFAULT);
    let received = receive::receive(ex, partition, algorithm).await?;
    let checksum = received.checksum();
    let part = received.put_part(ex, id, number, algorithm).await?;
    let mut reply = Reply::empty(200);
    let mut lines = reply.lines();
    lines.etag(&part.md5.to_hex());
    if let Some(checksum) = &checksum {
        headers::write_checksum(&mut lines, checksum);
    }
    Ok(reply)
}

/// Answers AbortMultipartUpload.
pub(super) async fn abort(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    let id = upload_id(ex).await?;
    let (bucket, key) = (ex.bucket()?.to_owned(), ex.key()?.to_owned());
    commit(ex, Kind::AbortUpload(AbortUpload { bucket, key, upload_id: id })).await?;
    Ok(Reply::empty(204))
}
