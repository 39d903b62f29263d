//! Translates between the headers of requests and responses and stored records.

use engine::hash::Checksum;
use raft::command::{Precondition, Selector};
use raft::record::VersionRecord;

use super::Exchange;
use crate::checksum;
use crate::condition::Conditions;
use crate::error::S3Result;
use crate::http::response::ResponseHead;
use crate::xml;

/// Writes the version id, unless clients know the version as `null`.
pub(super) fn write_version_id(lines: &mut ResponseHead<'_>, version: &VersionRecord) {
    if !version.null_version {
        lines.header("x-amz-version-id", version.version_id.to_hex());
    }
}

/// The precondition of a write on the current object. It is checked here, so that no body is received in vain, and
/// again by apply, whose result is decisive.
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

/// The precondition of a write on the current object, if only apply checks it.
pub(super) fn precondition_for_apply(ex: &Exchange<'_, '_>) -> S3Result<Option<Precondition>> {
    let conditions = Conditions::from_head(ex.head);
    conditions.check_writable()?;
    let tags = conditions.required_tags();
    if tags.is_none() && !conditions.requires_absence() {
        return Ok(None);
    }
    Ok(Some(Precondition {
        if_match_any: tags.is_some_and(<[String]>::is_empty),
        if_match: tags.unwrap_or_default().to_vec(),
        if_none_match_any: conditions.requires_absence(),
        if_none_match: Vec::new(),
    }))
}

/// A version's checksum in the form that clients read.
pub(super) fn checksum_of(version: &VersionRecord) -> Option<xml::Checksum> {
    let stored = version.checksum.as_ref()?;
    let (value, kind) = (stored.value()?, stored.kind());
    let text = checksum::text(&value, kind, version.part_count);
    Some(xml::Checksum { algorithm: value.algorithm(), text, kind })
}

/// Writes the checksum of what the client sent.
pub(super) fn write_checksum(lines: &mut ResponseHead<'_>, value: &Checksum) {
    lines.header(checksum::header(value.algorithm()), checksum::base64_encode(value.as_bytes()));
}
