//! The seam over Linux: an own executor per core on one io_uring.
//!
//! Each imports only what is named before it:
//! - [`timer`]: who waits for a time; [`load`]: how a busy core waits; [`descriptor`]: of a file.
//! - [`ring`]: what is under way in the kernel; [`executor`]: tasks, rounds.
//! - [`mod@file`], [`net`], [`mod@sleep`]: files by direct I/O, sockets by readiness, waiting for a time.

#![allow(unsafe_code, clippy::disallowed_methods)]

mod descriptor;
mod executor;
mod file;
mod load;
mod net;
mod ring;
mod sleep;
mod timer;

pub use super::host::*;
pub use executor::{JoinHandle, block_on, run_executors, spawn, yield_if_needed};
pub use file::File;
pub use net::{Accepted, Listener, Stream};
pub use sleep::{Sleep, sleep};
