//! The seam over Linux: one executor per core on one io_uring.
//!
//! Each module imports only modules listed before it:
//! - [`timer`]: tasks that wait for a time; [`load`]: how a busy core waits; [`descriptor`]: the descriptor of a file.
//! - [`ring`]: operations in flight in the kernel; [`executor`]: tasks, rounds.
//! - [`mod@file`], [`net`], [`mod@sleep`]: files with direct I/O, sockets with readiness polls, waiting for a time.

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
