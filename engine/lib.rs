//! The byte store under Hamster: executors and I/O, buffers, segments, frames, placement.
//!
//! This crate knows no HTTP, no S3 and no Raft. Everything that touches time, randomness, disk, network or tasks goes
//! through [`io`], so that the same code runs on io_uring and in a simulated world.

/// Whether the named bug is planted. Planted bugs are the ones that the simulator must find. False in every build
/// without `--cfg canary="NAME"`, where the compiler removes whatever depends on it.
#[macro_export]
macro_rules! canary {
    ($name:literal) => {
        cfg!(canary = $name) && $crate::io::is_planted($name)
    };
}

/// Counts that a state was reached (if `$when` holds), so that the simulator can tell which states its seeds never
/// reach. In every other build it is nothing, and `$when` is not evaluated. `tests/sim/reach.rs` lists the names.
#[macro_export]
macro_rules! reach {
    ($name:literal) => {
        $crate::reach!($name, true)
    };
    ($name:literal, $when:expr) => {{
        #[cfg(sim)]
        if $when {
            $crate::io::sim::control::reach($name);
        }
    }};
}

pub mod ack;
pub mod budget;
pub mod buf;
pub mod error;
pub mod format;
pub mod frame;
pub mod hash;
pub mod ids;
pub mod io;
pub mod limits;
pub mod peer;
pub mod placement;
pub mod read;
pub mod segment;
pub mod write;

pub use error::{Corrupt, Error, Result};
pub use ids::FixedState;
