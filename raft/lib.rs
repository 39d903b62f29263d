//! Metadata: what objects there are, agreed on by a Raft group.
//!
//! Below are the pure parts, which do no I/O but through [`kv`]: [`command`]s are what the log carries,
//! [`apply`] executes them on [`record`]s in rows named by [`key`]s, [`read`] and [`list`] look at the rows.
#![forbid(unsafe_code)]

pub mod apply;
pub mod command;
pub mod error;
pub mod key;
pub mod kv;
pub mod list;
pub mod read;
pub mod record;

pub use error::Error;

/// What fallible functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;
pub mod metadata; pub use metadata::Metadata;
