//! The `b/` row.

use super::Record;

/// Whether a bucket keeps replaced versions. Numbers are frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Versioning {
    /// Versioning was never on: each key has at most one version, the null version.
    Unversioned = 0,
    /// Every write adds a version, and every plain delete adds a delete marker.
    Enabled = 1,
    /// Versioning was on: writes replace the null version, the other versions stay.
    Suspended = 2,
}

/// A bucket.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct BucketRecord {
    /// Its name, as in the row's key.
    #[prost(string, tag = "1")]
    pub name: String,
    /// When it was created, milliseconds since 1970.
    #[prost(uint64, tag = "2")]
    pub created_ms: u64,
    /// The owner's id.
    #[prost(string, tag = "3")]
    pub owner: String,
    /// Read it with `versioning()`.
    #[prost(enumeration = "Versioning", tag = "4")]
    pub versioning: i32,
}

impl Record for BucketRecord {
    const WHAT: &'static str = "bucket record";

    fn check(&self) -> Result<(), &'static str> {
        Versioning::try_from(self.versioning).map(drop).map_err(|_| "unknown versioning state")
    }
}
