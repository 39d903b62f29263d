//! The `c/` row: what a listing shows of a key, and what replacing it needs. It is derived from the version list in
//! the same batch.

use super::{BlobRef, Bytes16, ChecksumSpec, Record, VersionRecord, version::etag};

/// A key's current object. A key whose newest version is a delete marker has no such row.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct CurrentRecord {
    /// The current version's id, which gives the key of the `v/` row.
    #[prost(message, required, tag = "1")]
    pub version_id: Bytes16,
    /// When it was written, milliseconds since 1970.
    #[prost(uint64, tag = "2")]
    pub modified_ms: u64,
    /// Bytes of the object.
    #[prost(uint64, tag = "3")]
    pub size: u64,
    /// As in the version's record.
    #[prost(message, required, tag = "4")]
    pub md5: Bytes16,
    /// As in the version's record.
    #[prost(uint32, tag = "5")]
    pub part_count: u32,
    /// The checksum's algorithm and kind.
    #[prost(message, optional, tag = "6")]
    pub checksum: Option<ChecksumSpec>,
    // Tag 7 is reserved: it was the owner's id, always empty.
    /// The storage class, if it is not STANDARD.
    #[prost(string, optional, tag = "8")]
    pub storage_class: Option<String>,
    /// Its blob, if it has just one, so that replacing or deleting it reads no second row.
    #[prost(message, optional, tag = "9")]
    pub blob: Option<BlobRef>,
    /// It has several blobs, which are only in the version's record.
    #[prost(bool, tag = "10")]
    pub many_blobs: bool,
}

impl CurrentRecord {
    /// Derived from the version that is current.
    pub fn of(version: &VersionRecord) -> Self {
        Self {
            version_id: version.version_id,
            modified_ms: version.modified_ms,
            size: version.size,
            md5: version.md5,
            part_count: version.part_count,
            checksum: version.checksum.as_ref().map(super::Checksum::spec),
            storage_class: version.storage_class.clone(),
            blob: if version.blobs.len() == 1 { version.blobs.first().cloned() } else { None },
            many_blobs: version.blobs.len() > 1,
        }
    }

    /// The ETag's text, without quotes.
    pub fn etag(&self) -> String {
        etag(self.md5, self.part_count)
    }
}

impl Record for CurrentRecord {
    const WHAT: &'static str = "current-version record";
}
