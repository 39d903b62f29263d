//! PutObject (AWS, "PutObject").

use raft::command::{Kind, Outcome, PutVersion};
use raft::record::{VersionKind, VersionRecord};

use super::{Exchange, body, headers};
use crate::conn::Reply;
use crate::error::{Code, S3Result};

/// Answers PutObject.
pub(super) async fn put(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    let headers = headers::stored(ex)?;
    let precondition = ex.write_precondition().await?;
    let bucket = ex.existing_bucket().await?.to_owned();
    let key = ex.key()?.to_owned();
    let partition = ex.partition()?;
    let received = body::receive(ex, partition, None).await?;
    let checksum = received.checksum.clone();
    let blob = received.blob.clone();
    let version = VersionRecord {
        version_id: ex.service.new_id(ex.now_ms).into(),
        kind: VersionKind::Object.into(),
        modified_ms: ex.now_ms,
        size: blob.size,
        md5: received.md5.into(),
        headers: Some(headers),
        checksum: checksum.as_ref().map(body::full_object),
        blobs: if blob.size > 0 { vec![blob] } else { Vec::new() },
        ..VersionRecord::default()
    };
    let command = ex.command(Kind::PutVersion(PutVersion { bucket, key, version, precondition }));
    let Outcome::Written { version } = received.commit(&ex.service.metadata, command).await? else {
        return Err(Code::InternalError.into());
    };
    let mut reply = Reply::empty(200);
    let mut lines = reply.lines();
    lines.etag(&version.etag());
    if !version.null_version {
        lines.header("x-amz-version-id", version.version_id.to_hex());
    }
    if let Some(checksum) = &checksum {
        body::write_checksum(&mut lines, checksum);
        lines.header("x-amz-checksum-type", "FULL_OBJECT");
    }
    Ok(reply)
}
