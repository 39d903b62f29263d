//! Computes the checksum of an object from those of its parts (AWS, "Checking object integrity").

use crate::record::{Checksum, ChecksumSpec, ChecksumType};
use engine::hash;

/// A part's checksum, and how many bytes it covers.
pub(super) type PartChecksum<'a> = (&'a [u8], u64);

/// The object's checksum; `None` if S3 has none of that algorithm and kind, or a part has none.
pub(super) fn combine(spec: ChecksumSpec, parts: &[PartChecksum<'_>]) -> Option<Checksum> {
    let algorithm = spec.algorithm().filter(|_| spec.exists())?;
    let mut sums = Vec::with_capacity(parts.len());
    for &(value, size) in parts {
        sums.push((hash::Checksum::new(algorithm, value)?, size));
    }
    let (&(first, _), rest) = sums.split_first()?;
    let sum = match spec.kind() {
        ChecksumType::FullObject => {
            rest.iter().try_fold(first, |sum, (next, size)| sum.followed_by(next, *size))?
        }
        ChecksumType::Composite => {
            let values: Vec<u8> = parts.iter().flat_map(|(value, _)| value.iter().copied()).collect();
            hash::Checksum::of(algorithm, &values)
        }
    };
    Some(Checksum::new(&sum, spec.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::hash::ChecksumAlgorithm::{self, *};
    use proptest::prelude::*;

    fn spec(algorithm: ChecksumAlgorithm, kind: ChecksumType) -> ChecksumSpec {
        ChecksumSpec::new(algorithm, kind)
    }

    #[test]
    fn a_checksum_that_s3_does_not_have_is_none() {
        assert_eq!(combine(spec(Sha256, ChecksumType::FullObject), &[(&[0; 32], 1)]), None);
        assert_eq!(combine(spec(Crc64Nvme, ChecksumType::Composite), &[(&[0; 8], 1)]), None);
        assert_eq!(combine(ChecksumSpec { algorithm: 99, kind: 0 }, &[(&[0; 8], 1)]), None);
        let whole = spec(Crc32, ChecksumType::FullObject);
        assert_eq!(combine(whole, &[(&[], 1)]), None, "a part without a checksum");
        assert_eq!(combine(whole, &[(&[0; 4], 1), (&[0; 8], 1)]), None, "a part with another algorithm");
        assert_eq!(combine(whole, &[]), None);
    }

    proptest! {
        #[test]
        fn a_combined_crc_is_that_of_all_bytes(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..6)) {
            for algorithm in [Crc32, Crc32c, Crc64Nvme] {
                let values: Vec<_> = parts.iter().map(|p| hash::Checksum::of(algorithm, p)).collect();
                let sums: Vec<_> = values.iter().zip(&parts).map(|(v, p)| (v.as_bytes(), p.len() as u64)).collect();
                let got = combine(spec(algorithm, ChecksumType::FullObject), &sums).unwrap();
                prop_assert_eq!(got.value(), Some(hash::Checksum::of(algorithm, &parts.concat())));
            }
        }

        #[test]
        fn a_composite_is_that_of_the_values(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..6)) {
            for algorithm in [Crc32, Crc32c, Sha1, Sha256] {
                let values: Vec<_> = parts.iter().map(|p| hash::Checksum::of(algorithm, p)).collect();
                let sums: Vec<_> = values.iter().map(|v| (v.as_bytes(), 1)).collect();
                let got = combine(spec(algorithm, ChecksumType::Composite), &sums).unwrap();
                let all: Vec<u8> = values.iter().flat_map(|v| v.as_bytes().to_vec()).collect();
                prop_assert_eq!(got.value(), Some(hash::Checksum::of(algorithm, &all)));
            }
        }
    }
}
