//! PutObject (AWS, "PutObject").

use super::receive::NewObject;
use super::{Exchange, headers, receive};
use crate::checksum;
use crate::conn::Reply;
use crate::error::S3Result;
use crate::meta;

/// Answers PutObject.
pub(super) async fn put(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    let headers = Some(meta::stored_headers(ex.head)?);
    let storage_class = meta::storage_class(ex.head)?;
    let precondition = headers::write_precondition(ex).await?;
    ex.existing_bucket().await?;
    let partition = ex.partition()?;
    let received = receive::receive(ex, partition, checksum::DEFAULT).await?;
    let checksum = received.checksum();
    let version = received.put_version(ex, NewObject { headers, storage_class, precondition }).await?;
    let mut reply = Reply::empty(200);
    let mut lines = reply.lines();
    lines.etag(&version.etag());
    headers::write_version_id(&mut lines, &version);
    if let Some(checksum) = &checksum {
        headers::write_checksum(&mut lines, checksum);
        lines.header("x-amz-checksum-type", "FULL_OBJECT");
    }
    Ok(reply)
}
