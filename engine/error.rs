//! What can go wrong below the protocol, sorted by who is at fault. One enum for the whole crate.
//!
//! Errors are cheap to clone: one failed group commit answers many writers, and they cross cores.

use std::fmt;
use std::sync::Arc;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation of the byte store failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The caller asked for something impossible, such as a length over its limit or an empty list.
    Invalid(&'static str),
    /// Nothing is stored here under that name.
    NotFound,
    /// There is no room for new bytes. Deletes still work, and free space.
    Full,
    /// Refused for now; the same call may succeed later.
    Busy(&'static str),
    /// The store is shutting down.
    Closed,
    /// The stored bytes are not what was written.
    Corrupt(Corrupt),
    /// The bytes were written by a newer version, or with a feature that this version lacks.
    Unsupported(&'static str),
    /// The operating system failed.
    Io {
        /// The operation that failed.
        during: &'static str,
        /// The kind of the error.
        kind: std::io::ErrorKind,
        /// The operating system's message.
        message: Arc<str>,
    },
}

/// How stored bytes fail their checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Corrupt {
    /// There are fewer bytes than the structure needs.
    Short,
    /// The magic bytes are wrong.
    Magic,
    /// A header's checksum does not match.
    Header,
    /// A body's checksum does not match.
    Body,
    /// A block's checksum does not match, or its trailer is impossible.
    Block(u32),
    /// A field holds an impossible value, though the checksum matches.
    Field(&'static str),
    /// The disk cannot read the bytes back.
    Unreadable,
}

impl Error {
    /// Wraps an operating system's error; a full file system becomes [`Error::Full`].
    pub fn io(during: &'static str, error: &std::io::Error) -> Error {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Error::Full,
            kind => Error::Io { during, kind, message: error.to_string().into() },
        }
    }
}

impl From<Corrupt> for Error {
    fn from(corrupt: Corrupt) -> Error {
        Error::Corrupt(corrupt)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Invalid(what) => write!(f, "invalid call: {what}"),
            Error::NotFound => f.write_str("not stored here"),
            Error::Full => f.write_str("no room for new bytes: delete objects or add disk space"),
            Error::Busy(why) => write!(f, "refused for now: {why}"),
            Error::Closed => f.write_str("the store is shutting down"),
            Error::Corrupt(corrupt) => write!(f, "stored bytes are damaged: {corrupt}"),
            Error::Unsupported(what) => {
                write!(f, "written with {what}, which this version does not support: upgrade")
            }
            Error::Io { during, message, .. } => write!(f, "{during}: {message}"),
        }
    }
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Corrupt::Short => f.write_str("too short"),
            Corrupt::Magic => f.write_str("wrong magic bytes"),
            Corrupt::Header => f.write_str("header checksum"),
            Corrupt::Body => f.write_str("body checksum"),
            Corrupt::Block(index) => write!(f, "checksum of block {index}"),
            Corrupt::Field(name) => write!(f, "field {name}"),
            Corrupt::Unreadable => f.write_str("unreadable"),
        }
    }
}

impl std::error::Error for Error {}
impl std::error::Error for Corrupt {}
