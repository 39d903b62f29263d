//! The checksums of S3: CRC32, CRC32C, CRC64NVME, SHA1 and SHA256, sent as header or trailer, and Content-MD5
//! (AWS, "Checking object integrity").
//!
//! Values travel as base64 of the big-endian bytes. A multipart object has either a *composite* value, the
//! hash of the parts' values with `-N`, or a *full-object* one, which CRCs can be combined to without reading
//! again.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::Digest;
use smallvec::SmallVec;

use crate::error::{Code, S3Error};
use crate::http::head::RequestHead;

/// One of the algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

/// Whether a multipart object's value covers the object or its parts' values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum ChecksumType {
    Composite,
    FullObject,
}

impl ChecksumType {
    /// AWS's name.
    pub fn name(self) -> &'static str {
        match self {
            ChecksumType::Composite => "COMPOSITE",
            ChecksumType::FullObject => "FULL_OBJECT",
        }
    }

    /// From AWS's name.
    pub fn parse(name: &str) -> Option<ChecksumType> {
        [ChecksumType::Composite, ChecksumType::FullObject].into_iter().find(|t| t.name() == name)
    }
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 5] =
        [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme, Algorithm::Sha1, Algorithm::Sha256];

    /// As in `x-amz-checksum-algorithm`.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "CRC32",
            Algorithm::Crc32c => "CRC32C",
            Algorithm::Crc64Nvme => "CRC64NVME",
            Algorithm::Sha1 => "SHA1",
            Algorithm::Sha256 => "SHA256",
        }
    }

    /// The header or trailer of its value.
    pub fn header(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "x-amz-checksum-crc32",
            Algorithm::Crc32c => "x-amz-checksum-crc32c",
            Algorithm::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Algorithm::Sha1 => "x-amz-checksum-sha1",
            Algorithm::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// The XML element of its value.
    pub fn element(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "ChecksumCRC32",
            Algorithm::Crc32c => "ChecksumCRC32C",
            Algorithm::Crc64Nvme => "ChecksumCRC64NVME",
            Algorithm::Sha1 => "ChecksumSHA1",
            Algorithm::Sha256 => "ChecksumSHA256",
        }
    }

    /// From its name, in any case.
    pub fn parse(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|a| a.name().eq_ignore_ascii_case(name))
    }

    /// From the name of its header, in any case.
    pub fn from_header(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|a| a.header().eq_ignore_ascii_case(name))
    }

    /// The length of a value in bytes.
    pub fn value_bytes(self) -> usize {
        match self {
            Algorithm::Crc32 | Algorithm::Crc32c => 4,
            Algorithm::Crc64Nvme => 8,
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
        }
    }

    /// What a multipart upload gets where it names the algorithm alone.
    pub fn default_type(self) -> ChecksumType {
        if self == Algorithm::Crc64Nvme { ChecksumType::FullObject } else { ChecksumType::Composite }
    }

    /// Whether it goes with the type: CRC64NVME has no composite, the hashes no full-object values.
    pub fn allows(self, kind: ChecksumType) -> bool {
        match self {
            Algorithm::Crc32 | Algorithm::Crc32c => true,
            Algorithm::Crc64Nvme => kind == ChecksumType::FullObject,
            Algorithm::Sha1 | Algorithm::Sha256 => kind == ChecksumType::Composite,
        }
    }

    fn crc(self) -> Option<crc_fast::CrcAlgorithm> {
        match self {
            Algorithm::Crc32 => Some(crc_fast::CrcAlgorithm::Crc32IsoHdlc),
            Algorithm::Crc32c => Some(crc_fast::CrcAlgorithm::Crc32Iscsi),
            Algorithm::Crc64Nvme => Some(crc_fast::CrcAlgorithm::Crc64Nvme),
            Algorithm::Sha1 | Algorithm::Sha256 => None,
        }
    }

    /// The value over two runs of bytes behind each other, from the value of each and the second one's
    /// length; none for hashes.
    pub fn combine(self, first: &Value, second: &Value, second_length: u64) -> Option<Value> {
        let combined =
            crc_fast::checksum_combine(self.crc()?, first.number(), second.number(), second_length);
        Some(Value::from_number(self, combined))
    }

    /// The composite value of parts' values.
    pub fn composite<'a>(self, parts: impl IntoIterator<Item = &'a Value>) -> Value {
        let mut hasher = Hasher::new(self);
        for part in parts {
            hasher.update(part.bytes());
        }
        hasher.finish()
    }
}

/// A checksum's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    algorithm: Algorithm,
    bytes: SmallVec<[u8; 32]>,
}

impl Value {
    /// From its bytes; none where their number is wrong.
    pub fn new(algorithm: Algorithm, bytes: &[u8]) -> Option<Value> {
        (bytes.len() == algorithm.value_bytes())
            .then(|| Value { algorithm, bytes: SmallVec::from_slice(bytes) })
    }

    fn from_number(algorithm: Algorithm, number: u64) -> Value {
        let bytes = number.to_be_bytes();
        Value { algorithm, bytes: SmallVec::from_slice(&bytes[8 - algorithm.value_bytes()..]) }
    }

    fn number(&self) -> u64 {
        self.bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b))
    }

    /// From its base64 form, as in a header.
    pub fn parse(algorithm: Algorithm, text: &[u8]) -> Result<Value, S3Error> {
        base64_decode(text).and_then(|bytes| Value::new(algorithm, &bytes)).ok_or_else(|| {
            Code::InvalidRequest.with(format!("Value for {} header is invalid.", algorithm.header()))
        })
    }

    /// Its algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its base64 form.
    pub fn to_base64(&self) -> String {
        base64_encode(&self.bytes)
    }

    /// The form of a composite value over `parts` parts.
    pub fn to_composite(&self, parts: usize) -> String {
        format!("{}-{parts}", self.to_base64())
    }
}

/// Splits a composite value's text into base64 and number of parts; a plain one has none.
pub fn split_composite(text: &str) -> (&str, Option<u32>) {
    match text.rsplit_once('-') {
        Some((value, parts)) if !parts.is_empty() && parts.bytes().all(|b| b.is_ascii_digit()) => {
            (value, parts.parse().ok())
        }
        _ => (text, None),
    }
}

/// A checksum under way.
#[derive(Debug, Clone)]
pub struct Hasher {
    algorithm: Algorithm,
    state: HasherState,
}

#[derive(Debug, Clone)]
enum HasherState {
    Crc(crc_fast::Digest),
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
}

impl Hasher {
    /// Over nothing yet.
    pub fn new(algorithm: Algorithm) -> Hasher {
        let state = match (algorithm.crc(), algorithm) {
            (Some(crc), _) => HasherState::Crc(crc_fast::Digest::new(crc)),
            (None, Algorithm::Sha1) => HasherState::Sha1(sha1::Sha1::new()),
            (None, _) => HasherState::Sha256(sha2::Sha256::new()),
        };
        Hasher { algorithm, state }
    }

    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            HasherState::Crc(digest) => digest.update(bytes),
            HasherState::Sha1(hash) => hash.update(bytes),
            HasherState::Sha256(hash) => hash.update(bytes),
        }
    }

    /// The value.
    pub fn finish(self) -> Value {
        match self.state {
            HasherState::Crc(digest) => Value::from_number(self.algorithm, digest.finalize()),
            HasherState::Sha1(hash) => {
                Value { algorithm: self.algorithm, bytes: SmallVec::from_slice(&hash.finalize()) }
            }
            HasherState::Sha256(hash) => {
                Value { algorithm: self.algorithm, bytes: SmallVec::from_slice(&hash.finalize()) }
            }
        }
    }
}

/// What a request that carries a body says about the body's checksum.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// What the body must have as its MD5.
    pub content_md5: Option<[u8; 16]>,
    /// What it must have as its checksum.
    pub value: Option<Value>,
    /// The algorithm whose value comes as trailer.
    pub trailer: Option<Algorithm>,
}

impl Wanted {
    /// Reads Content-MD5, the one `x-amz-checksum-*` allowed, `x-amz-trailer` and
    /// `x-amz-sdk-checksum-algorithm`, and refuses what contradicts itself.
    pub fn from_head(head: &RequestHead) -> Result<Wanted, S3Error> {
        let content_md5 = head.header("content-md5").map(parse_content_md5).transpose()?;
        let mut value: Option<Value> = None;
        for (name, text) in head.headers() {
            let Some(kind) = checksum_suffix(name) else { continue };
            if kind.eq_ignore_ascii_case("algorithm")
                || kind.eq_ignore_ascii_case("type")
                || kind.eq_ignore_ascii_case("mode")
            {
                continue;
            }
            let algorithm = Algorithm::parse(kind).ok_or_else(|| {
                Code::NotImplemented
                    .with(format!("The checksum algorithm {} is not implemented.", kind.to_uppercase()))
            })?;
            if value.replace(Value::parse(algorithm, text)?).is_some() {
                return Err(one_checksum());
            }
        }
        let mut trailer = None;
        let trailers = head.header_all("x-amz-trailer").flat_map(|names| names.split(|b| *b == b','));
        for name in trailers.map(<[u8]>::trim_ascii) {
            let Some(kind) = checksum_suffix(name) else { continue };
            let algorithm = Algorithm::parse(kind).ok_or_else(|| {
                Code::NotImplemented
                    .with(format!("The checksum algorithm {} is not implemented.", kind.to_uppercase()))
            })?;
            if value.is_some() || trailer.replace(algorithm).is_some() {
                return Err(one_checksum());
            }
        }
        let found = value.as_ref().map(Value::algorithm).or(trailer);
        let sdk = head.header_str("x-amz-sdk-checksum-algorithm").map(parse_algorithm).transpose()?;
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
                sdk.header()
            )));
        }
        Ok(Wanted { content_md5, value, trailer })
    }

    /// The algorithm of the checksum that the body comes with, if it does.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.value.as_ref().map(Value::algorithm).or(self.trailer)
    }
}

fn one_checksum() -> S3Error {
    Code::InvalidRequest
        .with("Expecting a single x-amz-checksum- header. Multiple checksum types are not allowed.")
}

fn checksum_suffix(name: &[u8]) -> Option<&str> {
    let prefix = name.get(..15).filter(|p| p.eq_ignore_ascii_case(b"x-amz-checksum-"))?;
    std::str::from_utf8(&name[prefix.len()..]).ok()
}

/// Reads the name of an algorithm in a header.
pub fn parse_algorithm(name: &str) -> Result<Algorithm, S3Error> {
    Algorithm::parse(name).ok_or_else(|| {
        Code::InvalidRequest.with(
            "Checksum algorithm provided is unsupported. Please try again with any of the valid types: \
             [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]",
        )
    })
}

/// What CreateMultipartUpload asks for by `x-amz-checksum-algorithm` and `x-amz-checksum-type`.
pub fn multipart_from_head(head: &RequestHead) -> Result<Option<(Algorithm, ChecksumType)>, S3Error> {
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
    let kind = kind.unwrap_or(algorithm.default_type());
    if !algorithm.allows(kind) {
        return Err(Code::InvalidRequest.with(format!(
            "The {} checksum type cannot be used with the {} checksum algorithm.",
            kind.name(),
            algorithm.name()
        )));
    }
    Ok(Some((algorithm, kind)))
}

/// Reads `x-amz-checksum-type`.
pub fn checksum_type_from_head(head: &RequestHead) -> Result<Option<ChecksumType>, S3Error> {
    let invalid = || Code::InvalidRequest.with("Value for x-amz-checksum-type header is invalid.");
    let Some(text) = head.header("x-amz-checksum-type") else { return Ok(None) };
    let text = std::str::from_utf8(text).map_err(|_| invalid())?;
    ChecksumType::parse(text).map(Some).ok_or_else(invalid)
}

/// Reads Content-MD5.
pub fn parse_content_md5(text: &[u8]) -> Result<[u8; 16], S3Error> {
    base64_decode(text)
        .and_then(|bytes| <[u8; 16]>::try_from(bytes.as_slice()).ok())
        .ok_or_else(|| Code::InvalidDigest.with("The Content-MD5 you specified is not valid."))
}

/// Base64 with padding.
pub fn base64_encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Bytes of base64 with padding, of at most 64 bytes.
pub fn base64_decode_any(text: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Decodes base64 of a checksum's length at most.
pub fn base64_decode(text: &[u8]) -> Option<SmallVec<[u8; 32]>> {
    if text.len() > 88 {
        return None;
    }
    let mut space = [0u8; 66];
    let len = STANDARD.decode_slice(text, &mut space).ok()?;
    Some(SmallVec::from_slice(&space[..len]))
}

#[cfg(test)]
#[path = "checksum_tests.rs"]
mod tests;
