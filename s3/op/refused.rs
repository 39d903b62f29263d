//! The operations that Hamster does not implement.

use super::Exchange;
use crate::conn::Reply;
use crate::error::S3Result;

/// Refuses the operation by name.
pub(super) async fn not_implemented(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    Err(ex.route.operation.not_implemented())
}
