//! Digests of bodies, computed in one pass per buffer, for many requests at a time.
//!
//! A request opens a [`BodyHash`] at its core's [`HashService`] with the digests that it needs ([`Plan`]), and passes
//! it buffers. MD5 and SHA-256, which are slow for a single stream, wait a moment and then advance for all requests
//! together ([`update_many`], [`sha256::update_many`]). The other digests are computed at once.
//!
//! Promises: a digest does not depend on how the bytes were split or on what else is being hashed. A lone stream never
//! waits. Left to others: what the digests are compared with.

mod blocks;
mod md5;
mod service;
pub mod sha256;
mod simd;

pub use md5::{Md5, update_many};
pub use service::{BodyHash, HashService, Hurry, Ranges};
pub use sha256::Sha256;

use crc_fast::CrcAlgorithm;
use sha1::Digest as _;

/// S3's additional checksum algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChecksumAlgorithm {
    /// CRC-32 as in zlib.
    Crc32,
    /// CRC-32C (Castagnoli).
    Crc32c,
    /// CRC-64/NVME.
    Crc64Nvme,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
}

impl ChecksumAlgorithm {
    /// All algorithms.
    pub const ALL: [ChecksumAlgorithm; 5] = [
        ChecksumAlgorithm::Crc32,
        ChecksumAlgorithm::Crc32c,
        ChecksumAlgorithm::Crc64Nvme,
        ChecksumAlgorithm::Sha1,
        ChecksumAlgorithm::Sha256,
    ];

    /// Length of a value, bytes.
    pub const fn value_len(self) -> usize {
        match self {
            ChecksumAlgorithm::Crc32 | ChecksumAlgorithm::Crc32c => 4,
            ChecksumAlgorithm::Crc64Nvme => 8,
            ChecksumAlgorithm::Sha1 => 20,
            ChecksumAlgorithm::Sha256 => 32,
        }
    }

    const fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            ChecksumAlgorithm::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            ChecksumAlgorithm::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            ChecksumAlgorithm::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256 => None,
        }
    }
}

/// A checksum's value. Its bytes are in the order that S3 encodes in base64 (big-endian for CRCs).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Checksum {
    algorithm: ChecksumAlgorithm,
    bytes: [u8; 32],
}

impl Checksum {
    /// A value from its bytes; `None` if their number is wrong for the algorithm.
    pub fn new(algorithm: ChecksumAlgorithm, value: &[u8]) -> Option<Checksum> {
        let mut bytes = [0; 32];
        bytes.get_mut(..value.len())?.copy_from_slice(value);
        (value.len() == algorithm.value_len()).then_some(Checksum { algorithm, bytes })
    }

    /// The checksum of `bytes`.
    pub fn of(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Checksum {
        let mut state = ChecksumState::new(algorithm);
        state.update(bytes);
        state.finish()
    }

    fn of_crc(algorithm: ChecksumAlgorithm, value: u64) -> Checksum {
        let mut bytes = [0; 32];
        let len = algorithm.value_len();
        bytes[..len].copy_from_slice(&value.to_be_bytes()[8 - len..]);
        Checksum { algorithm, bytes }
    }

    /// The algorithm.
    pub fn algorithm(&self) -> ChecksumAlgorithm {
        self.algorithm
    }

    /// The value.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.value_len()]
    }

    /// The checksum of the bytes behind this value, followed by the `next_len` bytes behind `next`. Multipart uploads
    /// with full-object checksums need this. `None` for algorithms that can't combine, or if the two differ.
    pub fn followed_by(&self, next: &Checksum, next_len: u64) -> Option<Checksum> {
        let algorithm = self.algorithm.crc().filter(|_| self.algorithm == next.algorithm)?;
        let number = |checksum: &Checksum| {
            checksum.as_bytes().iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte))
        };
        let combined = crc_fast::checksum_combine(algorithm, number(self), number(next), next_len);
        Some(Checksum::of_crc(self.algorithm, combined))
    }
}

impl std::fmt::Debug for Checksum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:02x?}", self.algorithm, self.as_bytes())
    }
}

/// A checksum being computed.
#[derive(Clone)]
pub struct ChecksumState {
    algorithm: ChecksumAlgorithm,
    inner: Inner,
}

#[derive(Clone)]
enum Inner {
    Crc(crc_fast::Digest),
    Sha1(sha1::Sha1),
    Sha256(Sha256),
}

impl ChecksumState {
    /// The state before any bytes.
    pub fn new(algorithm: ChecksumAlgorithm) -> ChecksumState {
        let inner = match algorithm.crc() {
            Some(algorithm) => Inner::Crc(crc_fast::Digest::new(algorithm)),
            None if algorithm == ChecksumAlgorithm::Sha1 => Inner::Sha1(sha1::Sha1::new()),
            None => Inner::Sha256(Sha256::new()),
        };
        ChecksumState { algorithm, inner }
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.inner {
            Inner::Crc(digest) => digest.update(bytes),
            Inner::Sha1(digest) => digest.update(bytes),
            Inner::Sha256(digest) => digest.update(bytes),
        }
    }

    /// The value.
    pub fn finish(self) -> Checksum {
        let mut bytes = [0; 32];
        match self.inner {
            Inner::Crc(digest) => return Checksum::of_crc(self.algorithm, digest.finalize()),
            Inner::Sha1(digest) => bytes[..20].copy_from_slice(&digest.finalize()),
            Inner::Sha256(digest) => bytes.copy_from_slice(&digest.finish()),
        }
        Checksum { algorithm: self.algorithm, bytes }
    }
}

/// The digests to compute over a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// MD5, for the ETag and Content-MD5.
    pub md5: bool,
    /// SHA-256, for a signed payload.
    pub sha256: bool,
    /// SHA-256 of each signed chunk.
    pub chunks: bool,
    /// An additional checksum.
    pub checksum: Option<ChecksumAlgorithm>,
}

/// The digests of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digests {
    /// MD5, if planned.
    pub md5: Option<[u8; 16]>,
    /// SHA-256, if planned or requested as the additional checksum.
    pub sha256: Option<[u8; 32]>,
    /// SHA-256 of each signed chunk, but for those that [`BodyHash::next_chunk`] returned, if planned.
    pub chunks: Vec<[u8; 32]>,
    /// The additional checksum, if planned.
    pub checksum: Option<Checksum>,
}

#[cfg(test)]
mod tests;
