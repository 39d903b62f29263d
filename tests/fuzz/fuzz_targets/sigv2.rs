//! Presigned URLs of version 2: what a plain signer signed is accepted, whatever is accepted, the plain signer would
//! have signed in the same way, and nothing that selects another operation can be added to a URL.
#![no_main]

use std::collections::BTreeMap;

use hamster_fuzz::checked::{parameter, parse, verify};
use hamster_fuzz::signing::{ACCESS_KEY, Made, NOW_S, SECRET};
use hamster_fuzz::{Source, base64, percent_decode, percent_encode};
use hmac::{Hmac, KeyInit, Mac};
use libfuzzer_sys::fuzz_target;
use s3::http::head::RequestHead;
use s3::route::selecting_parameters;
use sha1::Sha1;

/// The parameters that are part of the resource, sorted.
const SIGNED: [&str; 33] = [
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "defaultObjectAcl",
    "delete",
    "encryption",
    "inventory",
    "lifecycle",
    "location",
    "logging",
    "metrics",
    "notification",
    "partNumber",
    "policy",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "select",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

/// The headers as they were sent, and those that a presigned query brings along.
fn headers(head: &RequestHead) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut all: Vec<_> =
        head.sent_headers().map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec())).collect();
    for pair in head.query().raw().split(|byte| *byte == b'&') {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        let mut half = || percent_decode(halves.next().unwrap_or_default(), true);
        let (Some(name), Some(value)) = (half(), half()) else { continue };
        let name = name.to_ascii_lowercase();
        let is_header =
            name.starts_with(b"x-amz-") || [&b"content-type"[..], b"content-md5"].contains(&&name[..]);
        if is_header && !all.iter().any(|(known, _)| *known == name) {
            all.push((name, value.trim_ascii().to_vec()));
        }
    }
    all
}

/// The signature of a request, from AWS's "Signing and authenticating REST requests".
fn signature(head: &RequestHead, host_bucket: Option<&str>, expires: &[u8]) -> String {
    let headers = headers(head);
    let first = |name: &str| {
        headers.iter().find(|(known, _)| known == name.as_bytes()).map_or(&b""[..], |(_, value)| value)
    };
    let mut text =
        [head.method_text(), first("content-md5"), first("content-type"), expires, b""].join(&b'\n');
    let mut amz: BTreeMap<&[u8], Vec<&[u8]>> = BTreeMap::new();
    for (name, value) in headers.iter().filter(|(name, _)| name.starts_with(b"x-amz-") && name.len() > 6) {
        amz.entry(name).or_default().push(value);
    }
    for (name, values) in amz {
        text.extend([name, b":", &values.join(&b','), b"\n"].concat());
    }
    text.extend(host_bucket.map(|bucket| format!("/{bucket}")).unwrap_or_default().into_bytes());
    text.extend(head.path());
    let present = SIGNED.iter().filter_map(|name| Some((name, parameter(head, name)?)));
    for (number, (name, value)) in present.enumerate() {
        text.push(if number == 0 { b'?' } else { b'&' });
        text.extend(name.as_bytes());
        if !value.is_empty() {
            text.push(b'=');
            text.extend(value);
        }
    }
    let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(&text);
    base64(&mac.finalize().into_bytes())
}

/// Whether a parameter that the signature does not cover selects the operation.
fn is_led_astray(head: &RequestHead) -> bool {
    selecting_parameters().any(|name| !SIGNED.contains(&name) && parameter(head, name).is_some())
}

/// Whether the signature is right, in time, and covers what selects the operation.
fn stands(head: &RequestHead, host_bucket: Option<&str>) -> bool {
    let get = |name: &str| parameter(head, name);
    let check = || {
        let (key, expires, given) = (get("AWSAccessKeyId")?, get("Expires")?, get("Signature")?);
        let until: u64 = std::str::from_utf8(&expires).ok()?.parse().ok()?;
        let right = signature(head, host_bucket, &expires).into_bytes();
        Some(key == ACCESS_KEY.as_bytes() && until >= NOW_S && given == right && !is_led_astray(head))
    };
    check().unwrap_or(false)
}

/// Whether it is accepted; `None` if it is no request, or is not signed by version 2 in its query.
fn judge(bytes: &[u8], host_bucket: Option<&str>) -> Option<bool> {
    let head = parse(bytes)?;
    let query = head.query();
    if query.has("X-Amz-Algorithm") || query.has("X-Amz-Signature") || head.header("authorization").is_some()
    {
        return None;
    }
    let accepted = verify(&head, host_bucket).is_some();
    assert!(
        !accepted || stands(&head, host_bucket),
        "a wrong signature was accepted: {}",
        bytes.escape_ascii()
    );
    Some(accepted)
}

/// A presigned request; `None` if its own parameters collide with those of the signature.
fn made(plan: &mut Source<'_>, host_bucket: Option<&str>) -> Option<Made> {
    let mut made = Made::from_plan(plan);
    let own = parse(&made.head())?;
    let collides = |name: &[u8]| {
        let name = name.to_ascii_lowercase();
        let ours = [&b"awsaccesskeyid"[..], b"expires", b"signature", b"content-type", b"content-md5"];
        name.contains(&b'%') || name.starts_with(b"x-amz-") || ours.contains(&&name[..])
    };
    if own.query().pairs().any(|(name, _)| collides(name)) {
        return None;
    }
    let expires = (NOW_S + u64::from(plan.u16())).to_string();
    for _ in 0..plan.byte() % 4 {
        let name = SIGNED[usize::from(plan.byte()) % SIGNED.len()];
        let value = percent_encode(plan.short(), b"");
        made.query = format!("{}&{name}{}{value}", made.query, if value.is_empty() { "" } else { "=" });
    }
    if plan.flag() {
        made.query = format!("{}&x-amz-meta-in-query={}", made.query, percent_encode(plan.short(), b""));
    }
    // The empty signature is no part of what is signed, but makes the query a presigned one, whose headers count.
    made.query = format!("{}&AWSAccessKeyId={ACCESS_KEY}&Expires={expires}", made.query);
    let unsigned = Made { query: format!("{}&Signature=", made.query), ..made.clone() };
    let signature = signature(&parse(&unsigned.head())?, host_bucket, expires.as_bytes());
    made.query = format!("{}&Signature={}", made.query, percent_encode(signature.as_bytes(), b""));
    Some(made)
}

fuzz_target!(|data: &[u8]| {
    let mut plan = Source(data);
    let choice = plan.byte();
    let host_bucket = (choice & 2 != 0).then_some("bucket");
    if choice & 1 != 0 {
        judge(plan.rest(), host_bucket);
        return;
    }
    let Some(made) = made(&mut plan, host_bucket) else { return };
    let mut head = made.head();
    let Some(right) = judge(&head, host_bucket) else { return };
    let astray = parse(&head).is_none_or(|head| is_led_astray(&head));
    assert_eq!(right, !astray, "a right signature: {}", head.escape_ascii());

    let more = [&head[..head.len() - 2], b"X-Amz-Not-Signed: 1\r\n\r\n"].concat();
    assert_ne!(judge(&more, host_bucket), Some(true), "a header was added to what was signed");
    let names: Vec<&str> = selecting_parameters().collect();
    let name = names[usize::from(plan.byte()) % names.len()];
    if parse(&head).is_some_and(|head| parameter(&head, name).is_none()) {
        let more = Made { query: format!("{}&{name}", made.query), ..made.clone() };
        assert_ne!(judge(&more.head(), host_bucket), Some(true), "{name} was added to what was signed");
    }
    while !plan.is_empty() {
        let (at, flip) = (usize::from(plan.u16()) % head.len(), plan.byte());
        head[at] ^= flip;
        judge(&head, host_bucket);
        head[at] ^= flip;
    }
});
