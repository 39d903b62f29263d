//! The seam over glommio 0.9.0, with a workaround for each of that version's bugs.
//!
//! - The first file that an executor opens on a device decides whether the executor polls for completions there, and if
//!   that file is empty, every later read fails. So the first file is never empty ([`mod@file`]).
//! - A core can park while it has runnable work. So its preempt timer is slow, and the watchdog wakes it every few
//!   milliseconds ([`executor`]).
//! - Unaligned reads across the end of a file return uninitialised bytes. So reads are aligned.
//! - An executor that ends does not drop its tasks, or the memory that the kernel still works on, in the right order.
//!   So before it ends, its tasks are ended and file operations are waited for ([`executor`]).
//!
//! Where glommio lacks something, we do without: it has its own buffers, so every file read and write copies its bytes;
//! and a busy core does not wait for several events at once.

#![allow(clippy::disallowed_methods)]

mod executor;
mod file;
mod net;

pub use super::host::*;
pub use executor::{JoinHandle, Sleep, block_on, run_executors, sleep, spawn, yield_if_needed};
pub use file::File;
pub use net::{Accepted, Listener, Stream};
