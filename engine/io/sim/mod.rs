//! The seam over a simulated world: the same signatures as over Linux, and everything that happens follows from a seed.
//!
//! - [`world`]: time, randomness, machines, what is scheduled, the hash of the trace; [`random`].
//! - [`executor`]: tasks, of which a random ready one runs next; [`clock`]: timers, clocks, randomness.
//! - [`disk`]: what a disk does to its writers; [`mod@file`]: the seam's files on it.
//! - [`net`]: connections; [`faults`]: what may go wrong; [`control`]: what a test does to the world.

mod clock;
pub mod control;
mod disk;
mod executor;
mod faults;
mod file;
mod net;
mod random;
mod world;

pub use clock::{Sleep, busy_share, fill_random, is_planted, now, sleep, unix_ms};
pub use executor::{
    Executors, JoinHandle, Underway, block_on, end_process, preemption_point, requests_underway,
    run_executors, spawn, spawn_thread, spawn_worker, tell, underway, yield_if_needed,
};
pub use faults::{Fault, FaultRates};
pub use file::{
    File, create_dir_all, file_exists, free_bytes, read_dir, read_small_file, remove_file, rename, sync_dir,
};
pub use net::{Accepted, Listener, NetworkRates, Stream};
pub use random::Random;
pub use world::NodeId;
