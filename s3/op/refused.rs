//! The operations that Hamster does not have.

use super::Exchange;
use crate::conn::Reply;
use crate::error::S3Result;

/// Names the operation in its refusal.
pub(super) async fn not_implemented(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    Err(ex.route.operation.not_implemented())
}
