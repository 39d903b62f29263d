//! Conditional writes (AWS, "Conditional requests"): decided where the write is ordered, against what it would
//! replace.
//!
//! `If-Match` without a current object is answered NoSuchKey, for writes and deletes alike, and a delete marker is
//! not an object. AWS was measured to do so, though RFC 9110 asks for PreconditionFailed.

use crate::{
    command::{Outcome, Precondition},
    record::{Bytes16, etag},
};

/// What a precondition applies to: the MD5 and part count of the current object; `None` if there is none.
pub(super) type Target = Option<(Bytes16, u32)>;

/// The refusal, if the precondition is not true of the target.
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
