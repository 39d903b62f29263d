//! AWS Signature Version 4 (AWS, "Authenticating Requests (AWS Signature Version 4)"): verifies who sent a request and
//! determines how its body must be checked.
//!
//! Promise: a principal other than the anonymous one is returned only for a request whose signature covers its method,
//! path, query, host and every `x-amz-*` header, and was made within the last 15 minutes (or within the lifetime of a
//! presigned URL). The comparison takes the same time wherever signatures differ. The caller checks the body as
//! [`PayloadMode`] says.
//!
//! There is one [`Verifier`] per core. It keeps scratch space and the signing keys of the day, so that in steady state
//! a verification costs one SHA-256 and one HMAC and allocates nothing.

pub mod canonical;
pub mod chunks;
mod header;
pub mod keys;
mod query;

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::access::Principal;
use crate::error::{Code, S3Error};
use crate::http::head::RequestHead;
use keys::{Credentials, SigningKey, SigningKeys, Snapshot};

/// How far the time of a request may differ from ours.
pub const SKEW_SECONDS_MAX: u64 = 15 * 60;
/// The longest lifetime of a presigned URL: seven days.
pub const EXPIRES_SECONDS_MAX: u64 = 604_800;
/// The name of the signature algorithm.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The result of verifying a request.
#[derive(Debug)]
pub struct Verified {
    /// Who sent the request.
    pub principal: Principal,
    /// How the body must be checked.
    pub payload: PayloadMode,
}

/// How the body of a request is framed, and what it must match.
#[derive(Debug)]
pub enum PayloadMode {
    /// Not covered by the signature.
    Unsigned,
    /// The body must have this SHA-256.
    Signed([u8; 32]),
    /// aws-chunked; the signature of each chunk continues the chain, as does that of the trailers, if any.
    SignedChunks {
        /// The chain, starting at the request's own signature.
        chain: Box<chunks::ChunkVerifier>,
        /// Whether signed trailers follow.
        trailer: bool,
    },
    /// aws-chunked with trailers, unsigned.
    UnsignedTrailer,
}

/// The `x-amz-content-sha256` of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ContentSha256 {
    Unsigned,
    Hash([u8; 32]),
    Chunks { trailer: bool },
    UnsignedTrailer,
}

impl ContentSha256 {
    fn parse(text: &[u8]) -> Result<ContentSha256, S3Error> {
        let refuse = || {
            Code::InvalidArgument
                .with("x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, \
                       STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid \
                       sha256 value.")
                .field("ArgumentName", "x-amz-content-sha256")
        };
        match text {
            b"UNSIGNED-PAYLOAD" => Ok(ContentSha256::Unsigned),
            b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Ok(ContentSha256::Chunks { trailer: false }),
            b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => Ok(ContentSha256::Chunks { trailer: true }),
            b"STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Ok(ContentSha256::UnsignedTrailer),
            _ if text.starts_with(b"STREAMING-") => Err(Code::NotImplemented.with(
                "The only streaming signatures implemented are AWS4-HMAC-SHA256, not ECDSA or events.",
            )),
            _ => hex32(text).map(ContentSha256::Hash).ok_or_else(refuse),
        }
    }
}

/// The parts of a signature to verify, from the header or from the query.
struct Claim<'a> {
    /// `access-key/day/region/service/aws4_request`.
    scope: Scope<'a>,
    /// `YYYYMMDDTHHMMSSZ`.
    timestamp: &'a [u8],
    signed_headers: &'a [u8],
    signature: [u8; 32],
    /// The payload hash as it appears in the canonical request.
    payload_text: &'a [u8],
    presigned: bool,
}

/// A credential scope.
struct Scope<'a> {
    access_key: &'a str,
    day: &'a str,
    region: &'a str,
    service: &'a str,
}

/// Verifies requests against credentials. There is one per core.
#[derive(Debug)]
pub struct Verifier {
    region: String,
    credentials: Credentials,
    known: Snapshot,
    keys: SigningKeys,
    scratch: Vec<u8>,
}

impl Verifier {
    /// Creates a verifier for the region of this endpoint.
    pub fn new(region: impl Into<String>, credentials: Credentials) -> Verifier {
        let known = credentials.snapshot();
        Verifier {
            region: region.into(),
            credentials,
            known,
            keys: SigningKeys::default(),
            scratch: Vec::new(),
        }
    }

    /// The region of this endpoint.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Verifies a request. `host_bucket` is the bucket if the host names one; `now_s` is in seconds since 1970.
    pub fn verify(
        &mut self,
        head: &RequestHead,
        host_bucket: Option<&str>,
        now_s: u64,
    ) -> Result<Verified, S3Error> {
        if self.credentials.refresh(&mut self.known) {
            self.keys.retain_current(&self.known.table);
        }
        let by_query = head.query().has("X-Amz-Algorithm") || head.query().has("X-Amz-Signature");
        let by_v2_query = !by_query && head.query().has("AWSAccessKeyId") && head.query().has("Signature");
        let mut authorizations = head.header_all("authorization");
        match (authorizations.next(), by_query || by_v2_query) {
            (Some(_), true) => Err(Code::InvalidArgument.with(
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string \
                 parameter or the Authorization header should be specified.",
            )),
            (Some(_), false) if authorizations.next().is_some() => {
                Err(Code::AuthorizationHeaderMalformed.with("There is more than one Authorization header."))
            }
            (Some(authorization), false) => self.by_header(head, authorization, now_s),
            (None, _) if by_query => self.by_query(head, now_s),
            (None, true) => {
                let access_key = crate::sigv2::verify(head, host_bucket, &self.known.table, now_s)?;
                Ok(Verified { principal: Principal::Root(access_key), payload: PayloadMode::Unsigned })
            }
            (None, false) => {
                Ok(Verified { principal: Principal::Anonymous, payload: PayloadMode::Unsigned })
            }
        }
    }

    /// Checks the scope and signature of a claim whose time has been checked.
    fn check(&mut self, head: &RequestHead, claim: &Claim<'_>) -> Result<(Arc<str>, SigningKey), S3Error> {
        let malformed = if claim.presigned {
            Code::AuthorizationQueryParametersError
        } else {
            Code::AuthorizationHeaderMalformed
        };
        let scope = &claim.scope;
        if scope.day.as_bytes() != &claim.timestamp[..8] {
            return Err(malformed.with(format!(
                "Invalid credential date \"{}\". This date is not the same as X-Amz-Date.",
                scope.day
            )));
        }
        if scope.region != self.region {
            let text = format!("The region '{}' is wrong; expecting '{}'", scope.region, self.region);
            return Err(malformed.with(text).field("Region", self.region.clone()));
        }
        if scope.service != "s3" {
            return Err(malformed
                .with(format!("Incorrect service \"{}\". This endpoint belongs to \"s3\".", scope.service)));
        }
        canonical::check_signed_headers(head, claim.signed_headers, claim.presigned)?;
        let (access_key, secret) = self
            .known
            .table
            .get(scope.access_key)
            .ok_or_else(|| Code::InvalidAccessKeyId.field("AWSAccessKeyId", scope.access_key))?;
        let key = self.keys.get(&access_key, secret, scope.day, &self.region);

        self.scratch.clear();
        canonical::request(
            head,
            claim.signed_headers,
            claim.payload_text,
            claim.presigned,
            &mut self.scratch,
        );
        let hash: [u8; 32] = Sha256::digest(&self.scratch).into();
        let mut mac = key.mac();
        keys::update(&mut mac, &[b"AWS4-HMAC-SHA256\n", claim.timestamp, b"\n", scope.day.as_bytes(), b"/"]);
        keys::update(&mut mac, &[self.region.as_bytes(), b"/s3/aws4_request\n", &hex64(&hash)]);
        if keys::matches(mac, &claim.signature) {
            Ok((access_key, key))
        } else {
            Err(Code::SignatureDoesNotMatch.field("AWSAccessKeyId", scope.access_key))
        }
    }

    /// How to check the body of a request with this `x-amz-content-sha256`.
    fn payload(&self, content: ContentSha256, key: SigningKey, claim: &Claim<'_>) -> PayloadMode {
        match content {
            ContentSha256::Unsigned => PayloadMode::Unsigned,
            ContentSha256::Hash(hash) => PayloadMode::Signed(hash),
            ContentSha256::UnsignedTrailer => PayloadMode::UnsignedTrailer,
            ContentSha256::Chunks { trailer } => {
                let chain = chunks::ChunkVerifier::new(key, claim.timestamp, &self.region, claim.signature);
                PayloadMode::SignedChunks { chain: Box::new(chain), trailer }
            }
        }
    }
}

/// Splits `access-key/day/region/service/aws4_request`; the access key itself may contain slashes.
fn scope(credential: &str, malformed: Code) -> Result<Scope<'_>, S3Error> {
    let refuse = || {
        malformed.with(
            "The Credential is malformed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".",
        )
    };
    let mut access_key = credential;
    let mut last = || {
        let at = memchr::memrchr(b'/', access_key.as_bytes()).ok_or_else(refuse)?;
        let part = &access_key[at + 1..];
        access_key = &access_key[..at];
        Ok::<_, S3Error>(part)
    };
    let (terminator, service, region, day) = (last()?, last()?, last()?, last()?);
    if terminator != "aws4_request" || access_key.is_empty() {
        return Err(refuse());
    }
    Ok(Scope { access_key, day, region, service })
}

/// Encodes 32 bytes as 64 lower-case hexadecimal digits.
pub fn hex64(bytes: &[u8; 32]) -> [u8; 64] {
    let mut out = [0; 64];
    // The lengths match, which is the only way to fail.
    let _ = hex::encode_to_slice(bytes, &mut out);
    out
}

/// Decodes 32 bytes from 64 hexadecimal digits. It has no branches, so that the compiler can vectorise it.
pub fn hex32(text: &[u8]) -> Option<[u8; 32]> {
    let digits: &[u8; 64] = text.try_into().ok()?;
    let mut values = [0; 64];
    let mut all_good = true;
    for (value, digit) in values.iter_mut().zip(digits) {
        let number = digit.wrapping_sub(b'0');
        let letter = (digit | 0x20).wrapping_sub(b'a');
        *value = if number < 10 { number } else { letter.wrapping_add(10) };
        all_good &= (number < 10) | (letter < 6);
    }
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(values.as_chunks::<2>().0) {
        *byte = pair[0] << 4 | pair[1];
    }
    all_good.then_some(out)
}

#[cfg(test)]
mod tests;
