//! The crate's only error type. Its variants say who is at fault.
//!
//! What S3 calls an error of a request (no such bucket, a failed precondition) is not one here: apply returns it as
//! an [`Outcome`](crate::command::Outcome), since it is a regular result of a committed command.

use std::fmt;

/// Why a call into the metadata layer failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The caller's: a bucket name or a key that can't be part of a row key (empty, too long, with a NUL).
    InvalidName(&'static str),
    /// The caller's: a command longer than [`MAX_COMMAND_BYTES`](crate::command::MAX_COMMAND_BYTES).
    TooLarge {
        /// Its encoded length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Refused for now, and nothing was done: try again.
    Unavailable(&'static str),
    /// The command was proposed, but its outcome is unknown: propose it again with `retry` set.
    OutcomeUnknown,
    /// The byte store's: the blob that came with a command was not stored.
    Bytes(engine::peer::Error),
    /// The disk's: the store failed. It takes no more writes; restart the process.
    Store(String),
    /// The operator's: the node can't go on from what is in the data directory. The line says what to do.
    Refused(String),
    /// An earlier [`Error::Store`] poisoned the store.
    Poisoned,
    /// Bytes that this code did not write, or that a later version wrote.
    Corrupt {
        /// What was being read.
        what: &'static str,
        /// What was wrong with it.
        why: &'static str,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidName(why) => write!(f, "invalid name: {why}"),
            Self::TooLarge { bytes, limit } => {
                write!(f, "the command takes {bytes} bytes, more than the {limit} allowed: send less at once")
            }
            Self::Unavailable(why) => write!(f, "the metadata is unavailable for now ({why}): try again"),
            Self::OutcomeUnknown => write!(f, "the command's outcome is not known yet: try again"),
            Self::Bytes(error) => error.fmt(f),
            Self::Store(why) => write!(f, "the metadata store failed ({why}): check the disk, then restart"),
            Self::Refused(why) => f.write_str(why),
            Self::Poisoned => write!(f, "the metadata store failed earlier: check the disk, then restart"),
            Self::Corrupt { what, why } => write!(f, "corrupt {what}: {why}"),
        }
    }
}

impl std::error::Error for Error {}

/// Shorthand for [`Error::Corrupt`].
pub(crate) fn corrupt(what: &'static str, why: &'static str) -> Error {
    Error::Corrupt { what, why }
}
