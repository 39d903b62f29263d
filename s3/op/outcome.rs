//! Translates outcomes and failures of the lower layers to S3 errors: one table for outcomes, one for failures.

use raft::command::Outcome;

use crate::error::{Code, S3Error, S3Result};

/// Turns the outcome of a refused command into an error.
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
                Code::ServiceUnavailable.with("The outcome of the write is unknown. Try again.")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn code_and_status(refused: impl Into<S3Error>) -> (Code, u16) {
        let error = refused.into();
        (error.code(), error.status())
    }

    /// AWS, "Error responses": the code determines what a client does next, and the status whether it retries.
    #[test]
    fn every_refusal_has_its_code_and_status() {
        let cases = [
            (Outcome::NoSuchBucket, Code::NoSuchBucket, 404),
            (Outcome::BucketAlreadyExists { same_owner: true }, Code::BucketAlreadyOwnedByYou, 409),
            (Outcome::BucketAlreadyExists { same_owner: false }, Code::BucketAlreadyExists, 409),
            (Outcome::BucketNotEmpty, Code::BucketNotEmpty, 409),
            (Outcome::NoSuchKey, Code::NoSuchKey, 404),
            (Outcome::PreconditionFailed, Code::PreconditionFailed, 412),
            (Outcome::NoSuchUpload, Code::NoSuchUpload, 404),
            (Outcome::InvalidPart { number: 3 }, Code::InvalidPart, 400),
            (Outcome::InvalidPartOrder, Code::InvalidPartOrder, 400),
            (Outcome::EntityTooSmall { number: 1, size: 7 }, Code::EntityTooSmall, 400),
            (Outcome::EntityTooLarge, Code::EntityTooLarge, 400),
            (Outcome::BadChecksum, Code::BadDigest, 400),
            (Outcome::SizeMismatch, Code::InvalidRequest, 400),
            (Outcome::InvalidKey, Code::InvalidURI, 400),
            (Outcome::Superseded, Code::SlowDown, 503),
            (Outcome::InvalidRecord, Code::InternalError, 500),
            (Outcome::UnknownCommand, Code::InternalError, 500),
        ];
        for (outcome, code, status) in cases {
            let name = format!("{outcome:?}");
            let error = accepted(outcome).expect_err(&name);
            assert_eq!((error.code(), error.status()), (code, status), "{name}");
        }
        assert!(accepted(Outcome::Done).is_ok());
    }

    #[test]
    fn retryable_errors_have_a_retryable_status() {
        let retryable = [
            code_and_status(raft::Error::Unavailable("the group has no leader")),
            code_and_status(raft::Error::OutcomeUnknown),
            code_and_status(engine::Error::Busy("too many requests")),
            code_and_status(engine::Error::Closed),
        ];
        assert!(retryable.iter().all(|(_, status)| *status == 503), "{retryable:?}");
        assert_eq!(code_and_status(engine::Error::Full), (Code::InsufficientStorage, 507));
        assert_eq!(
            code_and_status(raft::Error::Bytes(engine::Error::Full)),
            (Code::InsufficientStorage, 507)
        );
    }
}
