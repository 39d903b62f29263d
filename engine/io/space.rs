//! Accounting of the free space of a file system, shared by all cores whose files grow on it.
//!
//! Promises: a claim made before a file grows leaves the reserve that it names untouched, however many files grow at
//! the same time. The file system's own count of free bytes does not include growth in progress; the claims do.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{free_bytes, unix_ms};

/// How long a reading of the free bytes stays valid where no growth depends on it, milliseconds.
const READING_MS: u64 = 50;

/// The ledger of one file system.
#[derive(Debug)]
pub struct DiskSpace {
    path: PathBuf,
    /// Bytes that files are about to grow by.
    claimed: AtomicU64,
    /// Free bytes at the last reading, and when that was.
    seen: AtomicU64,
    seen_ms: AtomicU64,
}

/// Bytes that a file is about to grow by. Drop it once the file has grown or has failed to grow.
#[derive(Debug)]
pub struct Claim {
    space: Arc<DiskSpace>,
    bytes: u64,
}

impl DiskSpace {
    /// The ledger of the file system that holds `path`. Everything that grows there shares one.
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
        let fits = |before: u64| self.read_free() >= before.saturating_add(bytes).saturating_add(reserve);
        // A claim that does not fit must not count even for a moment: smaller ones that fit would be refused.
        if !fits(self.claimed.load(Ordering::Acquire)) {
            return None;
        }
        let before = self.claimed.fetch_add(bytes, Ordering::AcqRel);
        let claim = Claim { space: self.clone(), bytes };
        // Read again after claiming: growth that is no longer claimed shows up in the free bytes.
        fits(before).then_some(claim)
    }

    /// Bytes that are free and not claimed, from a reading that may be a moment old.
    pub fn unclaimed_bytes(&self) -> u64 {
        let fresh = unix_ms().abs_diff(self.seen_ms.load(Ordering::Relaxed)) < READING_MS;
        let free = if fresh { self.seen.load(Ordering::Relaxed) } else { self.read_free() };
        free.saturating_sub(self.claimed.load(Ordering::Relaxed))
    }

    fn read_free(&self) -> u64 {
        // Failing to find out is no reason to refuse: the growth itself will show.
        let free = free_bytes(&self.path).unwrap_or(u64::MAX);
        self.seen.store(free, Ordering::Relaxed);
        self.seen_ms.store(unix_ms(), Ordering::Relaxed);
        free
    }

    /// Makes the next query read the free bytes afresh, because some were freed.
    pub fn expire_reading(&self) {
        self.seen_ms.store(0, Ordering::Relaxed);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.space.expire_reading();
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
        // Others use the disk too: the claims are orders of magnitude larger than what those may use in the meantime.
        let (step, reserve) = (free / 16, free / 2);
        let claims: Vec<_> = std::thread::scope(|threads| {
            let cores: Vec<_> = (0..12).map(|_| threads.spawn(|| space.claim(step, reserve))).collect();
            cores.into_iter().filter_map(|core| core.join().expect("ran")).collect()
        });
        assert!((6..=8).contains(&claims.len()), "{} of 8 claims fit", claims.len());
        assert!(space.unclaimed_bytes() < reserve + 3 * step);
        assert!(space.claim(step, reserve / 4).is_some(), "a smaller reserve leaves room for more claims");
        drop(claims);
        assert!(space.claim(step, reserve).is_some(), "a dropped claim frees its bytes");
    }

    /// Claims were counted before they were refused. On a nearly full disk, a core that asked for a whole segment made the
    /// much smaller claim of another core fail.
    #[test]
    fn a_claim_that_is_too_large_does_not_get_others_refused() {
        let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("temporary directory");
        let space = DiskSpace::new(directory.path());
        let free = space.unclaimed_bytes();
        let done = std::sync::atomic::AtomicBool::new(false);
        let fitted = std::thread::scope(|threads| {
            threads.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    assert!(space.claim(free, free / 2).is_none());
                }
            });
            let fitted = (0..50_000).filter(|_| space.claim(1, free / 2).is_some()).count();
            done.store(true, Ordering::Relaxed);
            fitted
        });
        assert_eq!(fitted, 50_000);
    }
}
