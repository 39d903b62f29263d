//! CompleteMultipartUpload (AWS, "CompleteMultipartUpload").
//!
//! A client that lost the response repeats the request and must get the same response. The upload no longer exists
//! then, so whatever depends on it is checked here only while it is open. Apply compares the rest.

use engine::hash::{self, ChecksumAlgorithm};
use raft::command::{CompleteUpload, CompletedPart, Kind, Outcome};
use raft::read::UploadState;
use raft::record::{Bytes16, Checksum, ChecksumSpec, ChecksumType};

use super::document::Document;
use super::multipart::{commit, missing_upload, upload_id};
use super::{Exchange, document, headers};
use crate::checksum::{self, DeclaredDigests};
use crate::conn::Reply;
use crate::error::{Code, S3Error, S3Result};
use crate::uri;
use crate::xml;
use crate::xml::request::{self, CompletePart};

/// Answers CompleteMultipartUpload.
pub(super) async fn complete(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    let upload_id = upload_id(ex).await?;
    let precondition = headers::precondition_for_apply(ex)?;
    let kind = checksum::checksum_type_from_head(ex.head)?;
    let value = object_checksum(ex)?;
    let expected_size = object_size(ex)?;
    let parts = request::complete(&read_document(ex).await?).await?;
    let spec = match ex.service.metadata.upload_state(ex.bucket()?, ex.key()?, upload_id).await? {
        Some(UploadState::Open(upload)) => {
            if let Some((algorithm, kind)) = upload.checksum.and_then(ChecksumSpec::known) {
                check_parts(&parts, algorithm, kind)?;
            }
            upload.checksum
        }
        Some(UploadState::Completed(version)) => {
            engine::reach!("complete-of-a-completed-upload");
            version.checksum.map(|checksum| checksum.spec())
        }
        None => return Err(missing_upload(ex).await),
    };
    let spec = spec.unwrap_or(ChecksumSpec::DEFAULT);
    if let Some(kind) = kind.filter(|kind| *kind != spec.kind()) {
        return Err(Code::BadDigest.with(format!(
            "The checksum type {} is not that of the upload, {}.",
            checksum::type_name(kind),
            checksum::type_name(spec.kind())
        )));
    }
    let (bucket, key) = (ex.bucket()?.to_owned(), ex.key()?.to_owned());
    let command = CompleteUpload {
        bucket: bucket.clone(),
        key: key.clone(),
        upload_id,
        parts: parts.iter().map(|part| completed(part, spec)).collect::<S3Result<_>>()?,
        version_id: ex.service.new_id(ex.now_ms).into(),
        precondition,
        expected_checksum: value.map(|(value, kind)| Checksum::new(&value, kind.unwrap_or(spec.kind()))),
        expected_size,
    };
    let Outcome::Written { version } = commit(ex, Kind::CompleteUpload(command)).await? else {
        return Err(Code::InternalError.into());
    };
    let location = location(ex, &bucket, &key);
    let checksum = headers::checksum_of(&version);
    let mut reply = Reply::xml(|out| {
        xml::multipart::completed(&location, &bucket, &key, &version.etag(), checksum.as_ref(), out);
    });
    headers::write_version_id(&mut reply.lines(), &version);
    Ok(reply)
}

/// Reads the body. Its checksum headers describe the object; only Content-MD5 describes the body.
async fn read_document(ex: &mut Exchange<'_, '_>) -> S3Result<Document> {
    let content_md5 = ex.head.header("content-md5").map(checksum::parse_content_md5).transpose()?;
    document::read_as(ex, &DeclaredDigests { content_md5, ..DeclaredDigests::default() }).await
}

/// Checks the part list of an upload that was created with a checksum: its numbers have no gaps, and for a composite
/// checksum each part states its own (AWS, "CompletedPart"; "Checking object integrity").
fn check_parts(parts: &[CompletePart], algorithm: ChecksumAlgorithm, kind: ChecksumType) -> S3Result<()> {
    for (part, number) in parts.iter().zip(1_u32..) {
        match part.checksum.map(|checksum| checksum.algorithm()) {
            Some(other) if other != algorithm => return Err(invalid_part(part)),
            None if kind == ChecksumType::Composite => {
                return Err(Code::InvalidRequest.with(format!(
                    "The upload was created using a {} checksum. The complete request must include the checksum for \
                     each part. It was missing for part {} in the request.",
                    checksum::name(algorithm).to_lowercase(),
                    u32::from(part.number)
                )));
            }
            _ => {}
        }
        if u32::from(part.number) != number {
            return Err(Code::InvalidPartOrder
                .with("The part numbers of an upload with a checksum must start at 1 and have no gaps."));
        }
    }
    Ok(())
}

/// A part in the form that apply compares. A checksum of another algorithm than that of the upload is dropped: it says
/// nothing about what is stored.
fn completed(part: &CompletePart, spec: ChecksumSpec) -> S3Result<CompletedPart> {
    let checksum = part.checksum.filter(|checksum| Some(checksum.algorithm()) == spec.algorithm());
    Ok(CompletedPart {
        number: part.number.into(),
        md5: Bytes16::from_hex(&part.etag).ok_or_else(|| invalid_part(part))?,
        checksum: checksum.map(|checksum| checksum.as_bytes().to_vec()).unwrap_or_default(),
    })
}

fn invalid_part(part: &CompletePart) -> S3Error {
    Code::InvalidPart.field("PartNumber", u32::from(part.number).to_string())
}

/// The object's URL, in the style in which the client addressed it.
fn location(ex: &Exchange<'_, '_>, bucket: &str, key: &str) -> String {
    let scheme = if ex.service.tls().is_some() { "https" } else { "http" };
    let mut url = format!("{scheme}://{}/", String::from_utf8_lossy(ex.head.host())).into_bytes();
    if !ex.route.virtual_host {
        url.extend_from_slice(bucket.as_bytes());
        url.push(b'/');
    }
    uri::encode_into(key.as_bytes(), uri::Set::Path, &mut url);
    String::from_utf8_lossy(&url).into_owned()
}

/// The size that the client expects the object to have, bytes.
fn object_size(ex: &Exchange<'_, '_>) -> S3Result<Option<u64>> {
    let size = ex.head.header_str("x-amz-mp-object-size").map(str::parse).transpose();
    size.map_err(|_| Code::InvalidArgument.with("x-amz-mp-object-size must be a number of bytes"))
}

/// The checksum that the client expects the object to have, from a header; a composite one may end in `-N`.
fn object_checksum(ex: &Exchange<'_, '_>) -> S3Result<Option<(hash::Checksum, Option<ChecksumType>)>> {
    let mut found = None;
    for algorithm in ChecksumAlgorithm::ALL {
        // As everywhere, one in the query of a presigned URL does not count.
        let sent = ex.head.sent_header_all(checksum::header(algorithm)).next();
        let Some(text) = sent.and_then(|text| std::str::from_utf8(text).ok()) else { continue };
        let (value, parts) = checksum::split_composite(text);
        let kind = parts.map(|_| ChecksumType::Composite);
        if found.replace((checksum::parse(algorithm, value.as_bytes())?, kind)).is_some() {
            return Err(checksum::one_checksum());
        }
    }
    Ok(found)
}
