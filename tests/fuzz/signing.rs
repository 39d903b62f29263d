//! An independent signer, written from AWS's description of version 4. It shares no code with the product.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::{percent_decode, percent_encode};

pub const ACCESS_KEY: &str = "AKIAIOSFODNN7EXAMPLE";
pub const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
pub const REGION: &str = "us-east-1";
pub const DAY: &str = "20130524";
pub const TIMESTAMP: &str = "20130524T000000Z";
/// [`TIMESTAMP`], seconds since 1970.
pub const NOW_S: u64 = 1_369_353_600;

pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

pub fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// The signing key of the day.
pub fn signing_key() -> [u8; 32] {
    let mut key = hmac(format!("AWS4{SECRET}").as_bytes(), DAY.as_bytes());
    for part in [REGION, "s3", "aws4_request"] {
        key = hmac(&key, part.as_bytes());
    }
    key
}

/// `20130524/us-east-1/s3/aws4_request`
pub fn scope() -> String {
    format!("{DAY}/{REGION}/s3/aws4_request")
}

/// The signature of a canonical request.
pub fn sign(canonical: &[u8], timestamp: &str) -> [u8; 32] {
    let text = format!("AWS4-HMAC-SHA256\n{timestamp}\n{}\n{}", scope(), sha256(canonical));
    hmac(&signing_key(), text.as_bytes())
}

/// A request as its parts.
pub struct Request<'a> {
    pub method: &'a [u8],
    pub path: &'a [u8],
    pub query: &'a [u8],
    /// In order, names in any case.
    pub headers: Vec<(&'a [u8], &'a [u8])>,
    /// Separated by `;`.
    pub signed: &'a [u8],
    pub payload: &'a [u8],
}

impl Request<'_> {
    /// The canonical request.
    pub fn canonical(&self) -> Vec<u8> {
        let path = if self.path.is_empty() { "/".into() } else { recoded(self.path, false, b"/") };
        let signed = self.signed.to_ascii_lowercase();
        let mut out = [self.method, b"\n", path.as_bytes(), b"\n", self.query().as_bytes(), b"\n"].concat();
        for name in signed.split(|byte| *byte == b';') {
            let of_name = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
            let values: Vec<Vec<u8>> = of_name.map(|(_, value)| one_space(value)).collect();
            out.extend([name, b":", &values.join(&b","[..]), b"\n"].concat());
        }
        out.extend([b"\n", &signed[..], b"\n", self.payload].concat());
        out
    }

    fn query(&self) -> String {
        let mut sorted: BTreeMap<(String, String), usize> = BTreeMap::new();
        for pair in self.query.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let mut half = || recoded(halves.next().unwrap_or_default(), true, b"");
            let (name, value) = (half(), half());
            if name != "X-Amz-Signature" {
                *sorted.entry((name, value)).or_default() += 1;
            }
        }
        let pairs = sorted.iter().flat_map(|(pair, count)| std::iter::repeat_n(pair, *count));
        pairs.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
    }
}

/// Decodes and encodes again; a `%` that starts no escape stands for itself.
fn recoded(raw: &[u8], plus_is_space: bool, keep: &[u8]) -> String {
    let mut bytes = Vec::new();
    let mut at = 0;
    while at < raw.len() {
        let escape = raw.get(at..at + 3).filter(|piece| piece[0] == b'%');
        match escape.and_then(|piece| percent_decode(piece, false)) {
            Some(byte) => (bytes.extend(byte), at += 3).1,
            None => {
                bytes.push(if raw[at] == b'+' && plus_is_space { b' ' } else { raw[at] });
                at += 1;
            }
        }
    }
    percent_encode(&bytes, keep)
}

/// Trimmed, with each run of spaces reduced to one.
fn one_space(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for &byte in value.trim_ascii() {
        if byte != b' ' || out.last() != Some(&b' ') {
            out.push(byte);
        }
    }
    out
}

/// Names and values that a test request may carry besides what signing requires.
const NAMES: [&str; 6] =
    ["x-amz-meta-a", "X-Amz-Meta-B", "Content-Type", "x-amz-acl", "Range", "x-amz-meta-a"];

/// A made-up request that owns its parts.
#[derive(Clone, Default)]
pub struct Made {
    pub method: &'static str,
    pub path: String,
    pub query: String,
    pub headers: Vec<(String, String)>,
    /// Sorted, in lower case.
    pub signed: Vec<String>,
}

impl Made {
    /// Method, path, query and headers according to the plan.
    pub fn from_plan(plan: &mut crate::Source<'_>) -> Made {
        let text = |bytes: &[u8], not: &[u8]| -> String {
            let good = bytes.iter().filter(|byte| (0x21..0x7f).contains(*byte) && !not.contains(byte));
            good.map(|byte| char::from(*byte)).collect()
        };
        let mut made = Made {
            method: ["GET", "PUT", "HEAD", "DELETE", "POST"][usize::from(plan.byte() % 5)],
            ..Made::default()
        };
        made.path = format!("/{}", text(plan.short(), b"?#"));
        made.query = text(plan.short(), b"#");
        made.headers.push(("Host".into(), "bucket.s3.amazonaws.com".into()));
        for _ in 0..plan.byte() % 5 {
            let name = NAMES[usize::from(plan.byte()) % NAMES.len()];
            let value = plan.short().iter().map(|byte| char::from(byte % 0x5f + 0x20)).collect();
            made.headers.push((name.into(), value));
        }
        made
    }

    /// Signs the host, all `x-amz-*` headers, and those of the others that `some` selects.
    pub fn choose_signed(&mut self, some: u8) {
        let must = |name: &str| name == "host" || name.starts_with("x-amz-");
        let names = self.headers.iter().map(|(name, _)| name.to_ascii_lowercase());
        self.signed = names
            .enumerate()
            .filter(|(at, name)| must(name) || some >> (at % 8) & 1 == 1)
            .map(|(_, name)| name)
            .collect();
        self.signed.sort();
        self.signed.dedup();
    }

    /// The signature of the request as it is.
    pub fn signature(&self, payload: &str) -> String {
        let headers = self.headers.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        let signed = self.signed.join(";");
        let request = Request {
            method: self.method.as_bytes(),
            path: self.path.as_bytes(),
            query: self.query.as_bytes(),
            headers,
            signed: signed.as_bytes(),
            payload: payload.as_bytes(),
        };
        hex::encode(sign(&request.canonical(), TIMESTAMP))
    }

    /// The head's bytes.
    pub fn head(&self) -> Vec<u8> {
        let mut out = format!("{} {}", self.method, self.path);
        if !self.query.is_empty() {
            out += &format!("?{}", self.query);
        }
        out += " HTTP/1.1\r\n";
        for (name, value) in &self.headers {
            out += &format!("{name}: {value}\r\n");
        }
        (out + "\r\n").into_bytes()
    }
}
