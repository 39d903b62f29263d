//! The checksum of an object out of its parts' (AWS, "Checking object integrity").

use crate::record::{Checksum, ChecksumAlgorithm, ChecksumKind, ChecksumSpec};
use crc_fast::CrcAlgorithm;
use sha2::Digest;

/// A part's checksum, and how many bytes it covers.
pub(super) type PartChecksum<'a> = (&'a [u8], u64);

/// The object's checksum; `None` where S3 has none of that algorithm and kind, or a part's is missing.
pub(super) fn combine(spec: ChecksumSpec, parts: &[PartChecksum<'_>]) -> Option<Checksum> {
    let (algorithm, kind) = (spec.algorithm(), spec.kind());
    if parts.is_empty() || parts.iter().any(|(value, _)| value.len() != algorithm.value_len()) {
        return None;
    }
    let value = match kind {
        ChecksumKind::Composite => of_values(algorithm, parts)?,
        ChecksumKind::FullObject => of_bytes(crc(algorithm)?, algorithm.value_len(), parts),
    };
    Some(Checksum::new(algorithm, kind, value))
}

/// The checksum of the parts' checksums, one after the other.
fn of_values(algorithm: ChecksumAlgorithm, parts: &[PartChecksum<'_>]) -> Option<Vec<u8>> {
    let values: Vec<u8> = parts.iter().flat_map(|(value, _)| value.iter().copied()).collect();
    match algorithm {
        ChecksumAlgorithm::Sha1 => Some(sha1::Sha1::digest(&values).to_vec()),
        ChecksumAlgorithm::Sha256 => Some(sha2::Sha256::digest(&values).to_vec()),
        ChecksumAlgorithm::Crc32 | ChecksumAlgorithm::Crc32c => {
            Some(to_value(crc_fast::checksum(crc(algorithm)?, &values), algorithm.value_len()))
        }
        // S3 has it of whole objects only.
        ChecksumAlgorithm::Crc64nvme | ChecksumAlgorithm::Unspecified => None,
    }
}

/// The checksum of the parts' bytes, out of the parts' own.
fn of_bytes(algorithm: CrcAlgorithm, len: usize, parts: &[PartChecksum<'_>]) -> Vec<u8> {
    let mut sum = None;
    for &(value, size) in parts {
        let value = value.iter().fold(0, |sum, &byte| (sum << 8) | u64::from(byte));
        sum = Some(match sum {
            None => value,
            Some(sum) => crc_fast::checksum_combine(algorithm, sum, value, size),
        });
    }
    to_value(sum.unwrap_or(0), len)
}

fn crc(algorithm: ChecksumAlgorithm) -> Option<CrcAlgorithm> {
    match algorithm {
        ChecksumAlgorithm::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
        ChecksumAlgorithm::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
        ChecksumAlgorithm::Crc64nvme => Some(CrcAlgorithm::Crc64Nvme),
        _ => None,
    }
}

fn to_value(sum: u64, len: usize) -> Vec<u8> {
    sum.to_be_bytes()[8 - len..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value_of(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Vec<u8> {
        match algorithm {
            ChecksumAlgorithm::Sha1 => sha1::Sha1::digest(bytes).to_vec(),
            ChecksumAlgorithm::Sha256 => sha2::Sha256::digest(bytes).to_vec(),
            _ => to_value(crc_fast::checksum(crc(algorithm).unwrap(), bytes), algorithm.value_len()),
        }
    }

    #[test]
    fn the_check_values_of_the_catalogue_of_crcs_hold() {
        let hex = |algorithm| hex::encode(value_of(algorithm, b"123456789"));
        assert_eq!(hex(ChecksumAlgorithm::Crc32), "cbf43926");
        assert_eq!(hex(ChecksumAlgorithm::Crc32c), "e3069283");
        assert_eq!(hex(ChecksumAlgorithm::Crc64nvme), "ae8b14860a799888");
    }

    #[test]
    fn what_s3_does_not_have_gives_none() {
        let full = |algorithm| ChecksumSpec::new(algorithm, ChecksumKind::FullObject);
        let composite = |algorithm| ChecksumSpec::new(algorithm, ChecksumKind::Composite);
        assert_eq!(combine(full(ChecksumAlgorithm::Sha256), &[(&[0; 32], 1)]), None);
        assert_eq!(combine(composite(ChecksumAlgorithm::Crc64nvme), &[(&[0; 8], 1)]), None);
        assert_eq!(combine(full(ChecksumAlgorithm::Crc32), &[(&[], 1)]), None, "a part without one");
        assert_eq!(combine(full(ChecksumAlgorithm::Crc32), &[]), None);
    }

    proptest! {
        #[test]
        fn a_combined_crc_is_that_of_all_bytes(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..6)) {
            for algorithm in [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32c, ChecksumAlgorithm::Crc64nvme] {
                let values: Vec<_> = parts.iter().map(|p| value_of(algorithm, p)).collect();
                let sums: Vec<_> = values.iter().zip(&parts).map(|(v, p)| (v.as_slice(), p.len() as u64)).collect();
                let got = combine(ChecksumSpec::new(algorithm, ChecksumKind::FullObject), &sums).unwrap();
                prop_assert_eq!(got.value, value_of(algorithm, &parts.concat()));
            }
        }

        #[test]
        fn a_composite_is_that_of_the_values(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..6)) {
            for algorithm in [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32c, ChecksumAlgorithm::Sha1, ChecksumAlgorithm::Sha256] {
                let values: Vec<_> = parts.iter().map(|p| value_of(algorithm, p)).collect();
                let sums: Vec<_> = values.iter().map(|v| (v.as_slice(), 1)).collect();
                let got = combine(ChecksumSpec::new(algorithm, ChecksumKind::Composite), &sums).unwrap();
                prop_assert_eq!(got.value, value_of(algorithm, &values.concat()));
            }
        }
    }
}
