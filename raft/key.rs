//! Row keys (DESIGN §8): one tag byte, then components.
//!
//! | row | key |
//! |---|---|
//! | cluster state | `s` name |
//! | bucket | `b` bucket NUL |
//! | version | `v` bucket NUL key NUL id (16 bytes, complemented: newest first) |
//! | current version | `c` bucket NUL key NUL |
//! | upload | `u` bucket NUL key NUL upload id (16) |
//! | part | `u` bucket NUL key NUL upload id (16) number (2, big-endian) |
//! | credential | `k` access key |
//! | blob to reclaim | `g` data id (16) |
//!
//! Promise: rows of one kind sort in the order in which S3 lists them: by bucket, then by the key's UTF-8 bytes,
//! then versions newest first, uploads oldest first, parts by number. This holds because no component may contain a
//! NUL, which a [`Name`] guarantees.

use crate::{Error, Result, record::Bytes16};

/// The maximum length of an object key, in bytes of UTF-8.
pub const MAX_KEY_BYTES: usize = 1024;
/// The maximum length of a bucket name in a row key; the protocol's own limit (63) is stricter.
pub const MAX_BUCKET_BYTES: usize = 255;
/// The highest part number.
pub const MAX_PART_NUMBER: u32 = 10_000;

/// Tag of cluster state rows.
pub const TAG_CLUSTER: u8 = b's';
/// Tag of bucket rows.
pub const TAG_BUCKET: u8 = b'b';
/// Tag of version rows.
pub const TAG_VERSION: u8 = b'v';
/// Tag of current-version rows.
pub const TAG_CURRENT: u8 = b'c';
/// Tag of upload and part rows.
pub const TAG_UPLOAD: u8 = b'u';
/// Tag of credential rows.
pub const TAG_CREDENTIAL: u8 = b'k';
/// Tag of reclaim rows.
pub const TAG_RECLAIM: u8 = b'g';

/// The row in which the state machine records what it has applied, in an encoding of its own.
pub const APPLIED: &[u8] = b"sapplied";

/// Refuses a bucket name that can't be part of a row key.
pub fn check_bucket(bucket: &str) -> Result<()> {
    match bucket.len() {
        0 => Err(Error::InvalidName("the bucket's name is empty")),
        1..=MAX_BUCKET_BYTES if !bucket.as_bytes().contains(&0) => Ok(()),
        1..=MAX_BUCKET_BYTES => Err(Error::InvalidName("the bucket's name holds a NUL")),
        _ => Err(Error::InvalidName("the bucket's name is too long")),
    }
}

/// A bucket and a key that can be part of a row key: neither is empty, too long, or contains a NUL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a> {
    bucket: &'a str,
    key: &'a str,
}

impl<'a> Name<'a> {
    /// Checks both.
    pub fn new(bucket: &'a str, key: &'a str) -> Result<Self> {
        check_bucket(bucket)?;
        match key.len() {
            0 => Err(Error::InvalidName("the key is empty")),
            1..=MAX_KEY_BYTES if !key.as_bytes().contains(&0) => Ok(Self { bucket, key }),
            1..=MAX_KEY_BYTES => Err(Error::InvalidName("the key holds a NUL")),
            _ => Err(Error::InvalidName("the key is longer than 1024 bytes")),
        }
    }

    /// The bucket.
    pub fn bucket(self) -> &'a str {
        self.bucket
    }

    /// The key.
    pub fn key(self) -> &'a str {
        self.key
    }

    /// The `c/` row.
    pub fn current(self) -> Vec<u8> {
        self.head(TAG_CURRENT, 0)
    }

    /// The prefix of the rows of all versions.
    pub fn versions(self) -> Vec<u8> {
        self.head(TAG_VERSION, 16)
    }

    /// The `v/` row of one version.
    pub fn version(self, id: Bytes16) -> Vec<u8> {
        let mut row = self.versions();
        row.extend_from_slice(&id.complement().to_bytes());
        row
    }

    /// The prefix of the rows of the key's uploads and of their parts.
    pub fn uploads(self) -> Vec<u8> {
        self.head(TAG_UPLOAD, 18)
    }

    /// The `u/` row of one upload, which is also the prefix of its parts' rows.
    pub fn upload(self, id: Bytes16) -> Vec<u8> {
        let mut row = self.uploads();
        row.extend_from_slice(&id.to_bytes());
        row
    }

    /// The `u/` row of one part.
    pub fn part(self, id: Bytes16, number: u16) -> Vec<u8> {
        let mut row = self.upload(id);
        row.extend_from_slice(&number.to_be_bytes());
        row
    }

    fn head(self, tag: u8, spare: usize) -> Vec<u8> {
        let mut row = Vec::with_capacity(3 + self.bucket.len() + self.key.len() + spare);
        row.push(tag);
        row.extend_from_slice(self.bucket.as_bytes());
        row.push(0);
        row.extend_from_slice(self.key.as_bytes());
        row.push(0);
        row
    }
}

/// The `b/` row.
pub fn bucket(name: &str) -> Result<Vec<u8>> {
    check_bucket(name)?;
    Ok(in_bucket(TAG_BUCKET, name))
}

/// The prefix of all rows with this tag in this bucket. The caller has checked the name.
pub(crate) fn in_bucket(tag: u8, bucket: &str) -> Vec<u8> {
    let mut row = Vec::with_capacity(2 + bucket.len());
    row.push(tag);
    row.extend_from_slice(bucket.as_bytes());
    row.push(0);
    row
}

/// The `g/` row.
pub fn reclaim(data_id: Bytes16) -> Vec<u8> {
    let mut row = Vec::with_capacity(17);
    row.push(TAG_RECLAIM);
    row.extend_from_slice(&data_id.to_bytes());
    row
}

/// The `k/` row.
pub fn credential(access_key: &str) -> Vec<u8> {
    let mut row = Vec::with_capacity(1 + access_key.len());
    row.push(TAG_CREDENTIAL);
    row.extend_from_slice(access_key.as_bytes());
    row
}

/// The first key after all keys that start with `prefix`: the exclusive end of its range.
///
/// # Panics
///
/// If `prefix` is empty or all 0xff. No row's prefix is: each starts with a tag.
pub fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let keep = prefix.iter().rposition(|&byte| byte != 0xff).expect("a row starts with a tag below 0xff");
    let mut end = prefix[..=keep].to_vec();
    end[keep] += 1;
    end
}

/// A decoded row key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowKey<'a> {
    /// `s/`: its name.
    Cluster(&'a [u8]),
    /// `b/`: the bucket.
    Bucket(&'a str),
    /// `v/`: a version.
    Version(Name<'a>, Bytes16),
    /// `c/`: a current version.
    Current(Name<'a>),
    /// `u/`: an upload.
    Upload(Name<'a>, Bytes16),
    /// `u/`: one part of an upload.
    Part(Name<'a>, Bytes16, u16),
    /// `k/`: an access key.
    Credential(&'a [u8]),
    /// `g/`: a blob.
    Reclaim(Bytes16),
}

/// Decodes a row key.
pub fn decode(row: &[u8]) -> Result<RowKey<'_>> {
    parse(row).ok_or(Error::Corrupt { what: "row key", why: "not the key of any row" })
}

fn parse(row: &[u8]) -> Option<RowKey<'_>> {
    let (&tag, rest) = row.split_first()?;
    match tag {
        TAG_CLUSTER => Some(RowKey::Cluster(rest)),
        TAG_CREDENTIAL => Some(RowKey::Credential(rest)),
        TAG_RECLAIM => Some(RowKey::Reclaim(Bytes16::from_slice(rest)?)),
        TAG_BUCKET => {
            let (bucket, tail) = component(rest)?;
            (tail.is_empty() && check_bucket(bucket).is_ok()).then_some(RowKey::Bucket(bucket))
        }
        TAG_CURRENT | TAG_VERSION | TAG_UPLOAD => {
            let (bucket, tail) = component(rest)?;
            let (key, tail) = component(tail)?;
            let name = Name::new(bucket, key).ok()?;
            match (tag, tail.len()) {
                (TAG_CURRENT, 0) => Some(RowKey::Current(name)),
                (TAG_VERSION, 16) => Some(RowKey::Version(name, Bytes16::from_slice(tail)?.complement())),
                (TAG_UPLOAD, 16) => Some(RowKey::Upload(name, Bytes16::from_slice(tail)?)),
                (TAG_UPLOAD, 18) => {
                    let number = u16::from_be_bytes([tail[16], tail[17]]);
                    Some(RowKey::Part(name, Bytes16::from_slice(&tail[..16])?, number))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// Splits at the next NUL: the text before it, and the bytes after it.
pub(crate) fn component(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let nul = bytes.iter().position(|&byte| byte == 0)?;
    Some((std::str::from_utf8(&bytes[..nul]).ok()?, &bytes[nul + 1..]))
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
