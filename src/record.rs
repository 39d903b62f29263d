//! The file format of small versioned records. The head is checked before the body is decoded.
//!
//! | offset | bytes | what                                        |
//! |--------|-------|---------------------------------------------|
//! | 0      | 4     | magic `HMSR`                                |
//! | 4      | 4     | kind, four letters                          |
//! | 8      | 2     | version, little-endian                      |
//! | 10     | 2     | zero                                        |
//! | 12     | 4     | length of the body, little-endian           |
//! | 16     | 4     | CRC-32C of bytes 0..16 and of the body      |
//! | 20     | …     | the body: a protobuf message                |
//!
//! The body evolves by adding fields; the version is raised only when an old reader would misread it.

use crate::error::{Error, Result};
use std::path::Path;

const MAGIC: [u8; 4] = *b"HMSR";
const HEAD_BYTES: usize = 20;
/// The longest body.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// What a record holds: four letters and the newest version that this binary knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Four letters, written into the file.
    pub tag: [u8; 4],
    /// The newest version known.
    pub version: u16,
}

/// Encodes a message as a file.
pub fn encode<M: prost::Message>(kind: Kind, message: &M) -> Vec<u8> {
    let body = message.encode_to_vec();
    assert!(body.len() <= BODY_BYTES_MAX, "our own record is too long");
    let mut out = Vec::with_capacity(HEAD_BYTES + body.len());
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&kind.tag);
    out.extend_from_slice(&kind.version.to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&(body.len() as u32).to_le_bytes());
    let crc = checksum(&out, &body);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&body);
    out
}

/// Decodes what [`encode`] wrote; errors name `path`.
pub fn decode<M: prost::Message + Default>(kind: Kind, bytes: &[u8], path: &Path) -> Result<M> {
    let bad = |what: &str| Error::refused(format!("{} {what}: restore it from a backup", path.display()));
    let Some((head, body)) = bytes.split_at_checked(HEAD_BYTES) else {
        return Err(bad("is cut short"));
    };
    if head[0..4] != MAGIC || head[4..8] != kind.tag {
        return Err(bad("is not the record expected there"));
    }
    let length = u32::from_le_bytes([head[12], head[13], head[14], head[15]]) as usize;
    if length > BODY_BYTES_MAX || length != body.len() {
        return Err(bad("is cut short or too long"));
    }
    let crc = u32::from_le_bytes([head[16], head[17], head[18], head[19]]);
    if crc != checksum(&head[..16], body) {
        return Err(bad("is damaged (its checksum is wrong)"));
    }
    let version = u16::from_le_bytes([head[8], head[9]]);
    if version == 0 || version > kind.version {
        return Err(Error::refused(format!(
            "{} has version {version}, this binary knows up to {}: run a newer hamster",
            path.display(),
            kind.version
        )));
    }
    M::decode(body).map_err(|_| bad("is damaged (not a message)"))
}

/// The CRC-32C of a head followed by a body.
pub fn checksum(head: &[u8], body: &[u8]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(head);
    digest.update(body);
    digest.finalize() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, PartialEq, prost::Message)]
    struct Sample {
        #[prost(uint32, tag = "1")]
        number: u32,
        #[prost(string, tag = "2")]
        text: String,
    }

    const KIND: Kind = Kind { tag: *b"test", version: 2 };

    #[test]
    fn the_bytes_on_disk_stay_what_they_were() {
        let bytes = encode(KIND, &Sample { number: 7, text: "ab".into() });
        let golden = "484d53527465737402000000060000000000000008071202 6162".replace(' ', "");
        let mut crc_cleared = bytes.clone();
        crc_cleared[16..20].fill(0);
        assert_eq!(hex::encode(crc_cleared), golden);
    }

    #[test]
    fn a_newer_version_is_refused_by_its_number() {
        let bytes = encode(Kind { version: 3, ..KIND }, &Sample::default());
        let message = decode::<Sample>(KIND, &bytes, Path::new("r")).unwrap_err().to_string();
        assert!(message.contains("version 3"), "{message}");
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back(number: u32, text in ".{0,40}") {
            let sample = Sample { number, text };
            prop_assert_eq!(decode::<Sample>(KIND, &encode(KIND, &sample), Path::new("r")).unwrap(), sample);
        }

        #[test]
        fn one_flipped_bit_or_a_cut_is_detected(at in 0usize..29, bit in 0u8..8, cut in 0usize..29) {
            let bytes = encode(KIND, &Sample { number: 300, text: "hello".into() });
            let mut flipped = bytes.clone();
            let at = at % flipped.len();
            flipped[at] ^= 1 << bit;
            prop_assert!(decode::<Sample>(KIND, &flipped, Path::new("r")).is_err());
            prop_assert!(decode::<Sample>(KIND, &bytes[..cut.min(bytes.len() - 1)], Path::new("r")).is_err());
        }
    }
}
