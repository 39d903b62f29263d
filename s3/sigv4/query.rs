//! Authentication by the query: presigned URLs.

use super::{
    ALGORITHM, Claim, ContentSha256, EXPIRES_SECONDS_MAX, SKEW_SECONDS_MAX, Verified, Verifier, hex32, scope,
};
use crate::access::Principal;
use crate::error::{Code, S3Error};
use crate::http::head::RequestHead;
use crate::time;

fn malformed(what: &str) -> S3Error {
    Code::AuthorizationQueryParametersError.with(what)
}

impl Verifier {
    pub(super) fn by_query(&mut self, head: &RequestHead, now_s: u64) -> Result<Verified, S3Error> {
        const ALL: &str = "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, \
            X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.";
        let query = head.query();
        let get = |name| query.get(name)?.ok_or_else(|| malformed(ALL));
        if get("X-Amz-Algorithm")? != ALGORITHM {
            return Err(malformed("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\""));
        }
        let (credential, date) = (get("X-Amz-Credential")?, get("X-Amz-Date")?);
        let (expires, signed_headers) = (get("X-Amz-Expires")?, get("X-Amz-SignedHeaders")?);
        let signature = get("X-Amz-Signature")?;
        // There are no temporary credentials here, and an unchecked token must not look like a checked one.
        if query.has("X-Amz-Security-Token") {
            return Err(Code::NotImplemented.with("Temporary credentials are not implemented."));
        }
        let scope = scope(&credential, Code::AuthorizationQueryParametersError)?;
        let signed_s = time::parse_amz_date(date.as_bytes()).ok_or_else(|| {
            malformed("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
        })?;
        in_time(signed_s, &expires, now_s)?;
        let payload_value = query.get("X-Amz-Content-Sha256")?;
        let payload_text = match (&payload_value, head.header("x-amz-content-sha256")) {
            (Some(value), _) => value.as_bytes(),
            (None, Some(value)) => value,
            (None, None) => b"UNSIGNED-PAYLOAD",
        };
        let content = ContentSha256::parse(payload_text)?;
        let claim = Claim {
            scope,
            timestamp: date.as_bytes(),
            signed_headers: signed_headers.as_bytes(),
            signature: hex32(signature.as_bytes()).ok_or(Code::SignatureDoesNotMatch)?,
            payload_text,
            presigned: true,
        };
        let (access_key, key) = self.check(head, &claim)?;
        Ok(Verified { principal: Principal::Root(access_key), payload: self.payload(content, key, &claim) })
    }
}

/// Refuses a URL before the start and after the end of its lifetime.
fn in_time(signed_s: u64, expires: &str, now_s: u64) -> Result<(), S3Error> {
    let digits = !expires.is_empty() && expires.bytes().all(|b| b.is_ascii_digit());
    let expires: u64 = match expires.parse() {
        Ok(0) => return Err(malformed("X-Amz-Expires must be at least 1 second")),
        Ok(seconds) if digits && seconds <= EXPIRES_SECONDS_MAX => seconds,
        _ if digits => return Err(malformed("X-Amz-Expires must be less than a week (in seconds)")),
        _ => return Err(malformed("X-Amz-Expires should be a number")),
    };
    if signed_s > now_s + SKEW_SECONDS_MAX {
        return Err(Code::AccessDenied.with("Request is not valid yet"));
    }
    if now_s > signed_s + expires {
        return Err(Code::AccessDenied
            .with("Request has expired")
            .field("Expires", time::iso8601_string((signed_s + expires) * 1000))
            .field("ServerTime", time::iso8601_string(now_s * 1000)));
    }
    Ok(())
}
