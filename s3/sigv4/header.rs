//! Authentication by the Authorization header.

use super::{ALGORITHM, Claim, ContentSha256, SKEW_SECONDS_MAX, Verified, Verifier, hex32, scope};
use crate::access::Principal;
use crate::error::{Code, S3Error};
use crate::http::head::RequestHead;
use crate::time;

impl Verifier {
    pub(super) fn by_header(
        &mut self,
        head: &RequestHead,
        authorization: &[u8],
        now_s: u64,
    ) -> Result<Verified, S3Error> {
        let (credential, signed_headers, signature) = fields(authorization)?;
        if head.header("x-amz-security-token").is_some() {
            return Err(Code::NotImplemented.with("Temporary credentials are not implemented."));
        }
        let scope = scope(credential, Code::AuthorizationHeaderMalformed)?;
        let mut date = [0u8; 16];
        let timestamp = timestamp(head, &mut date, now_s)?;
        let payload_text = head.header("x-amz-content-sha256").ok_or_else(|| {
            Code::InvalidRequest.with("Missing required header for this request: x-amz-content-sha256")
        })?;
        let content = ContentSha256::parse(payload_text)?;
        let claim = Claim { scope, timestamp, signed_headers, signature, payload_text, presigned: false };
        let (access_key, key) = self.check(head, &claim)?;
        Ok(Verified { principal: Principal::Root(access_key), payload: self.payload(content, key, &claim) })
    }
}

/// The time of the request in the format of `x-amz-date`, checked against the allowed skew.
fn timestamp<'a>(head: &'a RequestHead, space: &'a mut [u8; 16], now_s: u64) -> Result<&'a [u8], S3Error> {
    let refuse = || Code::AccessDenied.with("AWS authentication requires a valid Date or x-amz-date header");
    let (text, unix_s) = match head.header("x-amz-date") {
        Some(text) => (text, time::parse_amz_date(text).ok_or_else(refuse)?),
        None => {
            let date = head.header("date").ok_or_else(refuse)?;
            let unix_s =
                time::parse_amz_date(date).or_else(|| time::parse_http_date(date)).ok_or_else(refuse)?;
            *space = time::amz_date(unix_s);
            (&space[..], unix_s)
        }
    };
    if unix_s.abs_diff(now_s) > SKEW_SECONDS_MAX {
        return Err(Code::RequestTimeTooSkewed
            .field("RequestTime", String::from_utf8_lossy(text))
            .field("ServerTime", time::iso8601_string(now_s * 1000))
            .field("MaxAllowedSkewMilliseconds", (SKEW_SECONDS_MAX * 1000).to_string()));
    }
    Ok(text)
}

/// Parses Credential, SignedHeaders and Signature of an Authorization header. It works on bytes, since searching a
/// `str` for a character takes several times as long in std as with memchr.
fn fields(authorization: &[u8]) -> Result<(&str, &[u8], [u8; 32]), S3Error> {
    let malformed = |what: &str| Code::AuthorizationHeaderMalformed.with(what);
    let (algorithm, mut rest) = split_at(authorization, b' ').unwrap_or((authorization, b""));
    if algorithm == b"AWS" || algorithm != ALGORITHM.as_bytes() && !algorithm.starts_with(b"AWS4-") {
        return Err(Code::InvalidRequest.with(
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
        ));
    }
    if algorithm != ALGORITHM.as_bytes() {
        return Err(
            Code::NotImplemented.with("The only version 4 signatures implemented are AWS4-HMAC-SHA256.")
        );
    }
    let (mut credential, mut signed_headers, mut signature) = (None, None, None);
    loop {
        let (field, more) = split_at(rest, b',').map_or((rest, None), |(field, more)| (field, Some(more)));
        let (name, value) = split_at(field.trim_ascii(), b'=')
            .ok_or_else(|| malformed("The authorization header is malformed; a field has no '='."))?;
        let place = match name {
            b"Credential" => Some(&mut credential),
            b"SignedHeaders" => Some(&mut signed_headers),
            b"Signature" => Some(&mut signature),
            _ => None,
        };
        if place.is_some_and(|place| place.replace(value).is_some()) {
            return Err(malformed("The authorization header is malformed; a field is given twice."));
        }
        match more {
            Some(more) => rest = more,
            None => break,
        }
    }
    let missing =
        |name| malformed(&format!("The authorization header is malformed; the {name} field is missing."));
    let credential = credential.ok_or_else(|| missing("Credential"))?;
    let signed_headers = signed_headers.ok_or_else(|| missing("SignedHeaders"))?;
    let signature = signature.ok_or_else(|| missing("Signature"))?;
    let credential =
        std::str::from_utf8(credential).map_err(|_| malformed("The Authorization header is not text."))?;
    // A malformed signature matches nothing.
    let signature = hex32(signature).ok_or(Code::SignatureDoesNotMatch)?;
    Ok((credential, signed_headers, signature))
}

/// Splits at the first `byte`.
fn split_at(bytes: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(byte, bytes)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}
