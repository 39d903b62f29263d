//! The operations on buckets themselves, and ListBuckets.

use raft::command::{CreateBucket, DeleteBucket, Kind};

use super::listing::{limit, read_token, write_token};
use super::{Exchange, OWNER, document, no_such_bucket};
use crate::conn::Reply;
use crate::error::{Code, S3Result};
use crate::xml;

/// The most buckets on one page (AWS, "ListBuckets").
const PAGE_MAX: u32 = 10_000;

/// Answers ListBuckets (AWS, "ListBuckets").
pub(super) async fn list(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    let query = ex.head.query();
    let max = limit(&query, "max-buckets", PAGE_MAX)?;
    if max == 0 {
        return Err(Code::InvalidArgument.with("max-buckets must be at least 1"));
    }
    let prefix = query.get("prefix")?;
    let region = query.get("bucket-region")?;
    // AWS documents an empty token here, but not for objects.
    let token = query.get("continuation-token")?.filter(|token| !token.is_empty());
    let marker = token.map(|token| read_token(&token)).transpose()?;
    let here = ex.service.region();
    let (buckets, more) = if region.as_deref().is_some_and(|region| region != here) {
        (Vec::new(), false)
    } else {
        let metadata = &ex.service.metadata;
        metadata
            .list_buckets(
                prefix.as_deref().unwrap_or_default(),
                marker.as_deref().unwrap_or_default(),
                max as usize,
            )
            .await?
    };
    let next = buckets.last().filter(|_| more).map(|bucket| write_token(&bucket.name));
    Ok(Reply::xml(|out| {
        xml::list::buckets(OWNER, prefix.as_deref(), &here, &buckets, next.as_deref(), out);
    }))
}

/// Answers CreateBucket (AWS, "CreateBucket").
pub(super) async fn create(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    let document = document::read(ex).await?;
    let here = ex.service.region();
    if let Some(region) = xml::request::create_bucket(&document).await?.filter(|region| *region != here) {
        return Err(Code::IllegalLocationConstraintException.with(format!(
            "The {region} location constraint is incompatible for the region specific endpoint this request was sent to."
        )));
    }
    let name = ex.bucket()?.to_owned();
    let location = format!("/{name}");
    match ex.commit(Kind::CreateBucket(CreateBucket { name, owner: OWNER.id.to_owned() })).await {
        // In us-east-1 it is no error to create a bucket that one already owns (AWS, "CreateBucket").
        Err(error) if error.code() == Code::BucketAlreadyOwnedByYou && here == "us-east-1" => {}
        created => drop(created?),
    }
    let mut reply = Reply::empty(200);
    reply.lines().header("Location", location);
    Ok(reply)
}

/// Answers HeadBucket (AWS, "HeadBucket").
pub(super) async fn head(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    ex.existing_bucket().await?;
    let mut reply = Reply::empty(200);
    reply
        .lines()
        .header("x-amz-bucket-region", ex.service.region())
        .header("x-amz-access-point-alias", "false");
    Ok(reply)
}

/// Answers DeleteBucket (AWS, "DeleteBucket").
pub(super) async fn delete(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    let name = ex.bucket()?.to_owned();
    match ex.commit(Kind::DeleteBucket(DeleteBucket { name: name.clone() })).await {
        Ok(_) => Ok(Reply::empty(204)),
        Err(error) if error.code() == Code::NoSuchBucket => Err(no_such_bucket(&name)),
        Err(error) => Err(error),
    }
}

/// Answers GetBucketLocation (AWS, "GetBucketLocation").
pub(super) async fn location(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    ex.existing_bucket().await?;
    let region = ex.service.region();
    Ok(Reply::xml(|out| xml::list::location(&region, out)))
}
