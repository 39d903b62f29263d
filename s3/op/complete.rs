//! CompleteMultipartUpload (AWS, "CompleteMultipartUpload").

use engine::hash::{self, ChecksumAlgorithm};
use raft::command::{CompleteUpload, CompletedPart, Kind, Outcome};
use raft::record::{Bytes16, Checksum, ChecksumSpec, ChecksumType};

use super::multipart::{no_such_upload, upload, upload_id};
use super::{Exchange, document, headers};
use crate::checksum::{self, Wanted};
use crate::conn::Reply;
use crate::error::{Code, S3Result};
use crate::xml::{self, request};

/// Answers CompleteMultipartUpload.
pub(super) async fn complete(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    let id = upload_id(ex)?;
    let precondition = headers::write_precondition(ex).await?;
    let expected = expected_checksum(ex)?;
    let expected_size = match ex.head.header_str("x-amz-mp-object-size") {
        None => None,
        Some(text) => Some(
            text.parse::<u64>()
                .map_err(|_| Code::InvalidArgument.with("x-amz-mp-object-size must be a number of bytes"))?,
        ),
    };
    let document = document::read_as(ex, &Wanted::default()).await?;
    let parts = request::complete(&document)?;
    let upload = upload(ex, id).await?;
    let spec = upload.checksum.and_then(ChecksumSpec::known);
    let mut listed = Vec::with_capacity(parts.len());
    for part in parts {
        let invalid = || Code::InvalidPart.field("PartNumber", part.number.to_string());
        if let (Some(sum), Some((algorithm, _))) = (&part.checksum, spec)
            && sum.algorithm() != algorithm
        {
            return Err(invalid());
        }
        listed.push(CompletedPart {
            number: part.number,
            md5: Bytes16::from_hex(&part.etag).ok_or_else(invalid)?,
            checksum: part
                .checksum
                .as_ref()
                .filter(|_| spec.is_some())
                .map(|sum| sum.as_bytes().to_vec())
                .unwrap_or_default(),
        });
    }
    let expected_checksum = expected.map(|(value, kind)| {
        let kind = kind.or(spec.map(|(_, kind)| kind)).unwrap_or(ChecksumType::FullObject);
        Checksum::new(&value, kind)
    });
    let (bucket, key) = (ex.bucket()?.to_owned(), ex.key()?.to_owned());
    let command = CompleteUpload {
        bucket: bucket.clone(),
        key: key.clone(),
        upload_id: id,
        parts: listed,
        version_id: ex.service.new_id(ex.now_ms).into(),
        precondition,
        expected_checksum,
        expected_size,
    };
    let version = match ex.commit(Kind::CompleteUpload(command)).await {
        Ok(Outcome::Written { version }) => version,
        Ok(_) => return Err(Code::InternalError.into()),
        Err(error) if error.code() == Code::NoSuchUpload => return Err(no_such_upload(ex)),
        Err(error) => return Err(error),
    };
    let host = String::from_utf8_lossy(ex.head.host()).into_owned();
    let location = format!("http://{host}/{bucket}/{}", path_text(&key));
    let checksum = headers::checksum_of(&version);
    let mut reply = Reply::xml(|out| {
        xml::multipart::completed(&location, &bucket, &key, &version.etag(), checksum.as_ref(), out);
    });
    headers::write_version_id(&mut reply.lines(), &version);
    Ok(reply)
}

/// A key as it stands in a URL.
fn path_text(key: &str) -> String {
    let mut text = Vec::new();
    crate::uri::encode_into(key.as_bytes(), crate::uri::Set::Path, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// The checksum of the whole object that the client expects, by header; a composite one may carry `-N`.
fn expected_checksum(ex: &Exchange<'_, '_>) -> S3Result<Option<(hash::Checksum, Option<ChecksumType>)>> {
    let asked = checksum::checksum_type_from_head(ex.head)?;
    let mut found = None;
    for algorithm in ChecksumAlgorithm::ALL {
        let Some(text) = ex.head.header_str(checksum::header(algorithm)) else { continue };
        let (value, parts) = checksum::split_composite(text);
        let kind = asked.or(parts.map(|_| ChecksumType::Composite));
        if found.replace((checksum::parse(algorithm, value.as_bytes())?, kind)).is_some() {
            return Err(checksum::one_checksum());
        }
    }
    Ok(found)
}
