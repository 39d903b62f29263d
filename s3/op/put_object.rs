//! PutObject (AWS, "PutObject").

use raft::command::{Kind, Outcome, PutVersion};
use raft::record::{VersionKind, VersionRecord};

use super::body::{self, Received};
use super::{Exchange, outcome};
use crate::condition;
use crate::conn::Reply;
use crate::error::{Code, S3Result};
use crate::meta;

/// Answers PutObject.
pub(super) async fn put(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    meta::check_unsupported(ex.head)?;
    let bucket = ex.existing_bucket().await?.to_owned();
    let key = ex.key()?.to_owned();
    let headers = meta::stored_headers(ex.head)?;
    let precondition = condition::write_precondition(ex.head)?;
    let partition = ex.partition()?;
    let received = body::receive(ex, partition).await?;
    let Received { blob, md5, checksum, finished } = received;
    let version = VersionRecord {
        version_id: ex.service.new_id(ex.now_ms).into(),
        null_version: false,
        kind: VersionKind::Object.into(),
        modified_ms: ex.now_ms,
        size: blob.size,
        md5: md5.into(),
        part_count: 0,
        headers,
        checksum: checksum.as_ref().map(body::full_object_record),
        blobs: if blob.size > 0 { vec![blob] } else { Vec::new() },
        storage_class: None,
        owner: ex.owner.to_owned(),
        proposed_id: None,
    };
    let command = ex.command(Kind::PutVersion(PutVersion { bucket, key, version, precondition }));
    let committed = finished.commit(&ex.service.metadata, command).await?;
    let Outcome::Written { version } = outcome::accepted(committed)? else {
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
