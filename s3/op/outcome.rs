//! From what lies below to what the client is told: one table for outcomes, one for failures.

use raft::command::Outcome;

use crate::error::{Code, S3Error, S3Result};

/// The outcome of a command that was not refused.
pub(super) fn accepted(outcome: Outcome) -> S3Result<Outcome> {
    let refusal = match outcome {
        Outcome::Done | Outcome::Written { .. } | Outcome::Deleted { .. } => return Ok(outcome),
        Outcome::NoSuchBucket => Code::NoSuchBucket.into(),
        Outcome::BucketAlreadyExists { same_owner: true } => Code::BucketAlreadyOwnedByYou.into(),
        Outcome::BucketAlreadyExists { same_owner: false } => Code::BucketAlreadyExists.into(),
        Outcome::BucketNotEmpty => Code::BucketNotEmpty.into(),
        Outcome::NoSuchKey => Code::NoSuchKey.into(),
        Outcome::PreconditionFailed => Code::PreconditionFailed.into(),
        Outcome::NoSuchUpload => Code::NoSuchUpload.into(),
        Outcome::InvalidPart { number } => Code::InvalidPart.field("PartNumber", number.to_string()),
        Outcome::InvalidPartOrder => Code::InvalidPartOrder.into(),
        Outcome::EntityTooSmall { number, size } => Code::EntityTooSmall
            .field("PartNumber", number.to_string())
            .field("ProposedSize", size.to_string())
            .field("MinSizeAllowed", crate::limits::PART_BYTES_MIN.to_string()),
        Outcome::EntityTooLarge => Code::EntityTooLarge.into(),
        Outcome::BadChecksum => Code::BadDigest.into(),
        Outcome::SizeMismatch => {
            Code::InvalidRequest.with("x-amz-mp-object-size is not the sum of the parts' sizes.")
        }
        Outcome::InvalidKey => Code::InvalidURI.into(),
        Outcome::Superseded => {
            Code::SlowDown.with("The write was superseded while its outcome was unknown. Try again.")
        }
        Outcome::InvalidRecord | Outcome::UnknownCommand => Code::InternalError.into(),
    };
    Err(refusal)
}

impl From<raft::Error> for S3Error {
    fn from(error: raft::Error) -> S3Error {
        match error {
            raft::Error::TooLarge { .. } => Code::MaxMessageLengthExceeded.into(),
            raft::Error::InvalidName(_) => Code::InvalidURI.into(),
            raft::Error::Bytes(error) => error.into(),
            raft::Error::Unavailable(why) => Code::SlowDown.with(why),
            raft::Error::OutcomeUnknown => {
                Code::ServiceUnavailable.with("The outcome of the write is not known. Try again.")
            }
            other => Code::InternalError.with(other.to_string()),
        }
    }
}

impl From<engine::Error> for S3Error {
    fn from(error: engine::Error) -> S3Error {
        match error {
            engine::Error::Full => Code::InsufficientStorage.into(),
            engine::Error::Busy(why) => Code::SlowDown.with(why),
            engine::Error::Closed => Code::ServiceUnavailable.into(),
            other => Code::InternalError.with(other.to_string()),
        }
    }
}
