//! Commands: what the log carries and apply executes.
//!
//! Promise: a command holds everything that its execution depends on besides the store: its time and every id. It
//! is encoded as one version byte (1) and a protobuf message whose field numbers and kind tags are frozen. Every
//! node answers a kind that it does not know with [`Outcome::UnknownCommand`], and skips unknown fields. The
//! proposer checks the length with [`Command::encode_bounded`].
//!
//! A command is proposed once. If its outcome stays unknown (for example because the leader went away), it may be
//! proposed again with `retry` set. Apply then also checks whether the first proposal was executed and its blobs
//! were released since, and never queues for reclaim a blob that may have become part of an object.

use crate::{
    Error, Result,
    error::corrupt,
    record::{Bytes16, Checksum, PartRecord, UploadRecord, VersionRecord},
};
use std::sync::Arc;

/// The version byte of an encoded command.
pub const COMMAND_VERSION: u8 = 1;
/// The maximum length of an encoded command: a Complete of 10,000 parts with SHA-256 checksums takes 650 KiB.
pub const MAX_COMMAND_BYTES: usize = 1024 * 1024;

/// A command, as one log entry carries it.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Command {
    /// Identifies the command to its proposer.
    #[prost(message, required, tag = "1")]
    pub command_id: Bytes16,
    /// The proposer's time, milliseconds since 1970.
    #[prost(uint64, tag = "2")]
    pub at_ms: u64,
    /// The command was proposed before, and its outcome stayed unknown.
    #[prost(bool, tag = "3")]
    pub retry: bool,
    /// What to do; `None` if the decoder does not know the kind.
    #[prost(oneof = "Kind", tags = "16, 17, 18, 19, 20, 21, 22, 23, 24")]
    pub kind: Option<Kind>,
}

/// What a command does. Tags are frozen.
#[derive(Clone, PartialEq, Eq, Hash, prost::Oneof)]
pub enum Kind {
    /// Creates a bucket: [`Outcome::Done`].
    #[prost(message, tag = "16")]
    CreateBucket(CreateBucket),
    /// Deletes an empty bucket, with its uploads in progress: [`Outcome::Done`].
    #[prost(message, tag = "17")]
    DeleteBucket(DeleteBucket),
    /// Adds a version, replacing the null version where versions are not kept: [`Outcome::Written`].
    #[prost(message, tag = "18")]
    PutVersion(PutVersion),
    /// Deletes a version or adds a delete marker: [`Outcome::Deleted`].
    #[prost(message, tag = "19")]
    DeleteVersion(DeleteVersion),
    /// Starts an upload: [`Outcome::Done`].
    #[prost(message, tag = "20")]
    CreateUpload(CreateUpload),
    /// Adds or replaces a part: [`Outcome::Done`].
    #[prost(message, tag = "21")]
    PutPart(PutPart),
    /// Ends an upload and releases its parts: [`Outcome::Done`].
    #[prost(message, tag = "22")]
    AbortUpload(AbortUpload),
    /// Assembles an object from an upload's parts: [`Outcome::Written`].
    #[prost(message, tag = "23")]
    CompleteUpload(CompleteUpload),
    /// Forgets blobs whose bytes are gone: [`Outcome::Done`].
    #[prost(message, tag = "24")]
    Reclaimed(Reclaimed),
}

/// Creates a bucket.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct CreateBucket {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The owner's id.
    #[prost(string, tag = "2")]
    pub owner: String,
}

/// Deletes a bucket.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct DeleteBucket {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// What must be true of a version for a command to be executed. ETags have no quotes.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Precondition {
    /// `If-Match: *`: there is an object.
    #[prost(bool, tag = "1")]
    pub if_match_any: bool,
    /// `If-Match`: its ETag is one of these.
    #[prost(string, repeated, tag = "2")]
    pub if_match: Vec<String>,
    /// `If-None-Match: *`: there is no object.
    #[prost(bool, tag = "3")]
    pub if_none_match_any: bool,
    /// `If-None-Match`: its ETag is none of these.
    #[prost(string, repeated, tag = "4")]
    pub if_none_match: Vec<String>,
}

/// Adds a version.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct PutVersion {
    /// The bucket.
    #[prost(string, tag = "1")]
    pub bucket: String,
    /// The key.
    #[prost(string, tag = "2")]
    pub key: String,
    /// The version. Apply decides whether it is the null version.
    #[prost(message, required, tag = "3")]
    pub version: VersionRecord,
    /// Applies to the current version.
    #[prost(message, optional, tag = "4")]
    pub precondition: Option<Precondition>,
}

/// Which version a delete is about.
#[derive(Clone, PartialEq, Eq, Hash, prost::Oneof)]
pub enum Selector {
    /// No version id was given (the value means nothing).
    #[prost(bool, tag = "3")]
    Current(bool),
    /// `versionId=null` (the value means nothing).
    #[prost(bool, tag = "4")]
    Null(bool),
    /// A version id.
    #[prost(message, tag = "5")]
    Id(Bytes16),
}

/// Deletes a version, or hides the key behind a delete marker.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct DeleteVersion {
    /// The bucket.
    #[prost(string, tag = "1")]
    pub bucket: String,
    /// The key.
    #[prost(string, tag = "2")]
    pub key: String,
    /// Which version.
    #[prost(oneof = "Selector", tags = "3, 4, 5")]
    pub selector: Option<Selector>,
    /// The id of the delete marker, if the bucket's versioning state calls for one.
    #[prost(message, required, tag = "6")]
    pub marker_version_id: Bytes16,
    /// Applies to the current object, or to the version that the selector names (AWS does not have the latter; the
    /// protocol refuses it).
    #[prost(message, optional, tag = "7")]
    pub precondition: Option<Precondition>,
    // Tag 8 is reserved: it was the owner's id, always empty.
}

/// Starts an upload.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct CreateUpload {
    /// The upload, including its bucket and key.
    #[prost(message, required, tag = "1")]
    pub upload: UploadRecord,
}

/// Adds or replaces a part.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct PutPart {
    /// The bucket.
    #[prost(string, tag = "1")]
    pub bucket: String,
    /// The key.
    #[prost(string, tag = "2")]
    pub key: String,
    /// The upload.
    #[prost(message, required, tag = "3")]
    pub upload_id: Bytes16,
    /// The part.
    #[prost(message, required, tag = "4")]
    pub part: PartRecord,
}

/// Ends an upload without an object.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct AbortUpload {
    /// The bucket.
    #[prost(string, tag = "1")]
    pub bucket: String,
    /// The key.
    #[prost(string, tag = "2")]
    pub key: String,
    /// The upload.
    #[prost(message, required, tag = "3")]
    pub upload_id: Bytes16,
}

/// A part as the client lists it in a Complete.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct CompletedPart {
    /// Its number.
    #[prost(uint32, tag = "1")]
    pub number: u32,
    /// Its ETag.
    #[prost(message, required, tag = "2")]
    pub md5: Bytes16,
    /// Its checksum; empty if the client gave none.
    #[prost(bytes = "vec", tag = "3")]
    pub checksum: Vec<u8>,
}

/// Assembles an object from an upload's parts.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct CompleteUpload {
    /// The bucket.
    #[prost(string, tag = "1")]
    pub bucket: String,
    /// The key.
    #[prost(string, tag = "2")]
    pub key: String,
    /// The upload.
    #[prost(message, required, tag = "3")]
    pub upload_id: Bytes16,
    /// Its parts, by ascending number.
    #[prost(message, repeated, tag = "4")]
    pub parts: Vec<CompletedPart>,
    /// The id of the new version.
    #[prost(message, required, tag = "5")]
    pub version_id: Bytes16,
    /// Applies to the current version.
    #[prost(message, optional, tag = "6")]
    pub precondition: Option<Precondition>,
    /// The checksum that the client expects of the object.
    #[prost(message, optional, tag = "7")]
    pub expected_checksum: Option<Checksum>,
    /// The size that the client expects of the object, bytes.
    #[prost(uint64, optional, tag = "8")]
    pub expected_size: Option<u64>,
}

/// Forgets blobs whose bytes are gone.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Reclaimed {
    /// The blobs.
    #[prost(message, repeated, tag = "1")]
    pub data_ids: Vec<Bytes16>,
}

impl Command {
    /// A command that is proposed for the first time.
    pub fn new(command_id: impl Into<Bytes16>, at_ms: u64, kind: Kind) -> Self {
        Self { command_id: command_id.into(), at_ms, retry: false, kind: Some(kind) }
    }

    /// Its bytes in the log; refused if there are more than [`MAX_COMMAND_BYTES`].
    pub fn encode_bounded(&self) -> Result<Vec<u8>> {
        let bytes = 1 + prost::Message::encoded_len(self);
        if bytes > MAX_COMMAND_BYTES {
            return Err(Error::TooLarge { bytes, limit: MAX_COMMAND_BYTES });
        }
        let mut out = Vec::with_capacity(bytes);
        out.push(COMMAND_VERSION);
        prost::Message::encode_raw(self, &mut out);
        Ok(out)
    }

    /// Decodes a log entry. On an error no node may execute the entry: its outcome is [`Outcome::UnknownCommand`].
    pub fn from_entry(entry: &[u8]) -> Result<Self> {
        const WHAT: &str = "command";
        if entry.len() > MAX_COMMAND_BYTES {
            return Err(corrupt(WHAT, "longer than any command"));
        }
        match entry.split_first() {
            Some((&COMMAND_VERSION, message)) => {
                prost::Message::decode(message).map_err(|_| corrupt(WHAT, "not a protobuf message"))
            }
            Some(_) => Err(corrupt(WHAT, "written by a later version of this program")),
            None => Err(corrupt(WHAT, "empty")),
        }
    }
}

/// The result of a command. It goes to the proposer and is not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Executed; there is nothing more to report.
    Done,
    /// The version was written.
    Written {
        /// As it is stored.
        version: Arc<VersionRecord>,
    },
    /// The delete was executed, even if there was nothing to delete.
    Deleted {
        /// The version removed, or the delete marker added; `None` if neither.
        version_id: Option<Bytes16>,
        /// Clients know that version as `null`.
        null_version: bool,
        /// That version is a delete marker.
        delete_marker: bool,
        /// There was something to delete or to hide.
        existed: bool,
    },
    /// Refused: the bucket does not exist.
    NoSuchBucket,
    /// Refused: the bucket exists.
    BucketAlreadyExists {
        /// It belongs to the requester.
        same_owner: bool,
    },
    /// Refused: the bucket holds versions.
    BucketNotEmpty,
    /// Refused: a precondition requires an object, and there is none.
    NoSuchKey,
    /// Refused: a precondition does not hold.
    PreconditionFailed,
    /// Refused: the upload was completed or aborted, or never existed.
    NoSuchUpload,
    /// Refused: this part was not uploaded, or its ETag or checksum differs. 0: the list is empty.
    InvalidPart {
        /// Its number.
        number: u32,
    },
    /// Refused: the part numbers are not in ascending order.
    InvalidPartOrder,
    /// Refused: a part other than the last is below 5 MiB.
    EntityTooSmall {
        /// Its number.
        number: u32,
        /// Its size, bytes.
        size: u64,
    },
    /// Refused: the parts add up to more than the maximum object size.
    EntityTooLarge,
    /// Refused: the object's checksum is not the expected one.
    BadChecksum,
    /// Refused: the object's size is not the expected one.
    SizeMismatch,
    /// Refused: the bucket name or the key can't be part of a row key.
    InvalidKey,
    /// Refused: the record in the command contradicts itself.
    InvalidRecord,
    /// Refused: a retry of a command that was refused, or that was executed and whose blobs have been released
    /// since (replaced or deleted). The client must send its bytes again.
    Superseded,
    /// Refused: a command that this code does not know.
    UnknownCommand,
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
