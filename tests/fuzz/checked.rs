//! Whether a request that the product accepted was signed correctly, as the plain signer sees it.

use s3::access::Principal;
use s3::http::head::RequestHead;
use s3::sigv4::keys::{Credentials, Secret};
use s3::sigv4::{Verified, Verifier};
use s3::time::{amz_date, parse_amz_date, parse_http_date};

use crate::percent_decode;
use crate::signing::{ACCESS_KEY, NOW_S, REGION, Request, SECRET, scope, sign};

/// The product's check; `None` also if the request is not signed at all.
pub fn verify(head: &RequestHead, host_bucket: Option<&str>) -> Option<Verified> {
    let credentials = Credentials::single(ACCESS_KEY, Secret::new(SECRET));
    let verified = Verifier::new(REGION, credentials).verify(head, host_bucket, NOW_S).ok()?;
    (verified.principal != Principal::Anonymous).then_some(verified)
}

/// The head at the start of `bytes`, if there is one.
pub fn parse(bytes: &[u8]) -> Option<RequestHead> {
    let mut head = RequestHead::new();
    head.parse(bytes).ok().flatten().map(|_| head)
}

/// The first value of a query parameter, decoded.
pub fn parameter(head: &RequestHead, name: &str) -> Option<Vec<u8>> {
    let pairs = head.query().raw().split(|byte| *byte == b'&');
    pairs.filter(|pair| !pair.is_empty()).find_map(|pair| {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        let found = percent_decode(halves.next()?, true)? == name.as_bytes();
        found.then(|| percent_decode(halves.next().unwrap_or_default(), true)).flatten()
    })
}

/// Whether the signature is right and covers everything that must be signed.
fn stands(
    head: &RequestHead,
    claim: (&[u8], &[u8], &[u8]),
    payload: &[u8],
    timestamp: &[u8],
    bound: &[&str],
) -> bool {
    let (credential, signed, signature) = claim;
    let listed = |name: &[u8]| signed.split(|b| *b == b';').any(|listed| listed.eq_ignore_ascii_case(name));
    let must_be_signed = |name: &[u8]| {
        let name = name.to_ascii_lowercase();
        name == b"host" || name.starts_with(b"x-amz-") && !bound.iter().any(|b| b.as_bytes() == name)
    };
    let request = Request {
        method: head.method_text(),
        path: head.path(),
        query: head.query().raw(),
        headers: head.sent_headers().collect(),
        signed,
        payload,
    };
    let right = sign(&request.canonical(), std::str::from_utf8(timestamp).unwrap_or_default());
    credential == format!("{ACCESS_KEY}/{}", scope()).as_bytes()
        && listed(b"host")
        && head.sent_headers().all(|(name, _)| !must_be_signed(name) || listed(name))
        && signature.eq_ignore_ascii_case(hex::encode(right).as_bytes())
}

/// For a request with an Authorization header.
pub fn header_stands(head: &RequestHead) -> bool {
    let check = || {
        let authorization = head.header("authorization")?.strip_prefix(b"AWS4-HMAC-SHA256 ")?;
        let field = |name: &str| {
            let fields = authorization.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            let mut found = fields.filter_map(|field| field.strip_prefix(format!("{name}=").as_bytes()));
            found.next().filter(|_| found.next().is_none())
        };
        let claim = (field("Credential")?, field("SignedHeaders")?, field("Signature")?);
        let date = head.header("x-amz-date").or(head.header("date"))?;
        let time = parse_amz_date(date).or(parse_http_date(date))?;
        let payload = head.header("x-amz-content-sha256")?;
        let bound = ["x-amz-date", "x-amz-content-sha256"];
        Some(time.abs_diff(NOW_S) <= 900 && stands(head, claim, payload, &amz_date(time), &bound))
    };
    check().unwrap_or(false)
}

/// For a presigned request.
pub fn query_stands(head: &RequestHead) -> bool {
    let check = || {
        let get = |name: &str| parameter(head, name);
        let (credential, signed, signature) =
            (get("X-Amz-Credential")?, get("X-Amz-SignedHeaders")?, get("X-Amz-Signature")?);
        let date = get("X-Amz-Date")?;
        let time = parse_amz_date(&date)?;
        let expires: u64 = String::from_utf8(get("X-Amz-Expires")?).ok()?.parse().ok()?;
        let in_time = expires <= 604_800 && time <= NOW_S + 900 && NOW_S <= time + expires;
        let payload = get("X-Amz-Content-Sha256")
            .or_else(|| head.header("x-amz-content-sha256").map(<[u8]>::to_vec))
            .unwrap_or_else(|| b"UNSIGNED-PAYLOAD".to_vec());
        let algorithm = get("X-Amz-Algorithm")? == b"AWS4-HMAC-SHA256";
        let claim = (&credential[..], &signed[..], &signature[..]);
        Some(algorithm && in_time && stands(head, claim, &payload, &date, &["x-amz-date"]))
    };
    check().unwrap_or(false)
}
