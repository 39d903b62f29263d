//! The seam over Linux: an own executor per core on one io_uring.
//!
//! - [`executor`]: tasks, rounds; [`ring`]: what is under way in the kernel; [`timer`]; [`load`]: how a busy core waits.
//! - [`mod@file`] and [`net`]: files by direct I/O, sockets by readiness.

#![allow(unsafe_code, clippy::disallowed_methods)]

mod executor;
mod file;
mod load;
mod net;
mod ring;
mod timer;

pub use super::host::*;
pub use executor::{JoinHandle, block_on, run_executors, spawn, yield_if_needed};
pub use file::File;
pub use net::{Accepted, Listener, Stream};
pub use timer::{Sleep, sleep};
