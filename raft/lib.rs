//! Metadata: which objects exist, agreed on by a Raft group.
//!
//! The parts below that are pure do no I/O except through [`kv`]: log entries carry [`command`]s, [`apply`]
//! executes them on [`record`]s in rows whose keys [`key`] makes, and [`read`] and [`list`] read the rows.
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
mod reconcile;
pub mod record;
mod runtime;
mod snapshot;
mod state_machine;
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

/// What the fuzz targets decode.
#[cfg(fuzzing)]
pub mod fuzz {
    pub use crate::applier::Mark;
    pub use crate::snapshot::{export, install};
}

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
