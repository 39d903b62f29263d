//! Between the headers of requests and answers and what is stored of them.

use raft::command::{Precondition, Selector};
use raft::record::{ObjectHeaders, UserMetadata};

use super::Exchange;
use crate::condition::Conditions;
use crate::error::S3Result;
use crate::http::response::ResponseHead;
use crate::meta::{Overrides, StoredHeaders};

/// The headers of a request that are stored with its object.
pub(super) fn stored(ex: &Exchange<'_, '_>) -> S3Result<ObjectHeaders> {
    let headers = StoredHeaders::from_head(ex.head)?;
    Ok(ObjectHeaders {
        content_type: headers.content_type,
        cache_control: headers.cache_control,
        content_disposition: headers.content_disposition,
        content_encoding: headers.content_encoding,
        content_language: headers.content_language,
        expires: headers.expires,
        website_redirect: None,
        user_metadata: headers.user.into_iter().map(|(name, value)| UserMetadata { name, value }).collect(),
    })
}

/// Writes what is stored into an answer, the request's overrides in its place.
pub(super) fn write(
    ex: &Exchange<'_, '_>,
    stored: Option<&ObjectHeaders>,
    lines: &mut ResponseHead<'_>,
) -> S3Result<()> {
    let stored = stored.cloned().unwrap_or_default();
    let headers = StoredHeaders {
        content_type: stored.content_type,
        cache_control: stored.cache_control,
        content_disposition: stored.content_disposition,
        content_encoding: stored.content_encoding,
        content_language: stored.content_language,
        expires: stored.expires,
        user: stored.user_metadata.into_iter().map(|entry| (entry.name, entry.value)).collect(),
    };
    headers.write(lines, &Overrides::from_query(ex.head.query())?);
    Ok(())
}

/// What a write demands of the present object: checked now, so that no body is received in vain, and again by
/// apply, where it counts.
pub(super) async fn write_precondition(ex: &Exchange<'_, '_>) -> S3Result<Option<Precondition>> {
    let conditions = Conditions::from_head(ex.head);
    let tags = conditions.demanded_tags();
    if tags.is_none() && !conditions.demands_absence() {
        // Whatever else was asked for is refused here.
        conditions.check_write(None)?;
        return Ok(None);
    }
    let current = ex.service.metadata.resolve(ex.bucket()?, ex.key()?, Selector::Current(true)).await?;
    conditions.check_write(
        current.filter(|version| !version.is_delete_marker()).map(|version| version.etag()).as_deref(),
    )?;
    Ok(Some(Precondition {
        if_match_any: tags.is_some_and(<[String]>::is_empty),
        if_match: tags.unwrap_or_default().to_vec(),
        if_none_match_any: conditions.demands_absence(),
        if_none_match: Vec::new(),
    }))
}
