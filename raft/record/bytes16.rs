//! Sixteen bytes: an id (UUIDv7) or an MD5.

use std::fmt;

/// Sixteen bytes that are copied, compared and stored without an allocation: an id or an MD5.
///
/// Stored as a message of two fixed64 halves, the first bytes first, so that its length can't be wrong. It sorts as
/// its bytes do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Message)]
#[prost(skip_debug)]
pub struct Bytes16 {
    #[prost(fixed64, tag = "1")]
    high: u64,
    #[prost(fixed64, tag = "2")]
    low: u64,
}

impl Bytes16 {
    /// The bytes, in order.
    pub fn to_bytes(self) -> [u8; 16] {
        ((u128::from(self.high) << 64) | u128::from(self.low)).to_be_bytes()
    }

    /// From exactly sixteen bytes; `None` for any other length.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes: [u8; 16]| Self::from(bytes))
    }

    /// From 32 hexadecimal digits; `None` for anything else.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).ok().map(|()| Self::from(bytes))
    }

    /// The next value in order, wrapping at the end.
    pub(crate) fn next(self) -> Self {
        let value = u128::from_be_bytes(self.to_bytes()).wrapping_add(1);
        Self::from(value.to_be_bytes())
    }

    /// All bits inverted, which reverses the order.
    pub(crate) fn complement(self) -> Self {
        Self { high: !self.high, low: !self.low }
    }

    /// In lower-case hexadecimal.
    pub fn to_hex(self) -> String {
        hex::encode(self.to_bytes())
    }
}

impl From<[u8; 16]> for Bytes16 {
    fn from(bytes: [u8; 16]) -> Self {
        let value = u128::from_be_bytes(bytes);
        Self { high: (value >> 64) as u64, low: value as u64 }
    }
}

impl From<Bytes16> for [u8; 16] {
    fn from(value: Bytes16) -> Self {
        value.to_bytes()
    }
}

impl fmt::Debug for Bytes16 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}
