//! The seam over Linux: an own executor per core on one io_uring.
//!
//! - [`executor`]: threads, tasks, rounds; [`ring`]: what is under way in the kernel; [`timer`].
//! - [`mod@file`] and [`net`]: files by direct I/O, sockets by readiness; [`blocking`]: rare calls that block.
//! - [`load`]: how a busy core waits; [`watchdog`]: what happens to a core that is stuck; [`clock`].

#![allow(unsafe_code, clippy::disallowed_methods)]

mod blocking;
mod clock;
mod executor;
mod file;
mod load;
mod net;
mod ring;
mod timer;
mod watchdog;

pub use clock::{
    busy_share, end_process, fill_random, is_planted, now, preemption_point, spawn_thread, spawn_worker,
    tell, unix_ms,
};
pub use executor::{Executors, JoinHandle, block_on, run_executors, spawn, yield_if_needed};
pub use file::{
    File, create_dir_all, file_exists, free_bytes, read_dir, read_small_file, remove_file, rename, sync_dir,
};
pub use load::{Underway, requests_underway, underway};
pub use net::{Listener, Stream};
pub use timer::{Sleep, sleep};
