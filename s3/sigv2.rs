//! Presigned URLs of Signature Version 2, which boto3 and aws CLI 1.x still create by default in us-east-1.
//!
//! Only in the query: [`crate::sigv4`] refuses a version 2 header. Source: AWS, "Signing and authenticating REST
//! requests" (version 2), "Query string request authentication alternative".
//!
//! The signature covers the method, the path, `x-amz-*` headers and a fixed list of parameters. A parameter that is not
//! on the list and would select another operation is refused, so that the holder of a URL cannot add it.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use smallvec::SmallVec;
use subtle::ConstantTimeEq;

use crate::error::{Code, S3Error};
use crate::http::head::RequestHead;
use crate::route;
use crate::sigv4::keys::Table;
use crate::uri;

/// The parameters that the signature covers, sorted.
const SIGNED_PARAMETERS: [&str; 33] = [
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

/// Verifies a presigned URL; returns the access key. `host_bucket` is the bucket if the host names it: version 2 signs
/// the path as if it began with the bucket.
pub fn verify(
    head: &RequestHead,
    host_bucket: Option<&str>,
    known: &Table,
    now_s: u64,
) -> Result<Arc<str>, S3Error> {
    let query = head.query();
    let missing = || {
        Code::AccessDenied
            .with("Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters")
    };
    let id = query.get("AWSAccessKeyId")?.ok_or_else(missing)?;
    let expires_text = query.get("Expires")?.ok_or_else(missing)?;
    let signature = query.get("Signature")?.ok_or_else(missing)?;
    let expires: u64 = expires_text
        .parse()
        .map_err(|_| Code::AccessDenied.with("Invalid date (should be seconds since epoch): Expires"))?;
    if now_s > expires {
        return Err(Code::AccessDenied
            .with("Request has expired")
            .field("Expires", crate::time::iso8601_string(expires.min(crate::time::LAST_SECOND) * 1000))
            .field("ServerTime", crate::time::iso8601_string(now_s * 1000)));
    }
    let unsigned = |name: &&str| !SIGNED_PARAMETERS.contains(name) && query.has(name);
    if let Some(name) = route::selecting_parameters().find(unsigned) {
        return Err(Code::AccessDenied
            .with(format!("Version 2 does not sign the parameter {name}: use a version 4 URL.")));
    }
    let (access_key, secret) =
        known.get(&id).ok_or_else(|| Code::InvalidAccessKeyId.field("AWSAccessKeyId", id.as_ref()))?;
    let signed = crate::checksum::base64_decode(signature.as_bytes()).unwrap_or_default();
    let text = string_to_sign(head, host_bucket, expires_text.as_bytes())?;
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.expose())
        .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
    mac.update(&text);
    let ours: [u8; 20] = mac.finalize().into_bytes().into();
    if bool::from(ours.as_slice().ct_eq(&signed)) {
        Ok(access_key)
    } else {
        Err(Code::SignatureDoesNotMatch.field("AWSAccessKeyId", id.as_ref()))
    }
}

/// Method, Content-MD5, Content-Type, Expires, `x-amz-*` headers, resource.
fn string_to_sign(head: &RequestHead, host_bucket: Option<&str>, expires: &[u8]) -> Result<Vec<u8>, S3Error> {
    let mut out = Vec::with_capacity(256);
    let header = |name| head.header(name).unwrap_or_default();
    for part in [head.method_text(), header("content-md5"), header("content-type"), expires] {
        out.extend_from_slice(part);
        out.push(b'\n');
    }
    let mut amz: SmallVec<[(Vec<u8>, &[u8]); 8]> = head
        .headers()
        .filter(|(name, _)| name.len() > 6 && name[..6].eq_ignore_ascii_case(b"x-amz-"))
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect();
    amz.sort_by(|a, b| a.0.cmp(&b.0));
    let mut last: &[u8] = b"";
    for (name, value) in &amz {
        if name.as_slice() == last {
            // Replaces the line feed: this value continues that line.
            out.pop();
            out.push(b',');
        } else {
            out.extend_from_slice(name);
            out.push(b':');
        }
        out.extend_from_slice(value);
        out.push(b'\n');
        last = name;
    }
    if let Some(bucket) = host_bucket {
        out.push(b'/');
        out.extend_from_slice(bucket.as_bytes());
    }
    out.extend_from_slice(head.path());
    let mut separator = b'?';
    for name in SIGNED_PARAMETERS.iter() {
        let Some((_, value)) = head.query().pairs().find(|(n, _)| uri::name_is(n, name)) else {
            continue;
        };
        out.push(separator);
        separator = b'&';
        out.extend_from_slice(name.as_bytes());
        if !value.is_empty() {
            out.push(b'=');
            out.extend_from_slice(&uri::decode(value, true)?);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(request: &str) -> RequestHead {
        let mut head = RequestHead::new();
        head.parse(format!("{request}\r\n\r\n").as_bytes()).unwrap().unwrap();
        head
    }

    /// AWS, "Signing and authenticating REST requests", the examples "Upload" and "List objects", with the expiry time
    /// of a URL in place of their date.
    #[test]
    fn the_string_to_sign_matches_the_examples_of_aws() {
        let upload = head(
            "PUT /db-backup.dat.gz HTTP/1.1\r\nHost: static.example.com:8080\r\nx-amz-acl: public-read\r\n\
             content-type: application/x-download\r\nContent-MD5: 4gJE4saaMU4BqNR0kLY+lw==\r\n\
             X-Amz-Meta-ReviewedBy: joe@example.com\r\nX-Amz-Meta-ReviewedBy: jane@example.com\r\n\
             X-Amz-Meta-FileChecksum: 0x02661779\r\nX-Amz-Meta-ChecksumAlgorithm: crc32\r\n\
             Content-Disposition: attachment\r\nContent-Length: 5913339",
        );
        let signed = "PUT\n4gJE4saaMU4BqNR0kLY+lw==\napplication/x-download\n1175024202\nx-amz-acl:public-read\n\
            x-amz-meta-checksumalgorithm:crc32\nx-amz-meta-filechecksum:0x02661779\n\
            x-amz-meta-reviewedby:joe@example.com,jane@example.com\n/static.example.com/db-backup.dat.gz";
        let ours = string_to_sign(&upload, Some("static.example.com"), b"1175024202").unwrap();
        assert_eq!(String::from_utf8(ours).unwrap(), signed);

        let list = head("GET /bucket?prefix=photos&max-keys=50&versions&uploadId=a%2Bb HTTP/1.1\r\nHost: s3");
        let ours = string_to_sign(&list, None, b"7").unwrap();
        assert_eq!(String::from_utf8(ours).unwrap(), "GET\n\n\n7\n/bucket?uploadId=a+b&versions");
    }

    #[test]
    fn a_url_without_one_of_its_three_parameters_is_refused() {
        use crate::sigv4::keys::{Credentials, Secret};
        let known = Credentials::single("AKEY", Secret::new("secret")).snapshot().table;
        for query in
            ["AWSAccessKeyId=AKEY&Expires=9", "AWSAccessKeyId=AKEY&Signature=x", "Expires=9&Signature=x"]
        {
            let request = head(&format!("GET /bucket/key?{query} HTTP/1.1\r\nHost: s3"));
            let refused = verify(&request, None, &known, 7).unwrap_err();
            assert_eq!(refused.code(), Code::AccessDenied, "{query}");
        }
    }
}
