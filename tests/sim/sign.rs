//! Signature version 4 on the client's side (AWS, "Authenticating Requests: Using the Authorization Header").

use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

pub const ACCESS_KEY: &str = "simulated";
pub const SECRET_KEY: &str = "simulated-secret";
pub const REGION: &str = "us-east-1";
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PATH: &AsciiSet = &UNRESERVED.remove(b'/');

/// A name or value of a query, encoded.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// A path, encoded.
pub fn encode_path(text: &str) -> String {
    utf8_percent_encode(text, PATH).to_string()
}

/// The SHA-256 of bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// The state from which a request's chunks are signed.
pub struct Signed {
    /// The value of the Authorization header.
    pub authorization: String,
    /// The request's own signature, with which the chain of its chunks begins.
    pub signature: String,
    key: Vec<u8>,
    scope: String,
    time: String,
}

/// Signs a request. `headers` are lower case and sorted; `time` is in the basic format.
pub fn sign(
    method: &str,
    path: &str,
    query: &str,
    headers: &[(String, String)],
    payload: &str,
    time: &str,
) -> Signed {
    let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(";");
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let canonical = format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{payload}");
    let day = &time[..8];
    let scope = format!("{day}/{REGION}/s3/aws4_request");
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", sha256(canonical.as_bytes()));
    let mut key = hmac(format!("AWS4{SECRET_KEY}").as_bytes(), day);
    for part in [REGION, "s3", "aws4_request"] {
        key = hmac(&key, part);
    }
    let signature = hex::encode(hmac(&key, &text));
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, SignedHeaders={names}, Signature={signature}"
    );
    Signed { authorization, signature, key, scope, time: time.to_owned() }
}

impl Signed {
    /// The signature of the next chunk (AWS, "Transferring Payload in Multiple Chunks").
    pub fn chunk(&self, previous: &str, chunk: &[u8]) -> String {
        let (time, scope) = (&self.time, &self.scope);
        let text = format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n{time}\n{scope}\n{previous}\n{}\n{}",
            sha256(b""),
            sha256(chunk)
        );
        hex::encode(hmac(&self.key, &text))
    }
}
