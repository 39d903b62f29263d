//! The seam between Hamster and the machine: tasks, time, randomness, files, sockets and mailboxes.
//!
//! Promises: nothing outside this folder names the executor library, and every signature here can have a simulated
//! twin. Invariants: a task stays on the core that spawned it; a detached task runs to completion even if nobody waits
//! for it; file positions and lengths are multiples of [`ALIGNMENT`].
//!
//! Left to others: what the bytes mean ([`crate::segment`]), and which core does what.

#[cfg(all(not(sim), feature = "glommio"))]
mod glommio;
#[cfg(not(sim))]
mod host;
mod mailbox;
mod pace;
#[cfg(sim)]
pub mod sim;
mod space;
mod sync;
mod time;
#[cfg(all(not(sim), not(feature = "glommio")))]
mod uring;

#[cfg(all(not(sim), feature = "glommio"))]
use glommio as machine;
#[cfg(sim)]
use sim as machine;
#[cfg(all(not(sim), not(feature = "glommio")))]
use uring as machine;

pub use machine::{
    Accepted, Executors, File, JoinHandle, Listener, RequestInFlight, Sleep, Stream, begin_request, block_on,
    busy_share, create_dir_all, end_process, file_exists, fill_random, free_bytes, is_planted, log_line, now,
    preemption_point, read_dir, read_small_file, remove_file, rename, requests_in_flight, run_executors,
    sleep, spawn, spawn_thread, spawn_worker, sync_dir, unix_ms, yield_if_needed,
};
pub use mailbox::{Receiver, SendError, Sender, mailbox};
pub use pace::{Pacer, Writer, Writers};
pub use space::{Claim, DiskSpace};
pub use sync::{Canceled, Event, OneshotReceiver, OneshotSender, Permit, Semaphore, oneshot, yield_now};
pub use time::{Elapsed, Instant, timeout};

/// Alignment of direct I/O, bytes: applies to the position, length and memory of every file access.
pub const ALIGNMENT: usize = 4096;

/// Locked memory that the rings of one core take, rounded up. Newer kernels count the rings' queues as well. glommio
/// has three rings and registers 512 KiB with each.
pub const LOCKED_BYTES_PER_CORE: u64 = if cfg!(feature = "glommio") { 2 << 20 } else { 128 << 10 };

/// Rounds `bytes` up to the next multiple of [`ALIGNMENT`].
pub const fn align_up(bytes: u64) -> u64 {
    bytes.next_multiple_of(ALIGNMENT as u64)
}

/// Rounds `bytes` down to a multiple of [`ALIGNMENT`].
pub const fn align_down(bytes: u64) -> u64 {
    bytes & !(ALIGNMENT as u64 - 1)
}

/// A random 128-bit number.
pub fn random_u128() -> u128 {
    let mut bytes = [0; 16];
    fill_random(&mut bytes);
    u128::from_le_bytes(bytes)
}

/// A random 64-bit number.
pub fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    fill_random(&mut bytes);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests;
