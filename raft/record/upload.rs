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
    /// The checksum that the client asked for. With one, every part must bring its value; without one the object gets
    /// [`ChecksumSpec::DEFAULT`] where every part brings that.
    #[prost(message, optional, tag = "6")]
    pub checksum: Option<ChecksumSpec>,
    /// The storage class, where it is not STANDARD.
    #[prost(string, optional, tag = "7")]
    pub storage_class: Option<String>,
    /// The owner's id.
    #[prost(string, tag = "8")]
    pub owner: String,
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
    /// Its bytes.
    #[prost(message, required, tag = "2")]
    pub blob: BlobRef,
    /// How many they are.
    #[prost(uint64, tag = "3")]
    pub size: u64,
    /// Their MD5, which is the part's ETag.
    #[prost(message, required, tag = "4")]
    pub md5: Bytes16,
    /// When it was written, milliseconds since 1970.
    #[prost(uint64, tag = "5")]
    pub modified_ms: u64,
    /// Its checksum by the upload's algorithm, or by the default one where the upload asked for none; may be empty then.
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
