//! The seam over glommio 0.9.0 and io_uring, with a workaround for each of that version's bugs.
//!
//! - The first file an executor opens decides whether it polls for completions, and an empty one breaks every
//!   later read: so each executor first opens a primed file of 4 KiB ([`executor`]).
//! - An executor can park with runnable work: so the preempt timer is 10 ms, and a plain thread wakes each
//!   core that has been active lately ([`watchdog`]).
//! - Unaligned reads across the end of a file show uninitialised bytes: so reads are aligned ([`mod@file`]).

#![allow(unsafe_code, clippy::disallowed_methods)]

mod coalesce;
mod executor;
mod file;
mod memory;
mod net;
mod watchdog;

pub use coalesce::{Underway, requests_underway, underway};
pub use executor::{
    Executors, ExecutorsConfig, JoinHandle, Sleep, block_on, busy_share, fill_random, now, run_executors,
    sleep, spawn, spawn_thread, unix_ms, yield_if_needed, yield_now,
};
pub use file::{
    File, create_dir_all, file_exists, free_bytes, read_dir, read_small_file, remove_file, rename, sync_dir,
};
pub use memory::{Filled, Memory};
pub use net::{Listener, Stream};
