//! What browsers send without a signature: CORS preflights (AWS, "Configuring CORS"; WHATWG, "Fetch", 3.2) and forms
//! that upload (AWS, "POST Object"). Hamster has neither yet, and says so before it asks who sent them.

use crate::error::{Code, S3Error};
use crate::http::head::RequestHead;
use crate::route::{Operation, Route};

/// The refusal of a preflight or a form; none for any other request.
pub(crate) fn refuse(head: &RequestHead, route: &Route) -> Option<S3Error> {
    match route.operation {
        Operation::NotImplemented("PreflightRequest") => Some(preflight(head, route)),
        Operation::NotImplemented("PostObject") => Some(form(head)),
        _ => None,
    }
}

/// As AWS refuses a preflight on a bucket without a CORS configuration.
fn preflight(head: &RequestHead, route: &Route) -> S3Error {
    if head.header("origin").is_none() {
        return Code::BadRequest.with("Insufficient information. Origin request header needed.");
    }
    let Some(method) = head.header("access-control-request-method") else {
        return Code::BadRequest.with("Invalid Access-Control-Request-Method: null");
    };
    Code::AccessForbidden
        .with("CORSResponse: CORS is not enabled for this bucket.")
        .field("Method", String::from_utf8_lossy(method))
        .field("ResourceType", if route.key.is_some() { "OBJECT" } else { "BUCKET" })
}

fn form(head: &RequestHead) -> S3Error {
    const FORM: &[u8] = b"multipart/form-data";
    let sent = head.header("content-type").and_then(|sent| sent.get(..FORM.len()));
    if sent.is_some_and(|sent| sent.eq_ignore_ascii_case(FORM)) {
        return Code::NotImplemented
            .with("Hamster does not implement PostObject: upload by PUT, with a presigned URL if need be.");
    }
    Code::PreconditionFailed
        .field("Condition", "Bucket POST must be of the enclosure-type multipart/form-data")
}
