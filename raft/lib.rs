//! Metadata: what objects there are, agreed on by a Raft group.
//!
//! Below are the pure parts, which do no I/O but through [`kv`]: [`command`]s are what the log carries,
//! [`apply`] executes them on [`record`]s in rows named by [`key`]s, [`read`] and [`list`] look at the rows.
#![forbid(unsafe_code)]

mod applier;
pub mod apply;
pub mod command;
pub mod error;
mod feed;
pub mod key;
pub mod kv;
pub mod list;
mod log;
pub mod metadata;
mod network;
pub mod node;
pub mod read;
pub mod record;
mod runtime;
mod snapshot;
mod state_machine;
mod together;
mod types;
pub mod wal;

#[cfg(sim)]
pub use applier::replay;
pub use applier::{Mark, OnFatal};
pub use error::Error;
pub use metadata::{Metadata, MetadataSeed};
pub use node::{GroupConfig, Node, NodeSeed, assemble};
#[cfg(sim)]
pub use types::Entry;

/// What the fuzz targets take apart.
#[cfg(fuzzing)]
pub mod fuzz {
    pub use crate::applier::Mark;
    pub use crate::snapshot::{export, install};
}

/// What fallible functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;
