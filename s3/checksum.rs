//! The checksums of S3: CRC32, CRC32C, CRC64NVME, SHA1 and SHA256, sent as header or trailer, and Content-MD5 (AWS,
//! "Checking object integrity").
//!
//! Values are sent as base64 of the big-endian bytes. A multipart object has either a *composite* value, which is the
//! hash of the parts' values followed by `-N`, or a *full-object* value, which only CRCs allow: they can be combined
//! without reading the data again.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use engine::hash::{Checksum, ChecksumAlgorithm};
use raft::record::{ChecksumSpec, ChecksumType};

use crate::error::{Code, S3Error};
use crate::http::head::RequestHead;

/// The algorithm used where the client names none, as at AWS; see [`ChecksumSpec::DEFAULT`].
pub const DEFAULT: ChecksumAlgorithm = ChecksumAlgorithm::Crc64Nvme;

/// An algorithm's name in `x-amz-checksum-algorithm`, the header or trailer that carries its value, and the XML element
/// of its value.
fn spellings(algorithm: ChecksumAlgorithm) -> [&'static str; 3] {
    match algorithm {
        ChecksumAlgorithm::Crc32 => ["CRC32", "x-amz-checksum-crc32", "ChecksumCRC32"],
        ChecksumAlgorithm::Crc32c => ["CRC32C", "x-amz-checksum-crc32c", "ChecksumCRC32C"],
        ChecksumAlgorithm::Crc64Nvme => ["CRC64NVME", "x-amz-checksum-crc64nvme", "ChecksumCRC64NVME"],
        ChecksumAlgorithm::Sha1 => ["SHA1", "x-amz-checksum-sha1", "ChecksumSHA1"],
        ChecksumAlgorithm::Sha256 => ["SHA256", "x-amz-checksum-sha256", "ChecksumSHA256"],
    }
}

/// An algorithm's name, as in `x-amz-checksum-algorithm`.
pub fn name(algorithm: ChecksumAlgorithm) -> &'static str {
    spellings(algorithm)[0]
}

/// The header or trailer that carries an algorithm's value.
pub fn header(algorithm: ChecksumAlgorithm) -> &'static str {
    spellings(algorithm)[1]
}

/// The XML element of an algorithm's value.
pub fn element(algorithm: ChecksumAlgorithm) -> &'static str {
    spellings(algorithm)[2]
}

/// The algorithm whose values this XML element holds.
pub fn algorithm_of_element(name: &str) -> Option<ChecksumAlgorithm> {
    ChecksumAlgorithm::ALL.into_iter().find(|&algorithm| element(algorithm) == name)
}

/// AWS's name for what a checksum covers.
pub fn type_name(kind: ChecksumType) -> &'static str {
    match kind {
        ChecksumType::Composite => "COMPOSITE",
        ChecksumType::FullObject => "FULL_OBJECT",
    }
}

/// The algorithm of this name, ignoring case.
fn algorithm_named(text: &str) -> Option<ChecksumAlgorithm> {
    ChecksumAlgorithm::ALL.into_iter().find(|&algorithm| name(algorithm).eq_ignore_ascii_case(text))
}

/// Parses a value in base64, as in a header.
pub fn parse(algorithm: ChecksumAlgorithm, text: &[u8]) -> Result<Checksum, S3Error> {
    base64_decode(text).and_then(|bytes| Checksum::new(algorithm, &bytes)).ok_or_else(|| {
        Code::InvalidRequest.with(format!("Value for {} header is invalid.", header(algorithm)))
    })
}

/// A value in the form that clients read: base64, followed by the number of parts if it is composite.
pub fn text(value: &Checksum, kind: ChecksumType, parts: u32) -> String {
    let base64 = base64_encode(value.as_bytes());
    match kind {
        ChecksumType::Composite => format!("{base64}-{parts}"),
        ChecksumType::FullObject => base64,
    }
}

/// Splits the text of a composite value into the base64 and the number of parts; a plain value has no number.
pub fn split_composite(text: &str) -> (&str, Option<u32>) {
    match text.rsplit_once('-') {
        Some((value, parts)) if !parts.is_empty() && parts.bytes().all(|b| b.is_ascii_digit()) => {
            (value, parts.parse().ok())
        }
        _ => (text, None),
    }
}

/// What a request's headers say about the digests of its body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeclaredDigests {
    /// The MD5 that the body must have.
    pub content_md5: Option<[u8; 16]>,
    /// The checksum that the body must have.
    pub value: Option<Checksum>,
    /// The algorithm of the checksum that follows in a trailer.
    pub trailer: Option<ChecksumAlgorithm>,
}

impl DeclaredDigests {
    /// Reads Content-MD5, the one `x-amz-checksum-*` that is allowed, `x-amz-trailer` and
    /// `x-amz-sdk-checksum-algorithm`, and refuses contradictions. A checksum in a presigned query is ignored: SDKs
    /// compute it before there is a body.
    pub fn from_head(head: &RequestHead) -> Result<DeclaredDigests, S3Error> {
        let content_md5 = head.header("content-md5").map(parse_content_md5).transpose()?;
        let mut value = None;
        for (name, text) in head.sent_headers() {
            let Some(kind) = checksum_suffix(name) else { continue };
            if kind.eq_ignore_ascii_case("algorithm")
                || kind.eq_ignore_ascii_case("type")
                || kind.eq_ignore_ascii_case("mode")
            {
                continue;
            }
            if value.replace(parse(algorithm_of_suffix(kind)?, text)?).is_some() {
                return Err(one_checksum());
            }
        }
        let mut trailer = None;
        let trailers = head.sent_header_all("x-amz-trailer").flat_map(|names| names.split(|b| *b == b','));
        for name in trailers.map(<[u8]>::trim_ascii) {
            let Some(kind) = checksum_suffix(name) else { continue };
            let algorithm = algorithm_of_suffix(kind)?;
            if value.is_some() || trailer.replace(algorithm).is_some() {
                return Err(one_checksum());
            }
        }
        let declared = DeclaredDigests { content_md5, value, trailer };
        let found = declared.algorithm();
        let sdk = head.sent_header_all("x-amz-sdk-checksum-algorithm").next();
        let sdk = sdk.and_then(|name| std::str::from_utf8(name).ok()).map(parse_algorithm).transpose()?;
        if let (Some(sdk), Some(found)) = (sdk, found)
            && sdk != found
        {
            return Err(
                Code::InvalidRequest.with("Value for x-amz-sdk-checksum-algorithm header is invalid.")
            );
        }
        if let (Some(sdk), None, None) = (sdk, found, content_md5) {
            return Err(Code::InvalidRequest.with(format!(
                "x-amz-sdk-checksum-algorithm specified, but no corresponding {} or x-amz-trailer headers were found.",
                header(sdk)
            )));
        }
        Ok(declared)
    }

    /// The algorithm of the checksum that comes with the body, if any.
    pub fn algorithm(&self) -> Option<ChecksumAlgorithm> {
        self.value.as_ref().map(Checksum::algorithm).or(self.trailer)
    }
}

/// The error for a second checksum.
pub fn one_checksum() -> S3Error {
    Code::InvalidRequest
        .with("Expecting a single x-amz-checksum- header. Multiple checksum types are not allowed.")
}

fn checksum_suffix(name: &[u8]) -> Option<&str> {
    let prefix = name.get(..15).filter(|p| p.eq_ignore_ascii_case(b"x-amz-checksum-"))?;
    std::str::from_utf8(&name[prefix.len()..]).ok()
}

fn algorithm_of_suffix(name: &str) -> Result<ChecksumAlgorithm, S3Error> {
    algorithm_named(name).ok_or_else(|| {
        Code::NotImplemented
            .with(format!("The checksum algorithm {} is not implemented.", name.to_uppercase()))
    })
}

/// Parses the name of an algorithm, as in a header.
pub fn parse_algorithm(name: &str) -> Result<ChecksumAlgorithm, S3Error> {
    algorithm_named(name).ok_or_else(|| {
        Code::InvalidRequest.with(
            "Checksum algorithm provided is unsupported. Please try again with any of the valid types: \
             [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]",
        )
    })
}

/// The checksum that a CreateMultipartUpload requests with `x-amz-checksum-algorithm` and `x-amz-checksum-type`.
pub fn multipart_from_head(head: &RequestHead) -> Result<Option<ChecksumSpec>, S3Error> {
    let algorithm = head.header_str("x-amz-checksum-algorithm").map(parse_algorithm).transpose()?;
    let kind = checksum_type_from_head(head)?;
    let Some(algorithm) = algorithm else {
        return match kind {
            None => Ok(None),
            Some(_) => Err(Code::InvalidRequest.with(
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
            )),
        };
    };
    let kind = kind.unwrap_or(match algorithm {
        ChecksumAlgorithm::Crc64Nvme => ChecksumType::FullObject,
        _ => ChecksumType::Composite,
    });
    let spec = ChecksumSpec::new(algorithm, kind);
    if !spec.exists() {
        return Err(Code::InvalidRequest.with(format!(
            "The {} checksum type cannot be used with the {} checksum algorithm.",
            type_name(kind),
            name(algorithm)
        )));
    }
    Ok(Some(spec))
}

/// Parses `x-amz-checksum-type`.
pub fn checksum_type_from_head(head: &RequestHead) -> Result<Option<ChecksumType>, S3Error> {
    let invalid = || Code::InvalidRequest.with("Value for x-amz-checksum-type header is invalid.");
    let Some(text) = head.header("x-amz-checksum-type") else { return Ok(None) };
    [ChecksumType::Composite, ChecksumType::FullObject]
        .into_iter()
        .find(|&kind| type_name(kind).as_bytes() == text)
        .map(Some)
        .ok_or_else(invalid)
}

/// Parses Content-MD5.
pub fn parse_content_md5(text: &[u8]) -> Result<[u8; 16], S3Error> {
    base64_decode(text)
        .and_then(|bytes| <[u8; 16]>::try_from(bytes.as_slice()).ok())
        .ok_or_else(|| Code::InvalidDigest.with("The Content-MD5 you specified is not valid."))
}

/// Encodes base64 with padding.
pub fn base64_encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Decodes base64 with padding.
pub fn base64_decode(text: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

#[cfg(test)]
#[path = "checksum_tests.rs"]
mod tests;
