//! The seam over a simulated world: it has the same signatures as over Linux, and everything that happens follows from
//! a seed.
//!
//! - [`world`]: time, randomness, machines, what is scheduled, the hash of the trace; [`random`].
//! - [`executor`]: tasks, of which a random ready one runs next; [`clock`]: timers, clocks, randomness.
//! - [`disk`]: the simulated disk and its file system; [`mod@file`]: the seam's files on it.
//! - [`net`]: connections; [`faults`]: what may go wrong; [`control`]: how a test controls the world.

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
    Executors, JoinHandle, RequestInFlight, begin_request, block_on, end_process, log_line, preemption_point,
    requests_in_flight, run_executors, spawn, spawn_thread, spawn_worker, yield_if_needed,
};
pub use faults::{Fault, FaultRates};
pub use file::{
    File, create_dir_all, file_exists, free_bytes, read_dir, read_small_file, remove_file, rename, sync_dir,
};
pub use net::{Accepted, Listener, NetworkRates, Stream};
pub use random::Random;
pub use world::NodeId;
