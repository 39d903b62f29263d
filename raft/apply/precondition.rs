//! Conditional writes (AWS, "Conditional requests"): decided where the write is ordered, on what it would replace.
//!
//! `If-Match` where there is no current object is answered NoSuchKey for writes and deletes alike, and a delete
//! marker is no object: so AWS was measured to do, though RFC 9110 would have it PreconditionFailed.

use crate::{
    command::{Outcome, Precondition},
    record::{Bytes16, etag},
};

/// What a precondition is about: the MD5 and the part count of the object there; `None` if there is none.
pub(super) type Target = Option<(Bytes16, u32)>;

/// The refusal, if the precondition does not hold of the target.
pub(super) fn refusal(precondition: Option<&Precondition>, target: Target) -> Option<Outcome> {
    let precondition = precondition?;
    let Some((md5, part_count)) = target else {
        let wants_object = precondition.if_match_any || !precondition.if_match.is_empty();
        return wants_object.then_some(Outcome::NoSuchKey);
    };
    let tag = etag(md5, part_count);
    let Precondition { if_match_any, if_match, if_none_match_any, if_none_match } = precondition;
    let matches = *if_match_any || if_match.is_empty() || if_match.contains(&tag);
    let clashes = *if_none_match_any || if_none_match.contains(&tag);
    (!matches || clashes).then_some(Outcome::PreconditionFailed)
}
