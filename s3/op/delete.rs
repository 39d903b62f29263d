//! DeleteObject and DeleteObjects (AWS, "DeleteObject", "DeleteObjects").

use std::rc::Rc;

use engine::io::{self, Semaphore};
use raft::command::{Command, DeleteVersion, Kind, Outcome, Precondition, Selector};

use super::get_object::{parse_version_id, version_selector};
use super::{Exchange, document, headers, no_such_bucket, outcome};
use crate::access::{self, Principal, Resource};
use crate::checksum::DeclaredDigests;
use crate::conn::Reply;
use crate::error::{Code, S3Error, S3Result};
use crate::name::BucketName;
use crate::service::Service;
use crate::xml::object::{Deleted, deleted};
use crate::xml::request::{self, DeleteObject};

/// How many deletes of one DeleteObjects request run at once: enough to share group commits.
const IN_FLIGHT: usize = if cfg!(sim) { 2 } else { 128 };

/// Answers DeleteObject.
pub(super) async fn one(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    refuse_bypass(ex).await?;
    let selector = version_selector(ex.head.query())?.unwrap_or(Selector::Current(true));
    let precondition = headers::write_precondition(ex).await?;
    let (bucket, key) = (ex.bucket()?.to_owned(), ex.key()?.to_owned());
    let command = command(ex.service, ex.now_ms, bucket, key, selector, precondition);
    let mut reply = Reply::empty(204);
    if let Outcome::Deleted { version_id, null_version, delete_marker, .. } =
        outcome::accepted(ex.service.metadata.commit(command).await?)?
    {
        if delete_marker {
            reply.lines().header("x-amz-delete-marker", "true");
        }
        if let Some(id) = version_id.filter(|_| !null_version) {
            reply.lines().header("x-amz-version-id", id.to_hex());
        }
    }
    Ok(reply)
}

fn command(
    service: &Service,
    now_ms: u64,
    bucket: String,
    key: String,
    selector: Selector,
    precondition: Option<Precondition>,
) -> Command {
    let delete = DeleteVersion {
        bucket,
        key,
        selector: Some(selector),
        marker_version_id: service.new_id(now_ms).into(),
        precondition,
    };
    service.command(Kind::DeleteVersion(delete))
}

/// Refuses to bypass a retention: no bucket has Object Lock, so no object has one.
async fn refuse_bypass(ex: &Exchange<'_, '_>) -> S3Result<()> {
    const HEADER: &str = "x-amz-bypass-governance-retention";
    if ex.head.header(HEADER).is_none_or(|value| value.eq_ignore_ascii_case(b"false")) {
        return Ok(());
    }
    ex.existing_bucket().await?;
    Err(Code::InvalidArgument
        .with(format!("{HEADER} is only applicable to Object Lock enabled buckets."))
        .field("ArgumentName", HEADER))
}

/// One object of a DeleteObjects request, and its result.
struct Row {
    object: DeleteObject,
    result: S3Result<Option<String>>,
}

/// Answers DeleteObjects.
pub(super) async fn many(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    refuse_bypass(ex).await?;
    let declared = DeclaredDigests::from_head(ex.head)?;
    if declared == DeclaredDigests::default() {
        // A body damaged in transit could delete objects other than the intended ones.
        return Err(Code::InvalidRequest.with("Missing required header for this request: Content-MD5"));
    }
    let document = document::read_as(ex, &declared).await?;
    let request = request::delete(&document).await?;
    ex.existing_bucket().await?;
    let bucket = ex.route.bucket.clone().ok_or(Code::InvalidBucketName)?;
    let permits = Semaphore::new(IN_FLIGHT);
    let mut tasks = Vec::with_capacity(request.objects.len());
    for object in request.objects {
        let permit = permits.acquire(1).await;
        let (service, principal) = (Rc::clone(ex.service), ex.principal.clone());
        let (bucket, now_ms) = (bucket.clone(), ex.now_ms);
        tasks.push(io::spawn(async move {
            let result = delete_listed(&service, &principal, now_ms, bucket, &object).await;
            drop(permit);
            Row { object, result }
        }));
    }
    let mut rows = Vec::with_capacity(tasks.len());
    for task in tasks {
        rows.push(task.await.ok_or(Code::InternalError)?);
    }
    let answers = rows.iter().map(|Row { object, result }| match result {
        Ok(marker) => Deleted::Done {
            key: &object.key,
            version_id: object.version_id.as_deref(),
            delete_marker: marker.as_deref(),
        },
        Err(error) => Deleted::Failed { key: &object.key, version_id: object.version_id.as_deref(), error },
    });
    Ok(Reply::xml(|out| deleted(request.quiet, answers, out)))
}

/// Deletes one object of a list; returns the id of the delete marker that replaced it, if any.
async fn delete_listed(
    service: &Service,
    principal: &Principal,
    now_ms: u64,
    bucket: BucketName,
    object: &DeleteObject,
) -> S3Result<Option<String>> {
    let key = object.checked_key()?;
    let action = if object.version_id.is_some() { "s3:DeleteObjectVersion" } else { "s3:DeleteObject" };
    access::authorise(principal, action, Resource { bucket: Some(&bucket), key: Some(&key) })?;
    if object.size.is_some() || object.modified_s.is_some() {
        return Err(Code::NotImplemented.with("Deletes conditional on size or time are not implemented."));
    }
    let selector = match &object.version_id {
        None => Selector::Current(true),
        Some(text) => parse_version_id(text)?,
    };
    let precondition = object.etag.as_deref().map(|etag| match etag {
        "*" => Precondition { if_match_any: true, ..Precondition::default() },
        etag => Precondition { if_match: vec![etag.to_owned()], ..Precondition::default() },
    });
    let (name, key) = (bucket.clone().into_string(), key.into_string());
    let command = command(service, now_ms, bucket.into_string(), key, selector, precondition);
    match outcome::accepted(service.metadata.commit(command).await.map_err(S3Error::from)?) {
        Ok(Outcome::Deleted { version_id: Some(id), delete_marker: true, null_version, .. }) => {
            Ok(Some(if null_version { "null".to_owned() } else { id.to_hex() }))
        }
        Ok(_) => Ok(None),
        Err(error) if error.code() == Code::NoSuchBucket => Err(no_such_bucket(&name)),
        Err(error) => Err(error),
    }
}
