//! The `u/` rows: a multipart upload in progress, and its parts.

use super::{BlobRef, Bytes16, ChecksumSpec, ObjectHeaders, Record};

/// A multipart upload in progress.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct UploadRecord {
    /// The upload's id (UUIDv7).
    #[prost(message, required, tag = "1")]
    pub upload_id: Bytes16,
    /// The bucket, as in the row's key.
    #[prost(string, tag = "2")]
    pub bucket: String,
    /// The object's key, as in the row's key.
    #[prost(string, tag = "3")]
    pub key: String,
    /// When it was started, milliseconds since 1970.
    #[prost(uint64, tag = "4")]
    pub created_ms: u64,
    /// The headers that the object will have.
    #[prost(message, optional, tag = "5")]
    pub headers: Option<ObjectHeaders>,
    /// The checksum that the client asked for. If there is one, every part must bring its value. If there is none,
    /// the object gets [`ChecksumSpec::DEFAULT`] if every part brings that.
    #[prost(message, optional, tag = "6")]
    pub checksum: Option<ChecksumSpec>,
    /// The storage class, if it is not STANDARD.
    #[prost(string, optional, tag = "7")]
    pub storage_class: Option<String>,
    // Tag 8 is reserved: it was the owner's id, always empty.
}

impl Record for UploadRecord {
    const WHAT: &'static str = "upload record";

    fn check(&self) -> Result<(), &'static str> {
        self.checksum.map_or(Ok(()), ChecksumSpec::check)
    }
}

/// One part of an upload in progress.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct PartRecord {
    /// Its number, 1–10,000.
    #[prost(uint32, tag = "1")]
    pub number: u32,
    /// Its blob.
    #[prost(message, required, tag = "2")]
    pub blob: BlobRef,
    /// Its size, bytes.
    #[prost(uint64, tag = "3")]
    pub size: u64,
    /// Its MD5, which is its ETag.
    #[prost(message, required, tag = "4")]
    pub md5: Bytes16,
    /// When it was written, milliseconds since 1970.
    #[prost(uint64, tag = "5")]
    pub modified_ms: u64,
    /// Its checksum by the upload's algorithm. If the upload asked for none, it is by the default algorithm and may
    /// be empty.
    #[prost(bytes = "vec", tag = "6")]
    pub checksum: Vec<u8>,
}

impl Record for PartRecord {
    const WHAT: &'static str = "part record";

    fn check(&self) -> Result<(), &'static str> {
        if self.blob.size != self.size {
            return Err("a part's size is not its blob's");
        }
        self.blob.check()
    }
}
