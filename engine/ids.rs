//! Identifiers that are never reused: UUIDs of version 7 (RFC 9562), so that they sort by creation time.
//!
//! Promises: a generator's ids strictly increase, even when the clock stands still or steps back. Time and randomness
//! are passed in as arguments. This module also holds the fixed-seed hasher for tables keyed by ids or by small keys
//! that an attacker can't choose freely.

use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::str::FromStr;

use crate::error::Error;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// When the id was made, in milliseconds since 1970.
            pub fn unix_ms(&self) -> u64 {
                u64::from_be_bytes([
                    0, 0, self.0[0], self.0[1], self.0[2], self.0[3], self.0[4], self.0[5],
                ])
            }

            /// 32 hex digits without dashes.
            pub fn to_hex(&self) -> String {
                self.0.iter().map(|byte| format!("{byte:02x}")).collect()
            }
        }

        impl fmt::Display for $name {
            /// The usual text form, 8-4-4-4-12 hex digits.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_uuid(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_uuid(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            /// Parses 32 hex digits, with all four dashes in place or with none.
            fn from_str(text: &str) -> Result<$name, Error> {
                parse_uuid(text).map($name).ok_or(Error::Invalid(concat!(stringify!($name), " is not a UUID")))
            }
        }
    };
}

id!(/// Names a blob: one stored run of bytes, the body of a PUT or one part.
    DataId);
id!(/// Names one version of an object.
    VersionId);
id!(/// Names a multipart upload.
    UploadId);
id!(/// Names a cluster.
    ClusterId);
id!(/// Names a node.
    NodeId);
id!(/// Names a command to the metadata store, so that its outcome can be matched to its caller.
    CommandId);

fn write_uuid(bytes: &[u8; 16], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            f.write_str("-")?;
        }
        write!(f, "{byte:02x}")?;
    }
    Ok(())
}

fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let text = text.as_bytes();
    let dashed = match text.len() {
        32 => false,
        36 => true,
        _ => return None,
    };
    let mut out = [0; 16];
    let mut at = 0;
    for (index, byte) in out.iter_mut().enumerate() {
        if dashed && matches!(index, 4 | 6 | 8 | 10) {
            if text[at] != b'-' {
                return None;
            }
            at += 1;
        }
        let digit = |byte: u8| (byte as char).to_digit(16);
        *byte = (digit(text[at])? << 4 | digit(text[at + 1])?) as u8;
        at += 2;
    }
    Some(out)
}

/// Makes the ids of one core.
#[derive(Debug, Default)]
pub struct IdGenerator {
    last_ms: u64,
    /// The 74 random bits of the last id: 12 above the variant, 62 below.
    last_random: u128,
}

const RANDOM_BITS: u32 = 74;

impl IdGenerator {
    /// A generator that has made no id yet.
    pub fn new() -> IdGenerator {
        IdGenerator::default()
    }

    /// The 16 bytes of a UUIDv7, greater than every one that this generator made before.
    ///
    /// `unix_ms` is the time and `random` is fresh random bits. While the time does not advance, the random part grows
    /// by 1 to 2^32 per id, so that ids stay hard to guess.
    pub fn next(&mut self, unix_ms: u64, random: u128) -> [u8; 16] {
        let mask = (1u128 << RANDOM_BITS) - 1;
        if unix_ms > self.last_ms {
            self.last_ms = unix_ms;
            // The top bit starts clear, to leave room for counting up.
            self.last_random = random & (mask >> 1);
        } else {
            self.last_random += 1 + (random & 0xffff_ffff);
            if self.last_random > mask {
                self.last_random &= mask >> 1;
                self.last_ms += 1;
            }
        }
        let high = (self.last_random >> 62) & 0xfff;
        let low = self.last_random & ((1 << 62) - 1);
        let ms = u128::from(self.last_ms & 0xffff_ffff_ffff);
        (ms << 80 | 7 << 76 | high << 64 | 0b10 << 62 | low).to_be_bytes()
    }

    /// A new data id.
    pub fn data_id(&mut self, unix_ms: u64, random: u128) -> DataId {
        DataId(self.next(unix_ms, random))
    }

    /// A new version id.
    pub fn version_id(&mut self, unix_ms: u64, random: u128) -> VersionId {
        VersionId(self.next(unix_ms, random))
    }

    /// A new upload id.
    pub fn upload_id(&mut self, unix_ms: u64, random: u128) -> UploadId {
        UploadId(self.next(unix_ms, random))
    }

    /// A new command id.
    pub fn command_id(&mut self, unix_ms: u64, random: u128) -> CommandId {
        CommandId(self.next(unix_ms, random))
    }
}

/// Mixes 64 bits so that each input bit reaches every output bit (the finisher of SplitMix64, Steele et al. 2014).
pub const fn mix64(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Builds hashers with a fixed seed, so that iteration order is the same in every process.
#[derive(Debug, Clone, Copy, Default)]
pub struct FixedState;

/// The hasher of [`FixedState`]: it takes eight bytes at a time through [`mix64`].
#[derive(Debug, Clone, Default)]
pub struct FixedHasher(u64);

impl BuildHasher for FixedState {
    type Hasher = FixedHasher;

    fn build_hasher(&self) -> FixedHasher {
        FixedHasher(0x9e37_79b9_7f4a_7c15)
    }
}

impl Hasher for FixedHasher {
    fn write(&mut self, bytes: &[u8]) {
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
        let rest = chunks.remainder();
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.write_u64(u64::from_le_bytes(word) ^ ((rest.len() as u64) << 56));
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = mix64(self.0.rotate_left(5) ^ value).wrapping_add(0x9e37_79b9_7f4a_7c15);
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_increase_while_the_clock_stands_still_and_steps_back() {
        let mut generator = IdGenerator::new();
        let mut last = [0; 16];
        for (step, ms) in [5, 5, 5, 4, 6, 6, 1, 7].into_iter().enumerate() {
            let id = generator.next(ms, u128::MAX - step as u128);
            assert!(id > last);
            assert_eq!(id[6] >> 4, 7, "version");
            assert_eq!(id[8] >> 6, 0b10, "variant");
            last = id;
        }
    }

    #[test]
    fn counting_past_the_random_part_moves_to_the_next_millisecond() {
        let mut generator = IdGenerator { last_ms: 9, last_random: (1 << RANDOM_BITS) - 1 };
        let id = DataId(generator.next(9, 0));
        assert_eq!(id.unix_ms(), 10);
    }

    #[test]
    fn the_layout_is_that_of_rfc_9562() {
        let id = DataId(IdGenerator::new().next(0x0123_4567_89ab, 0));
        assert_eq!(id.to_string(), "01234567-89ab-7000-8000-000000000000");
        assert_eq!(id.unix_ms(), 0x0123_4567_89ab);
    }

    #[test]
    fn both_text_forms_parse_back_and_junk_is_refused() {
        let id = VersionId(IdGenerator::new().next(1_700_000_000_000, 0x1234_5678_9abc_def0));
        assert_eq!(id.to_string().parse::<VersionId>(), Ok(id));
        assert_eq!(id.to_hex().parse::<VersionId>(), Ok(id));
        for junk in [
            "",
            "null",
            "01234567-89ab-7000-8000-00000000000",
            "0123456789ab70008000-000000000000----",
            "+1234567-89ab-7000-8000-000000000000",
        ] {
            assert!(junk.parse::<VersionId>().is_err(), "{junk}");
        }
    }

    #[test]
    fn the_hasher_has_fixed_values() {
        assert_eq!(FixedState.hash_one(1u64), FixedState.hash_one(1u64));
        let mut hasher = FixedState.build_hasher();
        hasher.write(b"hello, world");
        assert_eq!(hasher.finish(), 0xfa6f_eff0_09ea_467e);
    }
}
