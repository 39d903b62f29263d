//! The few calls on directories and whole small files that the store needs.

use std::io;
use std::path::{Path, PathBuf};

use super::blocking;

/// Makes entries created, renamed or removed in `path` durable.
pub async fn sync_dir(path: &Path) -> io::Result<()> {
    let path = path.to_owned();
    blocking(move || std::fs::File::open(path)?.sync_all()).await
}

/// Renames a file within one file system, replacing the target.
pub async fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (from.to_owned(), to.to_owned());
    blocking(move || std::fs::rename(from, to)).await
}

/// Removes a file.
pub async fn remove_file(path: &Path) -> io::Result<()> {
    let path = path.to_owned();
    blocking(move || std::fs::remove_file(path)).await
}

/// Creates a directory and its parents. Blocks: for start-up.
pub fn create_dir_all(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)
}

/// The entries of a directory, sorted by name. Blocks: for start-up.
pub fn read_dir(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries =
        std::fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    Ok(entries)
}

/// Whether a file exists. Blocks: for start-up.
pub fn file_exists(path: &Path) -> bool {
    path.exists()
}

/// Reads a whole small file of at most `limit` bytes. Blocks: for start-up.
pub fn read_small_file(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    if std::fs::metadata(path)?.len() > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is larger than its limit"));
    }
    std::fs::read(path)
}

/// Bytes that an unprivileged writer may still use on the file system of `path`.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail * stat.f_frsize)
}
