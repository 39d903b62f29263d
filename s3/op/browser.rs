//! Requests that browsers send without a signature: CORS preflights (AWS, "Configuring CORS"; WHATWG, "Fetch", 3.2) and
//! upload forms (AWS, "POST Object"). Hamster supports neither yet, and refuses them before it checks who sent them.

use super::Exchange;
use crate::conn::Reply;
use crate::error::{Code, S3Result};

/// Refuses a preflight as AWS does on a bucket without a CORS configuration.
pub(super) async fn preflight(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    let head = ex.head;
    if head.header("origin").is_none() {
        return Err(Code::BadRequest.with("Insufficient information. Origin request header needed."));
    }
    let Some(method) = head.header("access-control-request-method") else {
        return Err(Code::BadRequest.with("Invalid Access-Control-Request-Method: null"));
    };
    Err(Code::AccessForbidden
        .with("CORSResponse: CORS is not enabled for this bucket.")
        .field("Method", String::from_utf8_lossy(method))
        .field("ResourceType", if ex.route.key.is_some() { "OBJECT" } else { "BUCKET" }))
}

/// Refuses a form upload.
pub(super) async fn form(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    const FORM: &[u8] = b"multipart/form-data";
    let sent = ex.head.header("content-type").and_then(|sent| sent.get(..FORM.len()));
    if sent.is_some_and(|sent| sent.eq_ignore_ascii_case(FORM)) {
        return Err(Code::NotImplemented.with(
            "Hamster does not implement PostObject: upload with PUT, using a presigned URL if necessary.",
        ));
    }
    Err(Code::PreconditionFailed
        .field("Condition", "Bucket POST must be of the enclosure-type multipart/form-data"))
}
