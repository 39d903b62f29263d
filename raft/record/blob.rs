//! Where an object's bytes are.

use super::Bytes16;

/// One blob of a version: the body of a PUT, or one part of a multipart upload.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct BlobRef {
    /// The blob's data id (UUIDv7).
    #[prost(message, required, tag = "1")]
    pub data_id: Bytes16,
    /// Bytes of payload.
    #[prost(uint64, tag = "2")]
    pub size: u64,
    /// The partition it lies in, 0–4095.
    #[prost(uint32, tag = "3")]
    pub partition: u32,
    /// Data shards per stripe.
    #[prost(uint32, tag = "4")]
    pub k: u32,
    /// Parity shards per stripe.
    #[prost(uint32, tag = "5")]
    pub m: u32,
    /// The erasure codec's number in `engine`.
    #[prost(uint32, tag = "6")]
    pub codec: u32,
    /// The part's number as it was uploaded, 1–10,000; 0 for the body of a PUT.
    #[prost(uint32, tag = "7")]
    pub part_number: u32,
    /// The part's MD5; `None` for the body of a PUT, whose MD5 is in its version.
    #[prost(message, optional, tag = "8")]
    pub md5: Option<Bytes16>,
    /// The part's checksum by the version's algorithm; empty where there is none, and for the body of a PUT.
    #[prost(bytes = "vec", tag = "9")]
    pub checksum: Vec<u8>,
}

/// The number of partitions (DESIGN §2: 4096 partitions, fixed forever).
const PARTITIONS: u32 = 4096;

impl BlobRef {
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if self.k == 0 || self.k.saturating_add(self.m) > 255 {
            return Err("a blob's profile is out of range");
        }
        if self.partition >= PARTITIONS {
            return Err("a blob's partition is out of range");
        }
        Ok(())
    }
}
