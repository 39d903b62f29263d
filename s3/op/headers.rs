//! Between the headers of requests and answers and what is stored of them.

use engine::hash::Checksum;
use raft::command::{Precondition, Selector};
use raft::record::VersionRecord;

use super::Exchange;
use crate::checksum;
use crate::condition::Conditions;
use crate::error::S3Result;
use crate::http::response::ResponseHead;
use crate::xml;

/// Names the version, unless clients know it as `null`.
pub(super) fn write_version_id(lines: &mut ResponseHead<'_>, version: &VersionRecord) {
    if !version.null_version {
        lines.header("x-amz-version-id", version.version_id.to_hex());
    }
}

/// What a write demands of the present object: checked now, so that no body is received in vain, and again by
/// apply, where it counts.
pub(super) async fn write_precondition(ex: &Exchange<'_, '_>) -> S3Result<Option<Precondition>> {
    let precondition = precondition_for_apply(ex)?;
    if precondition.is_some() {
        let current = ex.service.metadata.resolve(ex.bucket()?, ex.key()?, Selector::Current(true)).await?;
        let etag = current.filter(|version| !version.is_delete_marker()).map(|version| version.etag());
        if etag.is_none() {
            ex.existing_bucket().await?;
        }
        Conditions::from_head(ex.head).check_write(etag.as_deref())?;
    }
    Ok(precondition)
}

/// What a write demands of the present object, where apply alone decides.
pub(super) fn precondition_for_apply(ex: &Exchange<'_, '_>) -> S3Result<Option<Precondition>> {
    let conditions = Conditions::from_head(ex.head);
    conditions.check_writable()?;
    let tags = conditions.demanded_tags();
    if tags.is_none() && !conditions.demands_absence() {
        return Ok(None);
    }
    Ok(Some(Precondition {
        if_match_any: tags.is_some_and(<[String]>::is_empty),
        if_match: tags.unwrap_or_default().to_vec(),
        if_none_match_any: conditions.demands_absence(),
        if_none_match: Vec::new(),
    }))
}

/// A version's checksum as clients read it.
pub(super) fn checksum_of(version: &VersionRecord) -> Option<xml::Checksum> {
    let stored = version.checksum.as_ref()?;
    let (value, kind) = (stored.value()?, stored.kind());
    let text = checksum::text(&value, kind, version.part_count);
    Some(xml::Checksum { algorithm: value.algorithm(), text, kind })
}

/// Tells a client the checksum of what it sent.
pub(super) fn write_checksum(lines: &mut ResponseHead<'_>, value: &Checksum) {
    lines.header(checksum::header(value.algorithm()), checksum::base64_encode(value.as_bytes()));
}
