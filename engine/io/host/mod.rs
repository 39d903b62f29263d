//! What the executors over a real machine share: threads, clocks, directories, and TLS over a socket.
//!
//! - [`cores`]: a thread for each core; [`watchdog`]: what happens to a core that is stuck.
//! - [`blocking`](mod@blocking): rare calls that block, on threads of their own; [`directory`]: those on directories.
//! - [`stream`]: a connection over an executor's own socket; [`load`]: requests under way; [`clock`].

#![allow(clippy::disallowed_methods)]

mod blocking;
mod clock;
pub mod cores;
mod directory;
mod load;
pub mod stream;
pub mod watchdog;

pub use blocking::*;
pub use clock::{
    busy_share, end_process, fill_random, is_planted, now, preemption_point, spawn_thread, spawn_worker,
    tell, unix_ms,
};
pub use cores::Executors;
pub use directory::{
    create_dir_all, file_exists, free_bytes, read_dir, read_small_file, remove_file, rename, sync_dir,
};
pub use load::{Underway, requests_underway, underway};
