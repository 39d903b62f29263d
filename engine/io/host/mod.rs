//! What the executors on a real machine share: threads, clocks, directories, and TLS over a socket.
//!
//! - [`cores`]: one thread per core; [`watchdog`]: ends the process when a core is stuck.
//! - [`blocking`](mod@blocking): rare blocking calls on dedicated threads; [`directory`]: calls on directories.
//! - [`stream`]: a connection over an executor's own socket; [`load`]: requests in flight; [`clock`].

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
    busy_share, end_process, fill_random, is_planted, log_line, now, preemption_point, spawn_thread,
    spawn_worker, unix_ms,
};
pub use cores::Executors;
pub use directory::{
    create_dir_all, file_exists, free_bytes, read_dir, read_small_file, remove_file, rename, sync_dir,
};
pub use load::{RequestInFlight, begin_request, requests_in_flight};
