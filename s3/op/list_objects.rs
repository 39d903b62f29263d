//! ListObjects and ListObjectsV2 (AWS, "ListObjects", "ListObjectsV2").

use std::borrow::Cow;

use super::listing::{ListRequest, read_token, write_token};
use super::{Exchange, OWNER};
use crate::conn::Reply;
use crate::error::{Code, S3Result};
use crate::xml::list;

/// Answers ListObjects.
pub(super) async fn v1(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    let query = ex.head.query();
    let request = ListRequest::read(&query, "max-keys")?;
    let marker = query.get("marker")?.unwrap_or_default();
    let bucket = ex.existing_bucket().await?;
    let page = ex.service.metadata.list_objects(request.query(bucket, &marker)).await?;
    request.check_next_marker(page.next.as_deref())?;
    Ok(Reply::xml(|out| list::objects_v1(request.echo(bucket), &marker, &page, OWNER, out)))
}

/// Answers ListObjectsV2.
pub(super) async fn v2(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    let query = ex.head.query();
    let request = ListRequest::read(&query, "max-keys")?;
    let start_after = query.get("start-after")?.filter(|key| !key.is_empty());
    let token = query.get("continuation-token")?;
    let owner = match query.get("fetch-owner")?.as_deref() {
        None | Some("" | "false") => None,
        Some("true") => Some(OWNER),
        Some(_) => return Err(Code::InvalidArgument.with("fetch-owner must be true or false")),
    };
    let marker = match &token {
        Some(token) => Cow::Owned(read_token(token)?),
        None => start_after.clone().unwrap_or_default(),
    };
    let bucket = ex.existing_bucket().await?;
    let page = ex.service.metadata.list_objects(request.query(bucket, &marker)).await?;
    let next = page.next.as_deref().map(write_token);
    let continuation = list::Continuation {
        start_after: start_after.as_deref(),
        token: token.as_deref(),
        next_token: next.as_deref(),
    };
    Ok(Reply::xml(|out| list::objects_v2(request.echo(bucket), continuation, &page.entries, owner, out)))
}
