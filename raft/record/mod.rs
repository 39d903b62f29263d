//! The records that rows of the metadata store hold.
//!
//! Promise: a stored value is one version byte (1) and a protobuf message. Field numbers are frozen: a new field
//! gets a new number, and none is ever renumbered, retyped or reused; the golden bytes in the tests enforce this.
//! Unknown fields are skipped. An unknown version byte, a message that does not parse, and a record that
//! contradicts itself are refused as [`Error::Corrupt`](crate::Error::Corrupt).
//!
//! Absent here: row keys (`key`), commands (`command`), and any arithmetic on records except an ETag's text.

mod blob;
mod bucket;
mod bytes16;
mod checksum;
mod current;
mod headers;
mod reclaim;
mod upload;
mod version;

#[cfg(test)]
pub(crate) mod tests;

pub use blob::BlobRef;
pub use bucket::{BucketRecord, Versioning};
pub use bytes16::Bytes16;
pub use checksum::{Checksum, ChecksumSpec, ChecksumType};
pub use current::CurrentRecord;
pub use headers::{ObjectHeaders, UserMetadata};
pub use reclaim::ReclaimRecord;
pub use upload::{PartRecord, UploadRecord};
pub use version::{VersionKind, VersionRecord, etag};

use crate::error::corrupt;

/// The version byte that every stored value starts with.
pub const RECORD_VERSION: u8 = 1;

/// A message that is stored as a row's value.
pub trait Record: prost::Message + Default {
    /// What errors call it.
    const WHAT: &'static str;

    /// Refuses a record that contradicts itself; `Err` says why.
    fn check(&self) -> Result<(), &'static str> {
        Ok(())
    }

    /// The row's value: the version byte, then the message.
    fn to_row(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(1 + self.encoded_len());
        row.push(RECORD_VERSION);
        self.encode_raw(&mut row);
        row
    }

    /// Decodes a row's value.
    fn from_row(row: &[u8]) -> crate::Result<Self> {
        let Some((&version, message)) = row.split_first() else {
            return Err(corrupt(Self::WHAT, "empty value"));
        };
        if version != RECORD_VERSION {
            return Err(corrupt(Self::WHAT, "written by a later version of this program"));
        }
        let record = Self::decode(message).map_err(|_| corrupt(Self::WHAT, "not a protobuf message"))?;
        record.check().map_err(|why| corrupt(Self::WHAT, why))?;
        Ok(record)
    }
}
