//! The canonical request: the text that client and server both derive from a request in order to sign it.
//!
//! S3's rules differ from those of other services: the path is encoded once and not normalised.

use smallvec::SmallVec;

use crate::error::{Code, S3Error};
use crate::http::head::{HEADERS_MAX, RequestHead};
use crate::uri::{self, Set};

/// Refuses a request with a header that must be signed and is not: `host`, and every `x-amz-*` that is present. (The
/// signature covers `x-amz-date` and, in header authentication, `x-amz-content-sha256` in any case.) The signed names
/// are few and distinct, so that the canonical request is about as long as the head. Otherwise 64 KiB could name a long
/// header with every other byte and make it 500 MiB.
pub(crate) fn check_signed_headers(
    head: &RequestHead,
    signed: &[u8],
    presigned: bool,
) -> Result<(), S3Error> {
    let names = || signed.split(|b| *b == b';');
    let once = |(at, name): (usize, &[u8])| {
        at < HEADERS_MAX && !names().take(at).any(|n| n.eq_ignore_ascii_case(name))
    };
    if !names().enumerate().all(once) {
        return Err(Code::AccessDenied
            .with("SignedHeaders names a header twice, or more headers than a request may have."));
    }
    let listed = |name: &[u8]| names().any(|s| s.eq_ignore_ascii_case(name));
    let refuse = |names: String| {
        Err(Code::AccessDenied
            .with("There were headers present in the request which were not signed")
            .field("HeadersNotSigned", names))
    };
    if !listed(b"host") {
        return refuse("host".into());
    }
    for (name, _) in head.sent_headers() {
        let is_amz = name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case(b"x-amz-"));
        let bound = name.eq_ignore_ascii_case(b"x-amz-date")
            || (!presigned && name.eq_ignore_ascii_case(b"x-amz-content-sha256"));
        if is_amz && !bound && !listed(name) {
            return refuse(String::from_utf8_lossy(name).to_ascii_lowercase());
        }
    }
    Ok(())
}

/// Appends the canonical request. That of a presigned request omits the signature parameter of the query.
pub(crate) fn request(head: &RequestHead, signed: &[u8], payload: &[u8], presigned: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(head.method_text());
    out.push(b'\n');
    match head.path() {
        b"" => out.push(b'/'),
        path => uri::recode_into(path, Set::Path, false, out),
    }
    out.push(b'\n');
    query(head, presigned, out);
    out.push(b'\n');
    for name in signed.split(|b| *b == b';') {
        out.extend(name.iter().map(u8::to_ascii_lowercase));
        out.push(b':');
        let mut first = true;
        for (_, value) in head.sent_headers().filter(|(n, _)| n.eq_ignore_ascii_case(name)) {
            if !first {
                out.push(b',');
            }
            first = false;
            collapse(value, out);
        }
        out.push(b'\n');
    }
    out.push(b'\n');
    out.extend(signed.iter().map(u8::to_ascii_lowercase));
    out.push(b'\n');
    out.extend_from_slice(payload);
}

/// Appends a trimmed value with each run of spaces collapsed to one.
fn collapse(value: &[u8], out: &mut Vec<u8>) {
    if memchr::memchr(b' ', value).is_none() {
        return out.extend_from_slice(value);
    }
    let mut space = false;
    for &byte in value {
        if byte != b' ' || !space {
            out.push(byte);
        }
        space = byte == b' ';
    }
}

/// Appends the parameters of the query, encoded again and sorted by name, then value.
fn query(head: &RequestHead, presigned: bool, out: &mut Vec<u8>) {
    if head.query().raw().is_empty() {
        return;
    }
    // The parameters are written one after the other into one buffer, and their positions are sorted.
    let mut text = Vec::with_capacity(head.query().raw().len() + 64);
    let mut places: SmallVec<[(usize, usize, usize); 16]> = SmallVec::new();
    for (name, value) in head.query().pairs() {
        if presigned && uri::name_is(name, "X-Amz-Signature") {
            continue;
        }
        let start = text.len();
        uri::recode_into(name, Set::Unreserved, true, &mut text);
        let middle = text.len();
        uri::recode_into(value, Set::Unreserved, true, &mut text);
        places.push((start, middle, text.len()));
    }
    places.sort_by(|a, b| (&text[a.0..a.1], &text[a.1..a.2]).cmp(&(&text[b.0..b.1], &text[b.1..b.2])));
    for (at, (start, middle, end)) in places.into_iter().enumerate() {
        if at > 0 {
            out.push(b'&');
        }
        out.extend_from_slice(&text[start..middle]);
        out.push(b'=');
        out.extend_from_slice(&text[middle..end]);
    }
}
