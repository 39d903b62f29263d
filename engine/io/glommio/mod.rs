//! The seam over glommio 0.9.0, with a workaround for each of that version's bugs.
//!
//! - The first file that an executor opens on a device decides whether it polls for completions there, and an empty one
//!   makes every later read fail: so that file is never an empty one ([`mod@file`]).
//! - A core can park with runnable work. So its preempt timer is slow, and the watchdog wakes it every few milliseconds
//!   ([`executor`]).
//! - Unaligned reads across the end of a file show uninitialised bytes: so reads are aligned.
//! - An executor that ends drops neither its tasks nor the memory of what the kernel still works on in order: so tasks
//!   are ended, and operations on files waited for, before it ends ([`executor`]).
//!
//! What glommio can't do is done in the plain way: its buffers are not ours, so every read and write of a file copies its
//! bytes; a busy core does not wait for several events at once.

#![allow(clippy::disallowed_methods)]

mod executor;
mod file;
mod net;

pub use super::host::*;
pub use executor::{JoinHandle, Sleep, block_on, run_executors, sleep, spawn, yield_if_needed};
pub use file::File;
pub use net::{Accepted, Listener, Stream};
