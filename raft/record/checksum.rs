//! S3's additional checksums, as stored.

/// S3's checksum algorithms. Numbers are frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ChecksumAlgorithm {
    /// None was named; never stored in a [`Checksum`].
    Unspecified = 0,
    /// CRC-32 (ISO-HDLC), 4 bytes.
    Crc32 = 1,
    /// CRC-32C (iSCSI), 4 bytes.
    Crc32c = 2,
    /// CRC-64/NVME, 8 bytes.
    Crc64nvme = 3,
    /// SHA-1, 20 bytes.
    Sha1 = 4,
    /// SHA-256, 32 bytes.
    Sha256 = 5,
}

impl ChecksumAlgorithm {
    /// Bytes of a value; 0 for [`Self::Unspecified`].
    pub fn value_len(self) -> usize {
        match self {
            Self::Unspecified => 0,
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }
}

/// What a checksum of a multipart object covers. Numbers are frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ChecksumKind {
    /// All bytes of the object.
    FullObject = 0,
    /// The parts' checksums, one after the other; its text ends with `-N`.
    Composite = 1,
}

/// An algorithm and what it covers, without a value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct ChecksumSpec {
    /// Read it with `algorithm()`.
    #[prost(enumeration = "ChecksumAlgorithm", tag = "1")]
    pub algorithm: i32,
    /// Read it with `kind()`.
    #[prost(enumeration = "ChecksumKind", tag = "2")]
    pub kind: i32,
}

/// An object's checksum.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Checksum {
    /// Read it with `algorithm()`.
    #[prost(enumeration = "ChecksumAlgorithm", tag = "1")]
    pub algorithm: i32,
    /// Read it with `kind()`.
    #[prost(enumeration = "ChecksumKind", tag = "2")]
    pub kind: i32,
    /// The value, big-endian as S3 writes it (before base64).
    #[prost(bytes = "vec", tag = "3")]
    pub value: Vec<u8>,
}

impl Checksum {
    /// Of its parts.
    pub fn new(algorithm: ChecksumAlgorithm, kind: ChecksumKind, value: Vec<u8>) -> Self {
        Self { algorithm: algorithm.into(), kind: kind.into(), value }
    }

    /// Its algorithm and kind.
    pub fn spec(&self) -> ChecksumSpec {
        ChecksumSpec { algorithm: self.algorithm, kind: self.kind }
    }

    pub(crate) fn check(&self) -> Result<(), &'static str> {
        self.spec().check()?;
        if self.value.len() != self.algorithm().value_len() {
            return Err("a checksum's value has the wrong length");
        }
        Ok(())
    }
}

impl ChecksumSpec {
    /// Of its parts.
    pub fn new(algorithm: ChecksumAlgorithm, kind: ChecksumKind) -> Self {
        Self { algorithm: algorithm.into(), kind: kind.into() }
    }

    pub(crate) fn check(self) -> Result<(), &'static str> {
        if self.algorithm() == ChecksumAlgorithm::Unspecified {
            return Err("a checksum's algorithm is unknown");
        }
        ChecksumKind::try_from(self.kind).map(drop).map_err(|_| "a checksum's kind is unknown")
    }
}
