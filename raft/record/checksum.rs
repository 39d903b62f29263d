//! S3's additional checksums, as stored.

use engine::hash::ChecksumAlgorithm;

/// What a checksum of a multipart object covers. Numbers are frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ChecksumType {
    /// All bytes of the object.
    FullObject = 0,
    /// The parts' checksums, concatenated; its text ends with `-N`.
    Composite = 1,
}

/// An algorithm and what it covers, without a value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct ChecksumSpec {
    /// The algorithm's number; read it with `algorithm()`.
    #[prost(int32, tag = "1")]
    pub algorithm: i32,
    /// Read it with `kind()`.
    #[prost(enumeration = "ChecksumType", tag = "2")]
    pub kind: i32,
}

/// An object's checksum.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Checksum {
    /// The algorithm's number; read it with `algorithm()`.
    #[prost(int32, tag = "1")]
    pub algorithm: i32,
    /// Read it with `kind()`.
    #[prost(enumeration = "ChecksumType", tag = "2")]
    pub kind: i32,
    /// The value, big-endian as S3 writes it (before base64).
    #[prost(bytes = "vec", tag = "3")]
    pub value: Vec<u8>,
}

/// The number that stands for an algorithm in storage. Numbers are frozen; 0 means none and is never stored.
fn number_of(algorithm: ChecksumAlgorithm) -> i32 {
    match algorithm {
        ChecksumAlgorithm::Crc32 => 1,
        ChecksumAlgorithm::Crc32c => 2,
        ChecksumAlgorithm::Crc64Nvme => 3,
        ChecksumAlgorithm::Sha1 => 4,
        ChecksumAlgorithm::Sha256 => 5,
    }
}

impl Checksum {
    /// From a value and what it covers.
    pub fn new(value: &engine::hash::Checksum, kind: ChecksumType) -> Self {
        Self { algorithm: number_of(value.algorithm()), kind: kind.into(), value: value.as_bytes().to_vec() }
    }

    /// Its algorithm and kind.
    pub fn spec(&self) -> ChecksumSpec {
        ChecksumSpec { algorithm: self.algorithm, kind: self.kind }
    }

    /// The value; `None` if this version does not know the algorithm.
    pub fn value(&self) -> Option<engine::hash::Checksum> {
        engine::hash::Checksum::new(self.spec().algorithm()?, &self.value)
    }

    pub(crate) fn check(&self) -> Result<(), &'static str> {
        self.spec().check()?;
        self.value().map(drop).ok_or("a checksum's value has the wrong length")
    }
}

impl ChecksumSpec {
    /// What an object gets if its client asked for nothing: CRC-64/NVME of all its bytes.
    pub const DEFAULT: ChecksumSpec = ChecksumSpec { algorithm: 3, kind: ChecksumType::FullObject as i32 };

    /// From its parts.
    pub fn new(algorithm: ChecksumAlgorithm, kind: ChecksumType) -> Self {
        Self { algorithm: number_of(algorithm), kind: kind.into() }
    }

    /// The algorithm; `None` for one that this version does not know.
    pub fn algorithm(self) -> Option<ChecksumAlgorithm> {
        ChecksumAlgorithm::ALL.into_iter().find(|&algorithm| number_of(algorithm) == self.algorithm)
    }

    /// Algorithm and kind; `None` if the algorithm is unknown.
    pub fn known(self) -> Option<(ChecksumAlgorithm, ChecksumType)> {
        Some((self.algorithm()?, self.kind()))
    }

    /// Whether S3 has such checksums: CRC64NVME exists only for full objects, the hashes only as composites.
    pub fn exists(self) -> bool {
        self.known().is_some_and(|(algorithm, kind)| match algorithm {
            ChecksumAlgorithm::Crc32 | ChecksumAlgorithm::Crc32c => true,
            ChecksumAlgorithm::Crc64Nvme => kind == ChecksumType::FullObject,
            ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256 => kind == ChecksumType::Composite,
        })
    }

    pub(crate) fn check(self) -> Result<(), &'static str> {
        if self.algorithm().is_none() {
            return Err("a checksum's algorithm is unknown");
        }
        ChecksumType::try_from(self.kind).map(drop).map_err(|_| "a checksum's kind is unknown")
    }
}
