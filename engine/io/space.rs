//! The free space of a file system, shared by all cores whose files grow on it.
//!
//! Promises: whoever claims bytes before a file grows by them leaves the reserve that it names untouched, however many
//! grow at once. What the file system calls free says nothing of growth that is under way; the claims do.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{free_bytes, unix_ms};

/// How long a look at the free bytes stays good where no growth depends on it, milliseconds.
const LOOK_MS: u64 = 50;

/// The ledger of one file system.
#[derive(Debug)]
pub struct DiskSpace {
    path: PathBuf,
    /// Bytes that files are about to grow by.
    claimed: AtomicU64,
    /// Free bytes at the last look, and when that was.
    seen: AtomicU64,
    seen_ms: AtomicU64,
}

/// Bytes that a file is about to grow by. Drop it once the file has grown, or has failed to.
#[derive(Debug)]
pub struct Claim {
    space: Arc<DiskSpace>,
    bytes: u64,
}

impl DiskSpace {
    /// The ledger of the file system of `path`: one for all that grows there.
    pub fn new(path: impl Into<PathBuf>) -> Arc<DiskSpace> {
        Arc::new(DiskSpace {
            path: path.into(),
            claimed: AtomicU64::new(0),
            seen: AtomicU64::new(u64::MAX),
            seen_ms: AtomicU64::new(0),
        })
    }

    /// A folder on the file system.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Claims `bytes`, if that leaves `reserve` bytes free.
    pub fn claim(self: &Arc<DiskSpace>, bytes: u64, reserve: u64) -> Option<Claim> {
        let before = self.claimed.fetch_add(bytes, Ordering::AcqRel);
        let claim = Claim { space: self.clone(), bytes };
        // After the claim: growth that is no longer claimed shows in the free bytes.
        let free = self.look();
        let needed = before.saturating_add(bytes).saturating_add(reserve);
        (free >= needed).then_some(claim)
    }

    /// Bytes that are free and not claimed, by a look that may be a moment old.
    pub fn unclaimed_bytes(&self) -> u64 {
        let fresh = unix_ms().abs_diff(self.seen_ms.load(Ordering::Relaxed)) < LOOK_MS;
        let free = if fresh { self.seen.load(Ordering::Relaxed) } else { self.look() };
        free.saturating_sub(self.claimed.load(Ordering::Relaxed))
    }

    fn look(&self) -> u64 {
        // Not knowing is no reason to refuse: the growth itself will tell.
        let free = free_bytes(&self.path).unwrap_or(u64::MAX);
        self.seen.store(free, Ordering::Relaxed);
        self.seen_ms.store(unix_ms(), Ordering::Relaxed);
        free
    }

    /// Has the next question look afresh: bytes were freed.
    pub fn look_again(&self) {
        self.seen_ms.store(0, Ordering::Relaxed);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.space.look_again();
        self.space.claimed.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_of_all_cores_together_leave_the_reserve() {
        let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("temporary directory");
        let space = DiskSpace::new(directory.path());
        let free = space.unclaimed_bytes();
        // Others use the disk, too: the claims are some orders larger than what they may do meanwhile.
        let (step, reserve) = (free / 16, free / 2);
        let claims: Vec<_> = std::thread::scope(|threads| {
            let cores: Vec<_> = (0..12).map(|_| threads.spawn(|| space.claim(step, reserve))).collect();
            cores.into_iter().filter_map(|core| core.join().expect("ran")).collect()
        });
        assert!((6..=8).contains(&claims.len()), "{} of 8 claims fit", claims.len());
        assert!(space.unclaimed_bytes() < reserve + 3 * step);
        assert!(space.claim(step, reserve / 4).is_some(), "a smaller reserve leaves more to its own");
        drop(claims);
        assert!(space.claim(step, reserve).is_some(), "a claim comes back when it is dropped");
    }
}
