//! The `g/` row: a blob that nothing refers to any more.

use super::{BlobRef, Bytes16, Record};

/// A blob whose shards are to be deleted, wherever the nodes of its partition hold them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct ReclaimRecord {
    /// The blob's data id, as in the row's key.
    #[prost(message, required, tag = "1")]
    pub data_id: Bytes16,
    /// The partition it lies in.
    #[prost(uint32, tag = "2")]
    pub partition: u32,
    /// Data shards per stripe.
    #[prost(uint32, tag = "3")]
    pub k: u32,
    /// Parity shards per stripe.
    #[prost(uint32, tag = "4")]
    pub m: u32,
    /// Bytes of payload.
    #[prost(uint64, tag = "5")]
    pub size: u64,
    /// The time of the command that released it, milliseconds since 1970.
    #[prost(uint64, tag = "6")]
    pub since_ms: u64,
}

impl ReclaimRecord {
    /// For a blob that was released at `since_ms`.
    pub fn of(blob: &BlobRef, since_ms: u64) -> Self {
        Self {
            data_id: blob.data_id,
            partition: blob.partition,
            k: blob.k,
            m: blob.m,
            size: blob.size,
            since_ms,
        }
    }
}

impl Record for ReclaimRecord {
    const WHAT: &'static str = "reclaim record";
}
