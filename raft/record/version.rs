//! The `v/` row: one version of a key.

use super::{BlobRef, Bytes16, Checksum, ObjectHeaders, Record};

/// What a version is. Numbers are frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum VersionKind {
    /// Bytes and headers.
    Object = 0,
    /// The mark of a delete in a bucket that keeps versions: no bytes, no headers.
    DeleteMarker = 1,
}

/// One version of a key.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct VersionRecord {
    /// Its id (UUIDv7), as in the row's key. The null version has one too, which clients never see.
    #[prost(message, required, tag = "1")]
    pub version_id: Bytes16,
    /// Clients know it as `null`: it was written while the bucket did not keep versions. Apply decides this.
    #[prost(bool, tag = "2")]
    pub null_version: bool,
    /// Read it with `kind()`.
    #[prost(enumeration = "VersionKind", tag = "3")]
    pub kind: i32,
    /// When it became visible, milliseconds since 1970. Apply decides this: never before the time of the version
    /// that was the newest until then.
    #[prost(uint64, tag = "4")]
    pub modified_ms: u64,
    /// Bytes of the object: the sum of its blobs' sizes.
    #[prost(uint64, tag = "5")]
    pub size: u64,
    /// The body's MD5; for a multipart object the MD5 of its parts' MD5s.
    #[prost(message, required, tag = "6")]
    pub md5: Bytes16,
    /// How many parts it was uploaded in; 0 for a PUT.
    #[prost(uint32, tag = "7")]
    pub part_count: u32,
    /// The headers stored with it.
    #[prost(message, optional, tag = "8")]
    pub headers: Option<ObjectHeaders>,
    /// Its additional checksum.
    #[prost(message, optional, tag = "9")]
    pub checksum: Option<Checksum>,
    /// Its blobs, in order. None for an empty object that was stored without a blob.
    #[prost(message, repeated, tag = "10")]
    pub blobs: Vec<BlobRef>,
    /// The storage class, if it is not STANDARD.
    #[prost(string, optional, tag = "11")]
    pub storage_class: Option<String>,
    // Tag 12 is reserved: it was the owner's id, always empty.
    /// The id that was proposed, if apply had to take a later one (two nodes' clocks disagreed).
    #[prost(message, optional, tag = "13")]
    pub proposed_id: Option<Bytes16>,
    /// The upload that it was completed from, so that a repeated Complete is recognized. `None` for a PUT, and for
    /// what was completed before this field existed.
    #[prost(message, optional, tag = "14")]
    pub upload_id: Option<Bytes16>,
}

impl VersionRecord {
    /// The ETag's text, without quotes.
    pub fn etag(&self) -> String {
        etag(self.md5, self.part_count)
    }

    /// Whether it is a delete marker.
    pub fn is_delete_marker(&self) -> bool {
        self.kind() == VersionKind::DeleteMarker
    }
}

impl Record for VersionRecord {
    const WHAT: &'static str = "version record";

    fn check(&self) -> Result<(), &'static str> {
        VersionKind::try_from(self.kind).map_err(|_| "unknown kind of version")?;
        self.checksum.as_ref().map_or(Ok(()), Checksum::check)?;
        self.blobs.iter().try_for_each(BlobRef::check)?;
        let bytes = self.blobs.iter().try_fold(0u64, |sum, blob| sum.checked_add(blob.size));
        if bytes != Some(self.size) {
            return Err("the blobs' sizes do not add up to the object's");
        }
        Ok(())
    }
}

/// The ETag's text, without quotes: the MD5 in hexadecimal, followed by `-N` for a multipart object.
pub fn etag(md5: Bytes16, part_count: u32) -> String {
    if part_count == 0 { md5.to_hex() } else { format!("{}-{part_count}", md5.to_hex()) }
}
